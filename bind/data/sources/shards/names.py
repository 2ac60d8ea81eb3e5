"""Names of members: `{key}.{modality}.{ext}`, where WebDataset takes what precedes the first dot for the key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from bind.types import Modality

META = "meta.json"
MODALITY_OF_EXTENSION: Mapping[str, Modality] = {
    **dict.fromkeys(("jpg", "jpeg", "png", "webp"), "image"),
    **dict.fromkeys(("txt", "caption"), "text"),
    **dict.fromkeys(("wav", "flac", "ogg", "mp3"), "audio"),
    **dict.fromkeys(("mp4", "webm", "mkv", "mov"), "video"),
}
"""Modality of a member of a foreign shard whose name holds none, such as `000017.jpg`."""


@dataclass(frozen=True, slots=True)
class Suffix:
    """What follows the key: the modality, which of several values it is, and the file's extension."""

    modality: Modality
    number: int
    extension: str


def member_name(key: str, modality: Modality, extension: str, number: int | None = None) -> str:
    """`{key}.{modality}.{ext}`, or `{key}.{modality}.{number}.{ext}` for one of several values."""
    return ".".join([escape(key), modality, *([] if number is None else [str(number)]), extension])


def escape(key: str) -> str:
    """The key as a member's name may hold it: percent-encoded but for letters, digits, `_`, `-` and inner slashes."""
    plain_slashes = all(key.split("/"))
    return quote(key, safe="/" if plain_slashes else "").replace(".", "%2E").replace("~", "%7E")


def split_name(name: str, where: str) -> tuple[str, str] | None:
    """Key (as it is written there) and suffix (in lower case) of a member; None where the name has no key or suffix.

    Raises:
        ValueError: a name that leaves the folder it is unpacked into.
    """
    if name.startswith("/") or "\\" in name or "\0" in name or ".." in name.split("/") or re.match(r"^[A-Za-z]:", name):
        raise ValueError(f"{where}: the member {name!r} would leave its folder. Do not trust this shard")
    folder, _, base = name.removeprefix("./").rpartition("/")
    stem, _, suffix = base.partition(".")
    if not (stem and suffix):
        return None
    return f"{folder}/{stem}" if folder else stem, suffix.lower()


def parse_suffix(suffix: str, extensions: Mapping[str, Modality]) -> Suffix | None:
    """Parse `audio.wav` or `text.3.txt`, or by `extensions` the whole suffix or its last part; None for another."""
    *parts, extension = suffix.split(".")
    number = int(parts.pop()) if parts and re.fullmatch(r"[0-9]{1,6}", parts[-1]) else 0
    if suffix in extensions:
        return Suffix(extensions[suffix], number, extension)
    if len(parts) == 1 and re.fullmatch(r"[a-z][a-z0-9_]*", parts[0]):
        return Suffix(parts[0], number, extension) if suffix != META else None
    if not parts and extension in extensions:
        return Suffix(extensions[extension], number, extension)
    return None
