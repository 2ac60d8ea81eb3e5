"""Values of one sample from its members, as a manifest's source would give them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bind.data.sources.shards.names import Suffix
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
        if sidecar is None or suffix.extension != "json":
            values.setdefault(suffix.modality, []).append(_value(member, sidecar))
    return values


def _value(member: Member, sidecar: bytes | None) -> Any:
    if member.suffix.modality != "text":
        return Clip(PackedFile(member.name, member.content, sidecar), *member.span)
    try:
        return member.content.decode().strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"{member.name}: not a text in UTF-8 ({error}). Write it again or drop it") from error
