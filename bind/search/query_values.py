"""Values of a query, as far as they can be checked before they are embedded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bind.types import Modality


def require_queries(values: Mapping[Modality, Any], modalities: Sequence[Modality], where: str) -> None:
    """Raise ValueError, naming the index, for an empty query, or one of a modality that its binder does not embed."""
    if not values:
        raise ValueError("the query is empty: give a text, or a file of a modality, such as audio=query.wav")
    for modality, value in values.items():
        if modality not in modalities:
            known = ", ".join(modalities)
            raise ValueError(
                f"{where}: its binder has no encoder for {modality}, so it can't be asked by it; it has {known}"
            )
        if modality == "text" and not str(value).strip():
            raise ValueError("the query's text is empty: give words to search for")
