"""Files of a model: where they lie, on this machine or the hub, and which of them a saved binder takes along."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from transformers import MODEL_MAPPING, AutoConfig

from bind.encoders.pretrained.sources import opened_source

MODEL_SUFFIXES = (".json", ".safetensors", ".txt", ".model")
"""Of what libraries save a model, tokenizer and processor as; no pickle among them."""

WEIGHTS = {"output_loading_info": True, "use_safetensors": True, "ignore_mismatched_sizes": True}
"""For `from_pretrained`: weights of other shapes are among what it says of the loading, by name, and refused then."""
ANCHOR_OF_FAMILY = {"clap": "clap", "embedding_gemma2": "embedding_gemma"}
"""Families with an anchor for themselves; `anchor=clip` takes any other with a tower of pictures and one of texts."""


def require_family(pretrained: str, anchor: str, options: dict[str, Any]) -> None:
    """Raise ValueError, naming the right choice, where a model of transformers is not of those that `anchor` takes.

    Args:
        anchor: the choice of `anchor=`.
        options: of `from_pretrained`.
    """
    config = AutoConfig.from_pretrained(pretrained, **options)
    model_class = MODEL_MAPPING.get(type(config), None)
    has_towers = hasattr(model_class, "get_image_features") and hasattr(model_class, "get_text_features")
    taken_by = ANCHOR_OF_FAMILY.get(config.model_type, "clip" if has_towers else None)
    if taken_by != anchor:
        remedy = f"choose anchor={taken_by}" if taken_by else "it has no two towers of one space, see docs/anchors.md"
        raise ValueError(f"it is of the family {config.model_type!r}, and this is anchor={anchor}: {remedy}")


def copy_model_files(place: Path, folder: Path) -> None:
    """Copy the files of a model that are data into `folder`."""
    for file in sorted(place.iterdir()):
        if file.suffix in MODEL_SUFFIXES and file.is_file():
            shutil.copyfile(file, folder / file.name)


def enclose_folder(pretrained: str, folder: Path) -> dict[str, Any]:
    """`Anchor.enclose` of a model that was loaded from `pretrained`, a folder of this machine or a name."""
    place = Path(pretrained)
    if not place.is_dir():
        return {}
    if place.resolve() != folder.resolve():
        copy_model_files(place, folder)
    return {"pretrained": folder}


def locate_model(pretrained: str, *, files: str) -> Path:
    """The folder of a model: a local one, or that of a download from the hub, of now or of earlier.

    Args:
        files: what such a folder holds, in words.

    Raises:
        ValueError: where it is neither a folder nor to be had from the hub.
    """
    if Path(pretrained).is_dir():
        return Path(pretrained)
    with opened_source("anchor.pretrained", pretrained, files=files) as options:
        patterns = [f"*{suffix}" for suffix in MODEL_SUFFIXES]
        local_only = options["local_files_only"]
        return Path(snapshot_download(pretrained, allow_patterns=patterns, local_files_only=local_only))


def first_line(error: Exception) -> str:
    """The first line of an error's message, its class where it has none."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def refuse_pickle(folder: Path, pretrained: str, convert: str) -> None:
    """Raise ValueError where a folder has its weights as a pickle; `convert` is Python that saves them as data."""
    pickles = [file for suffix in ("*.bin", "*.pt", "*.pth", "*.ckpt") for file in folder.glob(suffix)]
    if pickles:
        raise ValueError(
            f"anchor.pretrained={pretrained} has its weights as a pickle ({pickles[0].suffix}), which can hold "
            "commands and is not read. Get the model with its safetensors, or convert a folder that you trust "
            f'yourself: python -c "{convert}"'
        )
