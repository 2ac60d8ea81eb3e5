"""Names of members: `{key}.{modality}.{ext}`, where WebDataset takes what precedes the first dot for the key."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
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


def refuse_dotted_keys(suffixes: Collection[str], extensions: Mapping[str, Modality], where: str) -> None:
    """Raise ValueError where suffixes show that keys have dots: `song.1.wav` and `song.2.wav` would be one sample.

    What stands before an extension that is known is then no modality (`1`, `0_live`), or a modality that has both texts
    and other files (`live` of `song.live.wav` and `song.live.txt`).

    Args:
        suffixes: what follows the keys, of all members of some shards.
        extensions: suffix → modality where the name of a member has none.
        where: the shards, for the message.
    """
    extensions_of: dict[str, set[str]] = {}
    dotted = []
    for suffix in (suffix for suffix in suffixes if "." in suffix and suffix not in extensions and suffix != META):
        parsed, extension = parse_suffix(suffix, {}), suffix.rpartition(".")[2]
        if parsed is not None:
            extensions_of.setdefault(parsed.modality, set()).add(extension)
        elif extension in extensions:
            dotted.append(suffix)
    for modality, found in extensions_of.items():
        is_text = {extensions.get(extension) == "text" for extension in found}
        if modality != "text" and len(is_text) > 1:
            dotted += [f"{modality}.{extension}" for extension in sorted(found)]
    if dotted:
        examples = ", ".join(f"KEY.{suffix}" for suffix in dotted[:3])
        choice = ", ".join(f"{suffix}: {extensions.get(suffix.rpartition('.')[2], 'audio')}" for suffix in dotted[:2])
        raise ValueError(
            f"{where}: members named {examples}: a key ends at its first dot, so samples whose keys have dots would be "
            "one. Rename the members (song_1.wav for song.1.wav); where they are several values of one sample, say so: "
            f"data.extensions={{{choice}}}"
        )
