"""Files of an open_clip model: its config, weights and text tower's sizes, and the hub id of a tag."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import PreTrainedConfig

from bind.anchors.model_files import first_line, refuse_pickle
from bind.encoders.pretrained.loading import make_config
from bind.encoders.pretrained.sources import find_hub_error, silent_transformers
from bind.files.plain_data import read_json, require_kinds

CONFIG_NAME = "open_clip_config.json"
WEIGHTS_NAMES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "model.safetensors")
FILES = f"{CONFIG_NAME}, the weights of exactly that model as {WEIGHTS_NAMES[0]}, and the tokenizer's files"
TEXT_CONFIG_NAME = "text_model_config.json"
"""Of a text tower that is a model of transformers, `text_cfg.hf_model_name`: the config.json of that model."""
MAX_BYTES = 2**24
PLAIN_NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
"""Of an architecture of timm: one with `/` or `:` is a model elsewhere."""
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
TOKENIZER_OPTIONS = frozenset({"clean", "strip_sep_token", "lower", "reduction_mask"})
"""What a config may say of its tokenizer; others would name files, or code to run."""


def find_hub_id(pretrained: str) -> str:
    """The hub id of `ARCHITECTURE+TAG`, as open_clip's table of published weights has it; anything else as it is.

    Raises:
        ValueError: for an architecture or tag that is not in that table, or whose weights are a pickle.

    Examples:
        >>> find_hub_id("ViT-B-32+laion2b_s34b_b79k")
        'laion/CLIP-ViT-B-32-laion2B-s34B-b79K'
    """
    architecture, plus, tag = pretrained.partition("+")
    if not plus:
        return pretrained
    import open_clip

    names = sorted({name for name, _ in open_clip.list_pretrained()})
    if architecture not in names:
        close = ", ".join(difflib.get_close_matches(architecture, names)) or ", ".join(names[:5]) + ", …"
        raise ValueError(f"anchor.pretrained={pretrained}: open_clip has no weights of {architecture}; it has {close}")
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if tag not in tags:
        raise ValueError(f"anchor.pretrained={pretrained}: {architecture} has the tags {', '.join(tags)}")
    owner, name, file = open_clip.get_pretrained_cfg(architecture, tag)["hf_hub"].split("/")
    if file and not file.endswith(".safetensors"):
        raise ValueError(
            f"anchor.pretrained={pretrained} is {file} of {owner}/{name} on the hub, a pickle, which can hold commands "
            "and is not read. Convert it yourself if you trust it, and pass local-dir:FOLDER (an empty folder): "
            f"python -c \"import json, open_clip as o, safetensors.torch as s; m = o.create_model('{architecture}', "
            f"pretrained='{tag}'); s.save_file(m.state_dict(), 'FOLDER/{WEIGHTS_NAMES[0]}'); json.dump({{'model_cfg': "
            f"o.get_model_config('{architecture}'), 'preprocess_cfg': o.get_model_preprocess_cfg(m)}}, "
            f"open('FOLDER/{CONFIG_NAME}', 'w'))\""
        )
    return f"{owner}/{name}"


def read_config(folder: Path, pretrained: str) -> dict[str, Any]:
    """The `model_cfg` of a folder, which names no place; ValueError where there is none, or it does."""
    path = folder / CONFIG_NAME
    if not path.is_file():
        other = " It holds config.json, a model of transformers: choose anchor=clip" if _is_transformers(folder) else ""
        raise ValueError(f"anchor.pretrained={pretrained} is no model of open_clip: it has no {CONFIG_NAME}.{other}")
    kinds = {"model_cfg": dict}
    config: dict[str, Any] = require_kinds(read_json(path, max_bytes=MAX_BYTES), kinds, str(path))["model_cfg"]
    require_kinds(config, {"embed_dim": int, "vision_cfg": dict, "text_cfg": dict}, f"{path}: model_cfg")
    vision, text = config["vision_cfg"], config["text_cfg"]
    for key, name, pattern in (
        ("vision_cfg.timm_model_name", vision.get("timm_model_name"), PLAIN_NAME),
        ("text_cfg.hf_model_name", text.get("hf_model_name"), HUB_NAME),
    ):
        if name and not (isinstance(name, str) and pattern.fullmatch(name) and not Path(name).exists()):
            raise ValueError(f"{path}: {key} is {name!r}, a place and not the name of an architecture")
    options = text.get("tokenizer_kwargs") or {}
    if unknown := sorted(set(options) - TOKENIZER_OPTIONS):
        raise ValueError(f"{path}: text_cfg.tokenizer_kwargs has {unknown}; known are {sorted(TOKENIZER_OPTIONS)}")
    return config


def _is_transformers(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def find_weights(folder: Path, pretrained: str) -> Path:
    """The file of weights that open_clip reads of a folder; ValueError where that is a pickle, or there is none."""
    weights = [folder / name for name in WEIGHTS_NAMES if (folder / name).is_file()]
    if weights and not (weights[0].name == WEIGHTS_NAMES[-1] and list(folder.glob("open_clip_pytorch_model.*"))):
        return weights[0]
    save_again = (
        f"import torch, safetensors.torch as s; s.save_file(torch.load('{folder}/open_clip_pytorch_model.bin'), "
        f"'{folder}/{WEIGHTS_NAMES[0]}')"
    )
    refuse_pickle(folder, pretrained, save_again)
    raise ValueError(f"anchor.pretrained={pretrained} has no weights: it needs {WEIGHTS_NAMES[0]}")


def read_text_config(folder: Path, name: str, pretrained: str) -> PreTrainedConfig:
    """The config of a text tower that is the model `name` of transformers: of the folder's own file, else of the hub.

    Raises:
        ValueError: where neither has it, or it describes no model.
    """
    path = folder / TEXT_CONFIG_NAME
    if path.is_file():
        return make_config(require_kinds(read_json(path, max_bytes=MAX_BYTES), {}, str(path)), None, str(path))
    hub_error = find_hub_error(name)
    try:
        with silent_transformers():
            described, _ = PreTrainedConfig.get_config_dict(name, local_files_only=hub_error is not None)
    except Exception as error:  # of transformers and of the hub's client
        raise ValueError(
            f"anchor.pretrained={pretrained} has a text tower with the sizes of {name}, which are not to be had "
            f"({first_line(hub_error or error)}). Without network, put the config.json of {name} there as {path}"
        ) from error
    return make_config(described, None, f"text_cfg.hf_model_name={name}")


@contextmanager
def text_model_of(config: PreTrainedConfig | None, text: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Arguments of open_clip's `create_model` by which it builds the text tower from `config`, and asks no hub.

    Args:
        config: None: the text tower is open_clip's own.
        text: `text_cfg` of the model.
    """
    if config is None:
        yield {}
        return
    with TemporaryDirectory() as place:
        config.save_pretrained(place)
        yield {"text_cfg": {**text, "hf_model_name": place, "hf_model_pretrained": False}}
