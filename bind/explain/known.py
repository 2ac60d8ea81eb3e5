"""Samples of a split with their vectors, a bounded number of them: what a pair is compared with."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bind.data.sources.sample_columns import has_modality
from bind.explain.ranks import identity_of
from bind.model.binder import Binder
from bind.types import Modality, Sample, Source


@dataclass
class KnownSamples:
    """Some samples of a split, evenly spaced in it, and vectors of theirs.

    Attributes:
        samples: N of them.
        places: source and place in its split, of each.
        num_of_split: how many the split has.
        vectors: modality → (N_m, D); of a sample with several values the first.
        rows: modality → the sample of each vector.
        identities: modality → what each vector is of, equal for equal texts and for one file.
    """

    split: str
    samples: list[Sample]
    places: list[tuple[Source, int]]
    num_of_split: int
    vectors: dict[Modality, Tensor] = field(default_factory=dict)
    rows: dict[Modality, list[int]] = field(default_factory=dict)
    identities: dict[Modality, list[Hashable]] = field(default_factory=dict)

    @classmethod
    def draw(cls, sources: Sequence[Source], split: str, num_samples: int) -> KnownSamples:
        """Evenly spaced samples of a split, none embedded yet."""
        counts = [len(source.samples(split)) for source in sources]
        starts = np.cumsum([0, *counts])
        num_all = int(starts[-1])
        chosen = np.unique(np.linspace(0, num_all - 1, min(num_samples, num_all)).round().astype(int))
        numbers = np.searchsorted(starts, chosen, side="right") - 1
        places = [(sources[n], int(row - starts[n])) for n, row in zip(numbers.tolist(), chosen.tolist(), strict=True)]
        return cls(split, [source.samples(split)[i] for source, i in places], places, num_all)

    def has(self, modality: Modality) -> bool:
        """Whether any of the samples has a value of this modality."""
        return bool(self.rows_with(modality))

    def embed(self, binder: Binder, modality: Modality) -> Tensor:
        """Their vectors (N_m, D) of a modality, computed once.

        Raises:
            ValueError: naming the file that can't be read.
        """
        if modality not in self.vectors:
            self.rows[modality] = self.rows_with(modality)
            values = self.values(modality, self.rows[modality])
            keys = [self.samples[row].key for row in self.rows[modality]]
            self.identities[modality] = [identity_of(*each) for each in zip(values, keys, strict=True)]
            self.vectors[modality] = binder.embed(modality, values).float().cpu()
        return self.vectors[modality]

    def values(self, modality: Modality, rows: Sequence[int]) -> list[Any]:
        """The first value of a modality of these samples."""
        fetched = []
        for row in rows:
            source, index = self.places[row]
            fetched.append(source.fetch(self.split, [index], [modality], None)[0][modality][0])
        return fetched

    def rows_with(self, modality: Modality) -> list[int]:
        return [
            row
            for row, (source, _) in enumerate(self.places)
            if modality in source.modalities() and bool(has_modality([self.samples[row]], modality)[0])
        ]

    def caption(self, row: int) -> str:
        """A few words for a sample: its group, label or key."""
        sample = self.samples[row]
        return sample.group or sample.label or sample.key

    def nearest(self, modality: Modality, z_D: Tensor, num_nearest: int, *, leave_out: str | None) -> list[Neighbour]:
        """The samples whose vectors of an embedded modality are nearest to a unit vector, the nearest first.

        Of samples with the same text or file there is one.

        Args:
            leave_out: the key of a sample that does not count.
        """
        return self._best(modality, self.vectors[modality] @ z_D.float().cpu(), num_nearest, leave_out)

    def near_both(
        self,
        modality: Modality,
        z_a_D: Tensor,
        z_b_D: Tensor,
        num_nearest: int,
        *,
        leave_out: Sequence[str | None] = (),
    ) -> list[Neighbour]:
        """The samples that are near to two vectors: by the smaller of both standardised cosines.

        Standardised, because the vectors of one modality may lie nearer to those of this one than the other's do.
        """
        scores_2N = torch.stack([self.vectors[modality] @ z_D.float().cpu() for z_D in (z_a_D, z_b_D)])
        spread_2 = scores_2N.std(dim=1, correction=0, keepdim=True).clamp_min(1e-6)
        standard_N = ((scores_2N - scores_2N.mean(dim=1, keepdim=True)) / spread_2).min(dim=0).values
        return self._best(modality, standard_N, num_nearest, *leave_out)

    def _best(self, modality: Modality, scores_N: Tensor, num_nearest: int, *leave_out: str | None) -> list[Neighbour]:
        rows = self.rows[modality]
        order = scores_N.argsort(descending=True, stable=True).tolist()
        things: dict[Hashable, list[int]] = {}
        for n in order:
            if self.samples[rows[n]].key not in leave_out:
                things.setdefault(self.identities[modality][n], []).append(n)
        nearest = []
        for thing, (n, *others) in list(things.items())[:num_nearest]:
            caption = thing if isinstance(thing, str) else self.caption(rows[n])
            nearest.append(Neighbour(self.samples[rows[n]].key, caption, float(scores_N[n]), rows[n], len(others)))
        return nearest


@dataclass(frozen=True)
class Neighbour:
    """A sample near a vector.

    Attributes:
        caption: a few words; of a text itself.
        row: among the known samples.
        num_equal: other samples with the same text or file, which are not shown beside it.
    """

    key: str
    caption: str
    score: float
    row: int
    num_equal: int = 0

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        plain = {"key": self.key, "caption": self.caption, "score": round(self.score, 6)}
        return plain | ({"num_equal": self.num_equal} if self.num_equal else {})
