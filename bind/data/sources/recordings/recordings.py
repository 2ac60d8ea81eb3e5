"""Recordings of a manifest: their streams, and what is measured of each in the time of the recording."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from bind.data.sources.manifest import NUM_THREADS, ManifestSource
from bind.data.sources.sample_table import SPLITS, SampleTable
from bind.media.measured import measured_stretches
from bind.types import Clip, Modality, Sample


@dataclass(frozen=True, slots=True)
class RecordedStream:
    """One file of a recording: `measured_K2` has starts and ends of what it holds, in the time of the recording.

    `zero_seconds` is where that time begins in the clock of the file.
    """

    clip: Clip
    zero_seconds: float
    measured_K2: np.ndarray


@dataclass(frozen=True, slots=True)
class RecordingRow:
    """A row of the manifest with its streams by modality."""

    sample: Sample
    streams: Mapping[Modality, RecordedStream]

    @property
    def extent(self) -> tuple[float, float]:
        """First and last second of which there is anything; equal where nothing is measured."""
        edges = np.concatenate([stream.measured_K2 for stream in self.streams.values()])
        return (float(edges.min()), float(edges.max())) if len(edges) else (0.0, 0.0)


def open_recordings(source: ManifestSource, flat_seconds: float) -> tuple[list[RecordingRow], list[str]]:
    """The recordings of a manifest, each of whose files is looked into, and the keys of all its rows.

    Args:
        source: of the manifest; rows of splits that are never loaded are only among the keys.
        flat_seconds: see `measured_stretches`.

    Raises:
        ValueError: naming the file, for one that can't be read, has no time, or is one of several of its row; and
            where the manifest has captions or vectors.
    """
    tables = [table for split in SPLITS if isinstance(table := source.samples(split), SampleTable)]
    vectors = {modality for table in tables for modality in table.vectors}
    if refused := [modality for modality in source.modalities() if modality == "text" or modality in vectors]:
        raise ValueError(
            f"{source.path}: a table of recordings can't have the column {refused[0]!r}: what a stretch means "
            "stands in data.annotations. Rows that are samples already are a source of their own: data=mixture"
        )
    rows = [row for table in tables for row in table]
    if several := [(row.key, m) for row in rows for m, values in row.values.items() if len(values) > 1]:
        raise ValueError(
            f"{source.path}: the recording {several[0][0]!r} has several files of {several[0][1]}; give each file "
            "a row, with a key of its own"
        )

    def open_stream(place: tuple[Modality, Clip]) -> RecordedStream:
        modality, clip = place
        zero = clip.start_seconds or 0.0
        return RecordedStream(clip, zero, measured_stretches(modality, clip, flat_seconds) - zero)

    with ThreadPoolExecutor(NUM_THREADS) as threads:
        places = [(modality, values[0]) for row in rows for modality, values in row.values.items()]
        streams = iter(list(threads.map(open_stream, places)))
    recordings = [RecordingRow(row, {modality: next(streams) for modality in row.values}) for row in rows]
    return recordings, keys_of_all_rows(source)


def keys_of_all_rows(source: ManifestSource) -> list[str]:
    """The keys of a manifest, with those of splits that are never loaded."""
    table = next(table for split in SPLITS if isinstance(table := source.samples(split), SampleTable))
    columns = table.columns
    return SampleTable(columns, range(columns.starts[-1]), table.folder, table.modalities).keys()
