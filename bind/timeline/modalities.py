"""Modalities of a time line, as far as their names tell."""

from __future__ import annotations

from collections.abc import Sequence

from bind.types import Modality


def require_embedded(modality: Modality, modalities: Sequence[Modality]) -> None:
    """Raise ValueError where a modality is none of those that the run embeds."""
    if modality not in modalities:
        raise ValueError(f"{modality}: the run embeds {', '.join(modalities)}; train one with {modality}")
