"""Values of one sample from its members, as a manifest's source would give them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bind.data.sources.shards.names import Suffix
from bind.media.notices import warn_once
from bind.media.text import decode_text, read_caption
from bind.types import Clip, Modality, PackedFile


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a sample; `name` is shard and member, `span` what of a recording counts."""

    name: str
    suffix: Suffix
    content: bytes
    span: tuple[float | None, float | None] = (None, None)


def sample_values(members: Sequence[Member]) -> dict[Modality, list[Any]]:
    """Texts, and `Clip`s of packed files, by modality, in the order of their numbers; a `.npy` takes its `.json` along.

    Raises:
        ValueError: naming shard and member, for a text that is none.
    """
    values: dict[Modality, list[Any]] = {}
    arrays = {(m.suffix.modality, m.suffix.number) for m in members if m.suffix.extension == "npy"}
    sidecars = {
        (m.suffix.modality, m.suffix.number): m.content
        for m in members
        if m.suffix.extension == "json" and (m.suffix.modality, m.suffix.number) in arrays
    }
    for member in sorted(members, key=lambda m: m.suffix.number):
        suffix = member.suffix
        sidecar = sidecars.get((suffix.modality, suffix.number))
        if sidecar is not None and suffix.extension == "json":
            continue
        if suffix.modality != "text":
            value: Any = Clip(PackedFile(member.name, member.content, sidecar), *member.span)
        elif (value := read_caption(decode_text(member.content, member.name))) is None:
            warn_once("a text without a caption in it counts as missing", member.name)
            continue
        values.setdefault(suffix.modality, []).append(value)
    return values
