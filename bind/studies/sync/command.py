"""The command `bindspace sync MANIFEST`."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from bind.data.sources.manifest import ManifestSource
from bind.data.sources.rows import read_rows
from bind.data.sources.sample_table import SPLITS
from bind.files.writing import write_text
from bind.report.cells import Cells
from bind.report.terminal_table import print_cells
from bind.studies.sync.activity import clock_start_seconds
from bind.studies.sync.arguments import read_arguments
from bind.studies.sync.plot import plot_recording
from bind.studies.sync.recordings import StreamResult, corrected_rows, synchronise
from bind.types import Clip, Modality

WITHOUT_TIME = ("image", "text", "depth", "thermal")
HEADERS = ("recording", "stream", "beside", "offset_seconds", "drift_ppm", "score", "verdict")


def main(arguments: list[str]) -> int:
    """Measure offset and drift of the streams of each recording; 1 where none could be told, else 0.

    Raises:
        ValueError: a file that is no manifest, or has no row with two streams.
    """
    options = read_arguments(arguments)
    clips_of = read_clips(options.manifest)
    if options.reference and not any(options.reference in clips for clips in clips_of.values()):
        known = sorted({m for clips in clips_of.values() for m in clips})
        raise ValueError(f"--reference {options.reference}: no recording has it; there are {', '.join(known)}")
    if not any(len(clips) > 1 for clips in clips_of.values()):
        raise ValueError(f"{options.manifest}: no row has two streams with time, so there is nothing to synchronise")
    folder = options.manifest.with_name(f"{options.manifest.stem}_sync")
    folder.mkdir(exist_ok=True)
    results: list[StreamResult] = []
    rows: list[dict[str, Any]] = []
    for _, row in read_rows(options.manifest)[1]:
        key = str(row["key"])
        clips = clips_of.get(key, {})
        of_row: list[StreamResult] = []
        if len(clips) > 1:
            reference = options.reference if options.reference in clips else None
            of_row = synchronise(key, clips, reference, options.max_lag)
        if any(result.alignment is not None for result in of_row):
            plot_recording(of_row, folder / f"{picture_name(key)}.png")
        starts = {m: clock_start_seconds(clip) for m, clip in clips.items()} if any(r.is_known for r in of_row) else {}
        rows += corrected_rows(row, starts, of_row)
        results += of_row
    synced = options.manifest.with_name(f"{options.manifest.stem}_synced.jsonl")
    write_text(folder / "sync.csv", as_csv(results))
    write_text(synced, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    print_cells(sync_cells(results))
    print(f"corrected: {synced}", f"pictures: {folder}", sep="\n")
    return int(not any(result.is_known for result in results))


def read_clips(manifest: Path) -> dict[str, dict[Modality, Clip]]:
    """Key → the files of a recording that have time; ValueError for a row with several files of one modality."""
    source = ManifestSource(manifest)
    clips_of: dict[str, dict[Modality, Clip]] = {}
    for sample in (sample for split in SPLITS for sample in source.samples(split)):
        clips: dict[Modality, Clip] = {}
        for modality, values in sample.values.items():
            files = [value for value in values if isinstance(value, Clip)]
            if modality in WITHOUT_TIME or not files:
                continue
            if len(files) > 1:
                raise ValueError(
                    f"{manifest}: the recording {sample.key!r} has several files of {modality} for one stretch of "
                    "time; give each file a row, with a key of its own"
                )
            clips[modality] = files[0]
        clips_of[sample.key] = clips
    return clips_of


def picture_name(key: str) -> str:
    """A key as the name of a file."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in key)


def sync_cells(results: list[StreamResult]) -> Cells:
    """The table of all streams."""
    known = sum(result.is_known for result in results)
    caption = f"{known} of {len(results)} found; offset_seconds: how much later the stream shows what happens at 0"
    return Cells("Streams of recordings", caption, HEADERS, {"": [_as_row(result) for result in results]})


def as_csv(results: list[StreamResult]) -> str:
    """The same table as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([HEADERS, *(_as_row(result) for result in results)])
    return text.getvalue()


def _as_row(result: StreamResult) -> tuple[str, ...]:
    names = (result.recording, result.stream, result.reference)
    alignment = result.alignment
    if alignment is None:
        return (*names, "", "", "", f"left alone: {result.problem}")
    if not result.is_known:
        return (*names, "", "", f"{alignment.score:.1f}", f"left alone: {result.problem}")
    drift = f"{alignment.drift * 1e6:.0f}" if alignment.has_drift else ""
    return (*names, f"{alignment.offset_seconds:.3f}", drift, f"{alignment.score:.1f}", "found")
