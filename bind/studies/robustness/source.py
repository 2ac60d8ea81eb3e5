"""A dataset whose values are disturbed between decoding and the transform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bind.studies.robustness.kinds import KINDS
from bind.types import Modality, Sample, Source, Transform, stable_id


class DisturbedSource:
    """`source` with one modality disturbed by one kind (see `KINDS`) at one level.

    The generator of a value follows from the seed, the sample's key and the kind, not from the level: a noise is of
    the same shape at every level.

    Raises:
        ValueError: in `fetch`, for a file that can't be read, or a value that can't be disturbed in this way.
    """

    def __init__(
        self, source: Source, modality: Modality, kind: str, level: float, *, transform: Transform, seed: int = 0
    ) -> None:
        self.source = source
        self.name = source.name
        self.modality, self.kind, self.level = modality, kind, level
        self.transform = transform
        self.seed = seed

    def modalities(self) -> tuple[Modality, ...]:
        """What the undisturbed source carries."""
        return self.source.modalities()

    def samples(self, split: str) -> Sequence[Sample]:
        """Those of the undisturbed source."""
        return self.source.samples(split)

    def content_hash(self, split: str, modality: Modality) -> str:
        """Of the values and of what is done to them."""
        done = f":{self.kind}:{self.level}:{self.seed}" if modality == self.modality else ""
        return self.source.content_hash(split, modality) + done

    def fetch(
        self,
        split: str,
        indices: Sequence[int],
        modalities: Sequence[Modality],
        rngs: Sequence[np.random.Generator] | None,
    ) -> list[dict[Modality, list[Any]]]:
        """The values of the undisturbed source, those of one modality disturbed."""
        fetched = self.source.fetch(split, indices, modalities, rngs)
        samples = self.source.samples(split)
        for index, values in zip(indices, fetched, strict=True):
            if self.modality in values:
                own = enumerate(values[self.modality])
                values[self.modality] = [self._disturbed(value, samples[index].key, place) for place, value in own]
        return fetched

    def _disturbed(self, value: Any, key: str, place: int) -> Any:
        kind = KINDS[self.kind]
        rng = np.random.default_rng([self.seed, stable_id(f"{key}:{self.modality}:{place}:{self.kind}")])
        return kind.disturb(kind.decode(value, self.transform), self.level, rng)
