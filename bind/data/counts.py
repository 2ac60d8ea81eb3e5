"""Counts of a run's data: samples, classes, owners and groups of each split and modality."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bind.data.sources.sample_table import SampleTable, validity
from bind.types import Modality, Sample, Source

MAX_COUNTED = 1_000_000
"""Samples of a split of which classes, owners and groups are counted; of larger ones only the number is given."""


@dataclass
class Counts:
    """What the samples of a split that have a modality are: how many, and of which classes, owners and groups."""

    num_samples: int = 0
    labels: set[str] = field(default_factory=set)
    owners: set[str] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)

    def add(self, sample: Sample) -> None:
        """Count one more sample."""
        self.num_samples += 1
        self.owners.update(sample.owners)
        if sample.label:
            self.labels.add(sample.label)
        if sample.group:
            self.groups.add(sample.group)


def count_samples(
    sources: Sequence[Source], splits: Iterable[str], weights: Sequence[float] | None = None
) -> dict[str, dict[Modality | None, Counts]]:
    """Split → modality → its counts; None stands for all samples, whatever they have, and is alone in a large split.

    Training samples of sources that have a weight of 0 are not counted: nothing is trained on them.

    Examples:
        >>> from bind.data.sources.toy.world import ToySource
        >>> toy = ToySource(num_train=64, num_test_queries=1, modalities=["image", "audio"])
        >>> counts = count_samples([toy], ["train", "test"])
        >>> {modality: c.num_samples for modality, c in counts["train"].items()}
        {None: 64, 'image': 64, 'audio': 64}
        >>> len(counts["test"]["audio"].labels), len(counts["test"]["audio"].groups)
        (4, 115)
    """
    counts: dict[str, dict[Modality | None, Counts]] = {}
    for split in splits:
        used = (
            sources if weights is None or split != "train" else [s for s, w in zip(sources, weights, strict=True) if w]
        )
        of_split = [source.samples(split) for source in used]
        if not any(map(len, of_split)):
            continue
        total = counts.setdefault(split, {None: Counts()})[None]
        if sum(map(len, of_split)) > MAX_COUNTED:
            total.num_samples = sum(map(len, of_split))
            continue
        for samples in of_split:
            if isinstance(samples, SampleTable):
                _count_columns(samples, counts[split])
                continue
            for sample in samples:
                total.add(sample)
                for modality in sample.values:
                    counts[split].setdefault(modality, Counts()).add(sample)
    return counts


def _count_columns(samples: SampleTable, counts: dict[Modality | None, Counts]) -> None:
    """Add the samples of a table to the counts of their split."""
    for part in samples.parts(["group", "owner", "label", *samples.modalities]):
        whole = np.ones(part.num_rows, bool)
        for modality in (None, *samples.modalities):
            has = whole if modality is None else validity(part.column(modality))
            if has.any():
                chosen = part.select([0, 1, 2])
                chosen = chosen if has.all() else chosen.filter(pa.array(has))
                of_modality = counts.setdefault(modality, Counts())
                of_modality.num_samples += chosen.num_rows
                groups, owners, labels = (chosen.column(0), chosen.column(1).flatten(), chosen.column(2))
                of_modality.owners.update(pc.unique(owners).to_pylist())
                of_modality.groups.update(filter(None, pc.unique(groups).to_pylist()))
                of_modality.labels.update(filter(None, pc.unique(labels).to_pylist()))
