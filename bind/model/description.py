"""Description of a saved binder, `binder.json`: what it holds, and what it may name.

It may come from anybody. So it is read as plain data of a known form, and its anchor is the toy, a model of the hub, or
the folder `anchor` beside it; no other path in it is opened, unless the user trusts that path.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bind.files.checksums import checksum_of_file, checksum_of_values
from bind.files.plain_data import Kind, read_json, require_each, require_kinds
from bind.files.reading import require_regular_file
from bind.model.size import require_bounded_numbers

CONFIG_NAME = "binder.json"
WEIGHTS_NAME = "model.safetensors"
CONFIG_VERSION = 1
ANCHOR_FOLDER = "anchor"
ENCLOSED_ANCHOR = f"./{ANCHOR_FOLDER}"
TOY = "toy"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
ANCHOR_SUFFIXES = (".json", ".safetensors", ".txt", ".model")
"""Of what `save_pretrained` writes; no pickle among them."""
PATTERNS = [CONFIG_NAME, WEIGHTS_NAME, *(f"{ANCHOR_FOLDER}/*{suffix}" for suffix in ANCHOR_SUFFIXES)]
"""What is downloaded of a binder on the hub."""
ANCHOR_CONFIG = "config.json"
MAX_BYTES = 2**24
MAX_ANCHOR_BYTES = 2**27
"""Of a JSON file of an anchor: vocabularies of a quarter of a million words have 35 MB."""
NOT_AS_SAVED = (
    f"is not as it was saved, its checksum is another one: copy or download the folder again (where you have changed "
    f'it yourself, take "checksums" out of {CONFIG_NAME})'
)
KINDS = {
    "anchor": dict,
    "modalities": list,
    "encoder": dict,
    "head": dict,
    "transform": dict,
    "anchor_fingerprint": str,
}
OPTIONAL_KINDS: dict[str, Kind] = {"fusion": (dict, type(None)), "anchor_name": str, "checksums": dict}


@dataclass(frozen=True, slots=True)
class About:
    """What `binder.json` says besides the config of its parts."""

    anchor_fingerprint: str
    anchor_name: str | None
    checksums: Mapping[str, str]
    is_as_saved: bool

    def require_as_saved(self, folder: Path) -> None:
        """Raise ValueError, naming the file, where one of the folder is not what its checksum says."""
        if not self.is_as_saved:
            raise ValueError(f"{folder / CONFIG_NAME} {NOT_AS_SAVED}")
        weights = folder / WEIGHTS_NAME
        require_regular_file(weights)
        if self.checksums.get(WEIGHTS_NAME, checksum := checksum_of_file(weights)) != checksum:
            raise ValueError(f"{weights} {NOT_AS_SAVED}")


def describe_with_anchor(config: Mapping[str, Any], anchor: Any, folder: Path) -> dict[str, Any]:
    """What `binder.json` holds of a Binder; an anchor from a local folder is copied into `folder`."""
    described = {**config, "anchor_fingerprint": anchor.fingerprint} | _enclose_anchor(config, anchor, folder)
    checksums = {WEIGHTS_NAME: checksum_of_file(folder / WEIGHTS_NAME), CONFIG_NAME: checksum_of_values(described)}
    return {**described, "checksums": checksums}


def _enclose_anchor(config: Mapping[str, Any], anchor: Any, folder: Path) -> dict[str, Any]:
    """Copy an anchor from a local folder into the binder's; what its description says then."""
    pretrained = config["anchor"].get("pretrained")
    if pretrained is None or pretrained == TOY or not (place := Path(pretrained)).is_dir():
        return {}
    target = folder / ANCHOR_FOLDER
    target.mkdir()
    for file in sorted(place.iterdir()):
        if file.suffix in ANCHOR_SUFFIXES and file.is_file():
            shutil.copyfile(file, target / file.name)
    return {"anchor": {**config["anchor"], "pretrained": ENCLOSED_ANCHOR}, "anchor_name": anchor.name}


def read_description(folder: Path, trust: Sequence[str]) -> tuple[dict[str, Any], About]:
    """The config of a saved binder's parts, with the place of its anchor, and what else is said of it.

    Raises:
        ValueError: naming the file, where it is none of a binder, of another version, or names an anchor elsewhere.
    """
    path = folder / CONFIG_NAME
    config = require_kinds(read_json(path, max_bytes=MAX_BYTES), {"version": (int, str)}, str(path))
    if config["version"] != CONFIG_VERSION:
        raise ValueError(f"{path}: version {config['version']}, this bind reads {CONFIG_VERSION}")
    require_kinds(config, KINDS, str(path), optional=OPTIONAL_KINDS)
    require_each(config["modalities"], lambda name: isinstance(name, str), str(path), "the name of a modality")
    for part in ("encoder", "transform"):
        options = config[part].values()
        require_each(options, lambda value: isinstance(value, dict | None), str(path), f"the options of a {part}")
        for modality, of_part in config[part].items():
            is_ours = str((of_part or {}).get("_target_")).startswith("bind.")
            if is_ours and of_part.get("pretrained") is not None:
                raise ValueError(
                    f"{path}: {part}.{modality}.pretrained is {of_part['pretrained']!r}: a saved binder holds its "
                    f"encoders whole and opens no other place; save it again with Binder.save"
                )
    for modality, options in config["encoder"].items():
        if (options or {}).get("train") == "lora":
            raise ValueError(
                f"{path}: encoder.{modality}.train is lora: the weights of a saved binder have their adapter merged; save "
                "it again with Binder.save"
            )
    for part in ("anchor", "modalities", "encoder", "head", "transform", "fusion"):
        require_bounded_numbers(config.get(part), str(path), part)
    checksums = config.pop("checksums", {})
    is_as_saved = checksums.get(CONFIG_NAME, checksum := checksum_of_values(config)) == checksum
    about = About(config.pop("anchor_fingerprint"), config.pop("anchor_name", None), checksums, is_as_saved)
    return {**config, "anchor": _with_place(config["anchor"], folder, about.anchor_fingerprint, trust)}, about


def _with_place(anchor: Mapping[str, Any], folder: Path, fingerprint: str, trust: Sequence[str]) -> dict[str, Any]:
    """The anchor's config, where it names a place that may be opened."""
    pretrained = anchor.get("pretrained", TOY)
    if pretrained == TOY or pretrained in trust or "*" in trust:
        return dict(anchor)
    if pretrained == ENCLOSED_ANCHOR:
        enclosed = folder / ANCHOR_FOLDER
        if enclosed.is_symlink() or not enclosed.is_dir():
            raise ValueError(f"{enclosed}: the anchor's folder is missing or a link; copy the whole binder again")
        for file in sorted(enclosed.glob("*.json")):
            about = read_json(file, max_bytes=MAX_ANCHOR_BYTES)
            if file.name == ANCHOR_CONFIG:
                require_bounded_numbers(about, str(file))
        return {**anchor, "pretrained": str(enclosed.resolve())}
    if isinstance(pretrained, str) and HUB_ID.fullmatch(pretrained) and not Path(pretrained).exists():
        return dict(anchor)
    raise ValueError(
        f"{folder} was bound to an anchor with fingerprint {fingerprint} that it names by a place, {pretrained!r}. "
        f"Only {TOY}, a hub id ORG/NAME and {ENCLOSED_ANCHOR} are opened; where that is a folder of yours, pass it: "
        f"trust=[FOLDER], as it is written there"
    )
