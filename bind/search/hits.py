"""Hits: what a search gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bind.types import Modality


@dataclass(frozen=True, slots=True)
class Hit:
    """A vector that a search has found, and what the index knows of it.

    Attributes:
        key: of its sample.
        modality: of the vector.
        score: the cosine of query and vector; of several queries the weighted mean of their cosines.
        rank: from 1.
        standard_score: by how many standard deviations the score is above the mean of the query's scores in the pool of
            that modality; None where scores of modalities were compared as they are.
        number: which of the sample's values of the modality it is.
        split, group, label, owner: of the sample; several owners are separated by "|".
        path: of the file, start_seconds, end_seconds: the span of it.
        caption: a text of the sample.
        columns: of the user's own.
    """

    key: str
    modality: Modality
    score: float
    rank: int
    standard_score: float | None = None
    number: int = 0
    split: str | None = None
    group: str | None = None
    label: str | None = None
    owner: str | None = None
    path: str | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    caption: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values, without what is not known.

        Examples:
            >>> Hit("a", "audio", 0.5, 1, label="dog", columns={"year": 2024}).as_json()
            {'key': 'a', 'modality': 'audio', 'score': 0.5, 'rank': 1, 'number': 0, 'label': 'dog', 'year': 2024}
        """
        values = asdict(self)
        columns = values.pop("columns")
        return {name: value for name, value in {**values, **columns}.items() if value is not None}
