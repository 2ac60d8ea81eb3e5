"""A saved bridge: `bridge.json` with what it belongs to, its weights, and a language model that was a local folder.

It may come from anybody. So it is read as plain data of a known form, and its language model is the toy, a model of the
hub, or the folder beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from bind.anchors.model_files import copy_model_files
from bind.bridge.language_model import TOY
from bind.bridge.places import CONFIG_NAME, require_bridge
from bind.files.checksums import checksum_of_file, checksum_of_values
from bind.files.plain_data import Kind, read_json, require_kinds
from bind.files.reading import require_regular_file
from bind.files.size import require_bounded_numbers
from bind.files.writing import write_text
from bind.model.description import HUB_ID
from bind.types import Modality

VERSION = 1
WEIGHTS_NAME, LM_FOLDER, ADAPTER_FOLDER = "bridge.safetensors", "language_model", "adapter"
ENCLOSED_LM = f"./{LM_FOLDER}"
MAX_BYTES = 2**20
KINDS: dict[str, Kind] = {
    "version": int,
    "anchor_name": str,
    "anchor_fingerprint": str,
    "dim": int,
    "lm": str,
    "lm_fingerprint": str,
    "hidden_size": int,
    "mapper": dict,
    "lora": (int, type(None)),
    "gap": str,
    "facts": dict,
    "checksums": dict,
}
OPTIONAL_KINDS: dict[str, Kind] = {"gap_of_modality": dict, "encoder_fingerprint": (str, type(None)), "origin": dict}
"""Of bridges of today; older ones lack them."""
NAMES = tuple(name for name in (*KINDS, *OPTIONAL_KINDS) if name not in ("version", "checksums"))


@dataclass(frozen=True, slots=True)
class AboutBridge:
    """What `bridge.json` says.

    Attributes:
        anchor_fingerprint: of the space that it was trained in, of `dim` dimensions.
        lm: where its language model is: `toy`, a hub id, or a folder.
        mapper: its class and options, without what is known of space and language model.
        lora: rank of the language model's adapter, None without one.
        facts: how it was trained and what came of it.
        gap_of_modality: remedies of modalities for which it is not `gap`.
        encoder_fingerprint: of the encoder whose tokens it reads, None where it reads vectors.
        origin: what it was made of, see `bind.bridge.origin`; empty where nobody said.
    """

    anchor_name: str
    anchor_fingerprint: str
    dim: int
    lm: str
    lm_fingerprint: str
    hidden_size: int
    mapper: Mapping[str, Any]
    lora: int | None
    gap: str
    facts: Mapping[str, Any]
    gap_of_modality: Mapping[Modality, str] = field(default_factory=dict)
    encoder_fingerprint: str | None = None
    origin: Mapping[str, str] = field(default_factory=dict)


def write_about(folder: Path, about: AboutBridge, weights: Mapping[str, Tensor]) -> None:
    """Write description and weights into a folder; a language model that is a folder of this machine is copied."""
    described = {name: getattr(about, name) for name in NAMES}
    if about.lm != TOY and (place := Path(about.lm).expanduser()).is_dir():
        (folder / LM_FOLDER).mkdir()
        copy_model_files(place, folder / LM_FOLDER)
        described["lm"] = ENCLOSED_LM
    save_file({name: x.detach().cpu().contiguous() for name, x in weights.items()}, folder / WEIGHTS_NAME)
    described = {"version": VERSION, **described, "mapper": dict(about.mapper), "facts": dict(about.facts)}
    checksums = {WEIGHTS_NAME: checksum_of_file(folder / WEIGHTS_NAME), CONFIG_NAME: checksum_of_values(described)}
    write_text(folder / CONFIG_NAME, json.dumps({**described, "checksums": checksums}, indent=2) + "\n")


def read_about(folder: Path) -> AboutBridge:
    """The description of a saved bridge, with the place of its language model.

    Raises:
        ValueError: naming the file, where it is none of a bridge, was changed, or names a place elsewhere.
    """
    path = require_bridge(folder)
    described = require_kinds(read_json(path, max_bytes=MAX_BYTES), {"version": int}, str(path))
    if described["version"] != VERSION:
        raise ValueError(f"{path}: version {described['version']}, this bind reads {VERSION}")
    require_kinds(described, KINDS, str(path), optional=OPTIONAL_KINDS)
    require_bounded_numbers(described["mapper"], str(path))
    content = {name: value for name, value in described.items() if name != "checksums"}
    require_regular_file(folder / WEIGHTS_NAME)
    checksums = {WEIGHTS_NAME: checksum_of_file(folder / WEIGHTS_NAME), CONFIG_NAME: checksum_of_values(content)}
    for name, checksum in checksums.items():
        if described["checksums"].get(name) != checksum:
            raise ValueError(
                f"{folder / name} is not as it was saved, its checksum is another one: copy the folder again"
            )
    lm = described["lm"]
    if lm == ENCLOSED_LM:
        lm = str(folder / LM_FOLDER)
    elif lm != TOY and not HUB_ID.fullmatch(lm):
        raise ValueError(f"{path}: its language model is {lm!r}, which is neither toy, a hub id nor {ENCLOSED_LM}")
    return AboutBridge(**{**{name: content[name] for name in content if name in NAMES}, "lm": lm})


def read_bridge_weights(folder: Path) -> dict[str, Tensor]:
    """The weights of a saved bridge.

    Raises:
        ValueError: naming the file, where it can't be read or holds values that are not finite.
    """
    path = folder / WEIGHTS_NAME
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} can't be read ({error}): copy the folder again") from error
    if broken := [name for name, x in weights.items() if not torch.isfinite(x).all()]:
        raise ValueError(f"{path}: {broken[0]} holds NaN or infinite values: copy the folder again")
    return weights
