"""Warning of training samples that have their own picture, sound or caption as a negative, for want of a group."""

from __future__ import annotations

import logging

import numpy as np

from bind.data.datamodule import BindDataModule
from bind.data.shared_values import MAX_CLASHING_SHARE, SharedValues, number_groups, number_values
from bind.data.sources.sample_table import SampleTable
from bind.types import Source

log = logging.getLogger("bind")

MAX_ROWS = 100_000
"""Of a table with more, so many are drawn: the share of rows is a property of pairs, which they estimate well."""
DRAW_SEED = 0


def warn_of_shared_values(data: BindDataModule) -> None:
    """Log which trained modalities have values that rows of different groups share, how many rows, and two of them."""
    for source in data.drawn_sources:
        _warn_of_source(source, data)


def _warn_of_source(source: Source, data: BindDataModule) -> None:
    samples = source.samples("train")
    if not isinstance(samples, SampleTable):
        return  # made by a program, which knows its groups
    if len(samples) > MAX_ROWS:
        rows = np.random.default_rng(DRAW_SEED).choice(len(samples), MAX_ROWS, replace=False)
        samples = samples.at(np.sort(rows))
    groups_N = number_groups(samples)
    for modality in data.train_modalities:
        if modality not in samples.modalities or modality in samples.vectors:
            continue
        shared = SharedValues.find(*number_values(samples, modality), groups_N)
        share = shared.share_of_rows(data.batch_size)
        if share <= MAX_CLASHING_SHARE:
            continue
        _, rows, _ = max(shared.clashes(), key=lambda clash: len(clash[1]))
        example = samples[int(rows[0])].values[modality]
        log.warning(
            "%s: %.0f %% of the rows have their own %s as a negative in a batch of %d: rows of different groups share "
            "it, such as %d rows %s, among them %r and %r. Give samples that mean the same one `group`",
            source.name,
            100 * share,
            "caption" if modality == "text" else modality,
            data.batch_size,
            len(rows),
            ", ".join(map(str, example))[:100],
            samples.key(int(rows[0])),
            samples.key(int(rows[-1])),
        )
