"""Values of one sample from its members, as a manifest's source would give them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bind.data.sources.shards.names import Suffix
from bind.files.content import decode_text
from bind.media.notices import warn_once
from bind.media.text import read_caption
from bind.types import Clip, Modality, PackedFile


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a sample; `name` is shard and member, `span` what of a recording counts."""

    name: str
    suffix: Suffix
    content: bytes
    span: tuple[float | None, float | None] = (None, None)


def sample_values(members: Sequence[Member], captions_key: str | None = None) -> dict[Modality, list[Any]]:
    """Texts, and `Clip`s of packed files, by modality, in the order of their numbers; a `.npy` takes its `.json` along.

    With `captions_key` texts in `.json` are what stands under that key, one text or a list of them.

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
        if suffix.modality == "text" and suffix.extension == "json" and captions_key is not None:
            texts = _captions(member, captions_key)
        elif suffix.modality == "text":
            texts = [decode_text(member.content, member.name)]
        else:
            values.setdefault(suffix.modality, []).append(
                Clip(PackedFile(member.name, member.content, sidecar), *member.span)
            )
            continue
        captions = [caption for text in texts if (caption := read_caption(text)) is not None]
        if len(captions) < max(1, len(texts)):
            warn_once("a text without a caption in it counts as missing", member.name)
        if captions:
            values.setdefault("text", []).extend(captions)
    return values


def _captions(member: Member, key: str) -> list[str]:
    try:
        content = json.loads(member.content)
    except ValueError as error:
        raise ValueError(f"{member.name}: not JSON ({error}). Write it again or drop it") from error
    if not isinstance(content, dict) or key not in content:
        keys = ", ".join(map(str, content)) if isinstance(content, dict) else f"a {type(content).__name__}"
        raise ValueError(f"{member.name}: there is no {key!r} in it but {keys}; set data.captions_key to one of these")
    captions = [content[key]] if isinstance(content[key], str) else content[key]
    if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
        raise ValueError(f"{member.name}: {key!r} must be a text or a list of texts, not {content[key]!r}")
    return captions
