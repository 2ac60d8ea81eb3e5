"""Files of a model: where they lie, on this machine or the hub, and which of them a saved binder takes along."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download

from bind.encoders.pretrained.sources import opened_source

MODEL_SUFFIXES = (".json", ".safetensors", ".txt", ".model")
"""Of what libraries save a model, tokenizer and processor as; no pickle among them."""


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
