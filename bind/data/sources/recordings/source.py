"""Source of windows that are drawn from whole recordings while training, by a table of annotations."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bind.data.sources.annotations.columns import Annotations
from bind.data.sources.annotations.read import read_annotations
from bind.data.sources.content import hash_files
from bind.data.sources.manifest import ManifestSource
from bind.data.sources.recordings.checks import (
    choose_kinds,
    refuse_empty,
    refuse_outside,
    refuse_overlaps,
    refuse_unknown_recordings,
)
from bind.data.sources.recordings.recordings import open_recordings
from bind.data.sources.recordings.table import WindowTables
from bind.data.sources.recordings.windows import WindowOptions
from bind.data.sources.sample_table import SPLITS
from bind.terminal import printable_errors
from bind.types import Clip, Modality, Sample

logger = logging.getLogger("bind.data")


class RecordingSource:
    """Windows of whole recordings: fixed ones in evaluation, in training each moved anew whenever it is drawn.

    A row of the manifest (see `ManifestSource`) is a recording: its files, split and owner. A second table says what
    stretches of it mean (see `read_annotations`); a window takes texts, label and group (its label, else its texts)
    from its annotation. Times of annotations are those of the file, or count from `{modality}_start_seconds` where the
    manifest gives it, so that streams with other clocks lie beside each other. A sample is one window: an epoch draws
    as many as lie in the annotations by the stride, each at a start of its own, which all its streams share.

    Left out, and counted in the log: windows in which no stream is there throughout, because the recording ends, pauses
    or was off; a stream that is not there while others are is missing in that sample. Recordings without annotations
    give no windows, as do stretches without, unless `unlabelled`.

    Args:
        manifest: path of the table of recordings.
        annotations: path of the annotations; None: whole recordings are stretches without.
        name: what logs call this dataset, by default as `ManifestSource` does.
        kinds: kinds of annotations that make windows; None: all.
        window_seconds, stride_seconds, jitter_seconds, min_share, min_annotation_seconds: see `WindowOptions`.
        windows_per_moment: training draws so many windows of each place together, as positives of each other where
            the loss takes the same group as such (`loss.same_group=positive`).
        unlabelled: whether stretches without annotation give windows too, samples without text, label and group.
        known, cache_dir: see `ManifestSource`.

    Attributes:
        fresh: modalities whose values are drawn anew in training.

    Raises:
        ValueError: naming the file, the line and the time, for all that `ManifestSource` and `read_annotations` refuse,
            a manifest with captions or with several files of a modality in a row, annotations of unknown recordings,
            outside of theirs, overlapping ones of one kind, such as say nothing, and where no window is left.
    """

    @printable_errors()
    def __init__(
        self,
        manifest: str | Path,
        annotations: str | Path | None,
        *,
        name: str | None = None,
        kinds: Sequence[str] | None = None,
        window_seconds: float,
        stride_seconds: float,
        jitter_seconds: float | None = None,
        min_share: float = 1.0,
        min_annotation_seconds: float = 0.0,
        windows_per_moment: int = 1,
        unlabelled: bool = False,
        known: Sequence[Modality] | None = None,
        cache_dir: str | Path | None = None,
    ) -> None:
        options = WindowOptions(
            window_seconds=window_seconds,
            stride_seconds=stride_seconds,
            jitter_seconds=jitter_seconds,
            min_share=min_share,
            min_annotation_seconds=min_annotation_seconds,
        )
        if not isinstance(windows_per_moment, int) or windows_per_moment < 1:
            raise ValueError(f"data.windows_per_moment={windows_per_moment}: give a number of windows, at least 1")
        if annotations is None and not unlabelled:
            raise ValueError("data.annotations is missing: name a table of annotations, or set data.unlabelled=true")
        rows = ManifestSource(manifest, name=name, known=known, cache_dir=cache_dir)
        self.path, self.name = rows.path, rows.name
        self.windows_per_moment = windows_per_moment
        recordings, all_keys = open_recordings(rows, window_seconds)
        said = Annotations.of([])
        if annotations is not None:
            path = Path(annotations)
            said = choose_kinds(read_annotations(path), kinds, path)
            refuse_unknown_recordings(said, all_keys, path, self.path)
            loaded = {recording.sample.key for recording in recordings}
            said = said.take(np.isin(said.names("recording"), list(loaded)))  # not those of splits that never are
            refuse_empty(said, path)
            refuse_overlaps(said, path)
            refuse_outside(said, {recording.sample.key: recording.extent for recording in recordings}, path)
            without = loaded - set(said.names("recording"))
            if without and not unlabelled:
                logger.warning(
                    "%s: %d recording(s) have no annotation and give no windows (first: %r)",
                    self.path,
                    len(without),
                    min(without),
                )
        tables = WindowTables(said, rows.modalities(), options, unlabelled=unlabelled)
        self._tables = {
            split: tables.of_recordings(
                [recording for recording in recordings if recording.sample.split == split],
                windows_per_moment if split == "train" else 1,
            )
            for split in SPLITS
        }
        if not self.splits:
            raise ValueError(
                f"{self.path}: no window lies in any annotation; lower data.window_seconds, data.min_share or "
                "data.min_annotation_seconds"
            )
        for reason, examples in tables.left_out.items():
            logger.warning("%s: %d %s (first: %s)", self.path, len(examples), reason, examples[0])
        self._modalities = (*rows.modalities(), *(["text"] if len(said) else []))
        self.fresh = frozenset(rows.modalities()) if options.jitter else frozenset[Modality]()

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have windows, of `train`, `val` and `test`."""
        return tuple(split for split, table in self._tables.items() if len(table.samples))

    def modalities(self) -> tuple[Modality, ...]:
        """The streams of the recordings in the order of the manifest's columns, and text."""
        return self._modalities

    def samples(self, split: str) -> Sequence[Sample]:
        """The fixed windows of `split`, recording by recording."""
        return self._tables[split].samples if split in self._tables else []

    def content_hash(self, split: str, modality: Modality) -> str:
        """See `bind.data.sources.content.hash_files`, of the fixed windows."""
        return hash_files(self.samples(split), modality, self.path.parent)

    @printable_errors()
    def fetch(
        self,
        split: str,
        indices: Sequence[int],
        modalities: Sequence[Modality],
        rngs: Sequence[np.random.Generator] | None,
    ) -> list[dict[Modality, list[Any]]]:
        """`Clip`s and texts of these samples; with `rngs` each window is moved by what its generator draws."""
        table = self._tables[split]
        fetched = [table.samples.values(index, modalities) for index in indices]
        if rngs is None or not self.fresh & set(modalities):
            return fetched
        for place, (index, values) in enumerate(zip(indices, fetched, strict=True)):
            shift = table.draw_shift(index, rngs[place])
            for modality in self.fresh & values.keys():
                values[modality] = [_moved(clip, shift) for clip in values[modality]]
        return fetched

    def training_order(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """A permutation (size,) int64 of the training samples in which windows of one moment stay together."""
        moments = rng.permutation(size // self.windows_per_moment)
        places: np.ndarray = moments[:, None] * self.windows_per_moment + np.arange(self.windows_per_moment)
        return places.reshape(-1)


def _moved(clip: Clip, shift: float) -> Clip:
    assert clip.start_seconds is not None
    assert clip.end_seconds is not None
    return replace(clip, start_seconds=clip.start_seconds + shift, end_seconds=clip.end_seconds + shift)
