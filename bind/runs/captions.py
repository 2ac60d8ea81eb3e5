"""Captions of a run's data that the text tower cuts: how many, and one of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from textwrap import shorten

import numpy as np

from bind.data.datamodule import BindDataModule
from bind.data.sources.sample_table import SampleTable
from bind.media.notices import mark_as_said
from bind.types import CuttingTransform, Source, StoredSource

log = logging.getLogger("bind")

MAX_FETCHED = 1000
"""Samples whose captions are fetched where a source does not have them in memory; drawn evenly from each split."""
MAX_ROWS, MAX_DRAWN_ROWS = 100_000, 10_000
"""Of a table with more rows than the first, so many are drawn evenly."""
BATCH_SIZE = 1024
EXAMPLE_LENGTH = 100


def warn_of_cut_captions(data: BindDataModule, splits: Iterable[str]) -> None:
    """Log how many captions of these splits are longer than the text tower takes, their share, and one of them."""
    transform = data.transforms.get("text")
    if not isinstance(transform, CuttingTransform) or "text" not in (
        *data.train_modalities,
        *data.evaluation_modalities,
    ):
        return
    num_looked_at, num_cut, example = 0, 0, ""
    captions = (pair for source in data.sources for split in splits for pair in _captions(source, split))
    while batch := list(islice(captions, BATCH_SIZE)):
        cut = set(transform.find_cut([caption for _, caption in batch]))
        cut_of_batch = [(key, caption) for key, caption in batch if caption in cut]
        if cut_of_batch and not num_cut:
            key, caption = cut_of_batch[0]
            example = f"key {key!r}: {shorten(caption, EXAMPLE_LENGTH, placeholder=' …')!r}"
        num_looked_at, num_cut = num_looked_at + len(batch), num_cut + len(cut_of_batch)
    mark_as_said(transform.notice_of_cut)
    if num_cut:
        log.warning(
            "%d of %d captions (%.2g %%) are cut: they are longer than the %d tokens that the text tower takes, and "
            "those that differ behind the cut are one vector. Such as %s. Shorten them, split them into several, or "
            "choose an anchor that takes more",
            num_cut,
            num_looked_at,
            100 * num_cut / num_looked_at,
            transform.max_tokens,
            example,
        )


def _captions(source: Source, split: str) -> Iterator[tuple[str, str]]:
    """Keys and captions; of a source that has them in files, of evenly drawn samples."""
    samples = source.samples(split)
    if isinstance(samples, SampleTable) and not isinstance(source, StoredSource):
        num_drawn = len(samples) if len(samples) <= MAX_ROWS else MAX_DRAWN_ROWS
        for row in np.linspace(0, len(samples) - 1, num_drawn).astype(int).tolist():
            yield from ((samples.key(row), text) for text in samples.values(row, ["text"]).get("text", ()))
        return
    places: Sequence[int] = range(len(samples))
    if not isinstance(samples, SampleTable):
        places = [i for i, sample in enumerate(samples) if "text" in sample.values and not sample.values["text"]]
    drawn = [places[i] for i in np.linspace(0, len(places) - 1, min(MAX_FETCHED, len(places))).astype(int)]
    for i, row in zip(drawn, source.fetch(split, drawn, ["text"], None) if drawn else [], strict=True):
        yield from ((samples[i].key, caption) for caption in row.get("text", ()))
    for sample in samples:
        yield from ((sample.key, caption) for caption in sample.values.get("text", ()))
