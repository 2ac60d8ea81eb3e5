"""Description of a saved binder, `binder.json`: what it holds, and what it may name.

It may come from anybody. So it is read as plain data of a known form, and its anchor is the toy, a model of the hub, or
the folder `anchor` beside it; no other path in it is opened, unless the user trusts that path.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bind.anchors.model_files import MODEL_SUFFIXES
from bind.files.checksums import checksum_of_file, checksum_of_values
from bind.files.plain_data import Kind, read_json, require_each, require_kinds
from bind.files.reading import require_regular_file
from bind.files.size import read_shapes, require_bounded_numbers
from bind.model.places import CONFIG_NAME, MAX_BYTES, OF_ANCHOR
from bind.types import Anchor

log = logging.getLogger("bind")

WEIGHTS_NAME = "model.safetensors"
CONFIG_VERSION = 1
ANCHOR_FOLDER = "anchor"
ENCLOSED_ANCHOR = f"./{ANCHOR_FOLDER}"
TOY = "toy"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
PATTERNS = [CONFIG_NAME, WEIGHTS_NAME, *(f"{ANCHOR_FOLDER}/*{suffix}" for suffix in MODEL_SUFFIXES)]
"""What is downloaded of a binder on the hub."""
ANCHOR_CONFIGS = ("config.json", "open_clip_config.json")
ENCLOSED_PLACE = re.compile(r"\./anchor(/[A-Za-z0-9_][\w.-]*)?", re.ASCII)
HUB = "pretrained"
PLACE_ARGUMENTS = (HUB, "texts", "weights")
"""Of anchors of bind: arguments that name files, of which the first may be a hub id."""
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
OPTIONAL_KINDS: dict[str, Kind] = {"fusion": (dict, type(None)), "anchor_name": str, OF_ANCHOR: list, "checksums": dict}


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


def describe_with_anchor(config: Mapping[str, Any], anchor: Anchor, folder: Path) -> dict[str, Any]:
    """What `binder.json` holds of a Binder; what its anchor needs of this machine is copied into `folder`."""
    facts = {"anchor_fingerprint": anchor.fingerprint, OF_ANCHOR: list(anchor.modalities)}
    described = {**config, **facts} | _enclose_anchor(config, anchor, folder)
    checksums = {WEIGHTS_NAME: checksum_of_file(folder / WEIGHTS_NAME), CONFIG_NAME: checksum_of_values(described)}
    return {**described, "checksums": checksums}


def _enclose_anchor(config: Mapping[str, Any], anchor: Anchor, folder: Path) -> dict[str, Any]:
    """Copy the files that the anchor needs into the binder's folder; what its description says then."""
    target = folder / ANCHOR_FOLDER
    target.mkdir(exist_ok=True)
    arguments = _relative(anchor.enclose(target), target)
    if not any(target.iterdir()):
        target.rmdir()
    elif not any(map(_is_enclosed, _texts(arguments))):
        raise ValueError(f"{type(anchor).__name__}.enclose wrote files that none of the arguments it returned names")
    described = _merge(config["anchor"], arguments)
    places = (os.path.expanduser(text.removeprefix("local-dir:")) for text in _texts(described))
    if place := next((place for place in places if os.path.isabs(place) and os.path.exists(place)), None):
        log.warning(
            "this binder can be loaded on this machine only: its anchor is built of %s. A class of your own that is "
            "made of files needs saved_arguments(), or enclose(folder), see docs/anchors.md",
            place,
        )
    name = Path(anchor.name.removeprefix("local-dir:"))
    return {"anchor": described, "anchor_name": name.name if name.is_absolute() else anchor.name} if arguments else {}


def _merge(config: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The config with some arguments replaced, of dicts within it those of that name."""
    merged = dict(config)
    for key, value in arguments.items():
        is_nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if is_nested else value
    return merged


def _relative(value: Any, target: Path) -> Any:
    """`value` with the paths inside `target` as a saved binder names them."""
    if isinstance(value, Path):
        inside = value.relative_to(target).as_posix()
        return ENCLOSED_ANCHOR if inside == "." else f"{ENCLOSED_ANCHOR}/{inside}"
    if isinstance(value, Mapping):
        return {key: _relative(inner, target) for key, inner in value.items()}
    return [_relative(inner, target) for inner in value] if isinstance(value, list | tuple) else value


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
    for part in ("encoder", "transform", "head", "fusion"):
        for name, of_part in _mappings(config.get(part), part):
            is_ours = str(of_part.get("_target_")).startswith("bind.")
            if is_ours and of_part.get("pretrained") is not None:
                raise ValueError(
                    f"{path}: {name}.pretrained is {of_part['pretrained']!r}: a saved binder holds its "
                    f"encoders whole and opens no other place; save it again with Binder.save"
                )
    for modality, options in config["encoder"].items():
        if (options or {}).get("train") == "lora":
            raise ValueError(
                f"{path}: encoder.{modality}.train is lora: the weights of a saved binder have their adapter merged; "
                "save it again with Binder.save"
            )
    for part in ("anchor", "modalities", "encoder", "head", "transform", "fusion"):
        require_bounded_numbers(config.get(part), str(path), part)
    checksums = config.pop("checksums", {})
    is_as_saved = checksums.get(CONFIG_NAME, checksum := checksum_of_values(config)) == checksum
    config.pop(OF_ANCHOR, None)
    about = About(config.pop("anchor_fingerprint"), config.pop("anchor_name", None), checksums, is_as_saved)
    return {**config, "anchor": _with_place(config["anchor"], folder, about.anchor_fingerprint, trust)}, about


def _with_place(anchor: Mapping[str, Any], folder: Path, fingerprint: str, trust: Sequence[str]) -> dict[str, Any]:
    """The anchor's config, where it names places that may be opened."""
    _check_enclosed(anchor, folder)
    named = [(HUB, anchor.get(HUB, TOY))]
    named += [(key, of[key]) for _, of in _mappings(anchor) for key in PLACE_ARGUMENTS if of.get(key) is not None]
    for argument, place in named:
        is_hub_id = isinstance(place, str) and HUB_ID.fullmatch(place) is not None and not Path(place).exists()
        is_known = place == TOY or place in trust or "*" in trust or (argument == HUB and is_hub_id)
        if not is_known and not _is_enclosed(place):
            raise ValueError(
                f"{folder} was bound to an anchor with fingerprint {fingerprint} that it names by a place, {place!r}. "
                f"Only {TOY}, a hub id ORG/NAME and {ENCLOSED_ANCHOR} are opened; where that is a folder of yours, "
                f"pass it: trust=[FOLDER], as it is written there"
            )
    resolved: dict[str, Any] = _absolute(anchor, folder)
    return resolved


def _is_enclosed(value: Any) -> bool:
    return isinstance(value, str) and ENCLOSED_PLACE.fullmatch(value) is not None


def _check_enclosed(anchor: Mapping[str, Any], folder: Path) -> None:
    """Look at the files of the anchor in a binder's folder, where its config names any."""
    named = {value for value in _texts(anchor) if _is_enclosed(value)}
    if not named:
        return
    enclosed = folder / ANCHOR_FOLDER
    if enclosed.is_symlink() or not enclosed.is_dir():
        raise ValueError(f"{enclosed}: the anchor's folder is missing or a link; copy the whole binder again")
    for value in sorted(named - {ENCLOSED_ANCHOR}):
        require_regular_file(folder / value)
    for file in sorted(enclosed.glob("*.json")):
        about = read_json(file, max_bytes=MAX_ANCHOR_BYTES)
        if file.name in ANCHOR_CONFIGS:
            require_bounded_numbers(about, str(file))


def _absolute(value: Any, folder: Path) -> Any:
    """`value` with the places in a binder's folder in full."""
    if isinstance(value, Mapping):
        return {key: _absolute(inner, folder) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_absolute(inner, folder) for inner in value]
    return str((folder / value).resolve()) if _is_enclosed(value) else value


def _mappings(value: Any, name: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All mappings in a nested config, itself too, with their dotted names."""
    if isinstance(value, Mapping):
        yield name, value
        for key, inner in value.items():
            yield from _mappings(inner, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _mappings(inner, name)


def _texts(value: Any) -> Iterator[str]:
    """All texts in a nested config."""
    if isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value


def enclosed_shapes(folder: Path) -> dict[str, Sequence[int]]:
    """Shapes of the tensors in the files of an anchor inside a binder's folder; none where it has no such files."""
    files = sorted((folder / ANCHOR_FOLDER).glob("*.safetensors"))
    return {f"{file.name}/{name}": shape for file in files for name, shape in read_shapes(file).items()}
