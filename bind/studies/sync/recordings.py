"""Synchronisation of a manifest's recordings: each stream against the first, and the rows that correct them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bind.studies.sync.activity import has_sound, measure_activity
from bind.studies.sync.estimate import ACTIVITY_HZ, MIN_SCORE, Alignment, estimate_alignment, needed_seconds
from bind.studies.sync.refine import refine_alignment
from bind.studies.sync.second_look import look_again
from bind.types import Clip, Modality

REFERENCES = ("video", "audio")
"""The clock of a recording is that of the first of these that it has, else of its first stream."""
TOLERATED_SECONDS = 0.02
"""How far a drift may move streams from each other within a row; rows with more are cut into pieces."""


@dataclass(frozen=True, slots=True)
class StreamResult:
    """One stream beside the reference of its recording.

    Attributes:
        activity: of both, at 100 Hz.
        alignment: None where the streams are too short, or one could not be read: `problem` says so.
    """

    recording: str
    reference: Modality
    stream: Modality
    activity: tuple[np.ndarray, np.ndarray]
    alignment: Alignment | None
    problem: str = ""

    @property
    def is_known(self) -> bool:
        """Whether the offset was found and is believed."""
        return self.alignment is not None and self.alignment.is_known


def synchronise(
    recording: str, clips: Mapping[Modality, Clip], reference: Modality | None, max_lag_seconds: float
) -> list[StreamResult]:
    """Measure every stream of one recording against the reference.

    Of a sound and a video with a sound track, and of two such videos, the sounds are compared; else motion, sound and
    what moves in the picture.
    """
    reference = reference or next((m for m in REFERENCES if m in clips), next(iter(clips)))
    results = []
    for stream in (m for m in clips if m != reference):
        try:
            by_sound = all(has_sound(m, clips[m]) for m in (reference, stream))
            a, b = (measure_activity(m, clips[m], by_sound=by_sound) for m in (reference, stream))
        except ValueError as error:
            nothing = (np.zeros(0), np.zeros(0))
            results.append(StreamResult(recording, reference, stream, nothing, None, str(error)))
            continue
        a_T, b_T = a.in_steps(), b.in_steps()
        alignment = estimate_alignment(a_T, b_T, max_lag_seconds)
        if alignment is not None:
            alignment = refine_alignment(a, b, look_again(a, b, alignment, max_lag_seconds))
        problem = _problem(alignment, a_T, b_T, max_lag_seconds)
        results.append(StreamResult(recording, reference, stream, (a_T, b_T), alignment, problem))
    return results


def _problem(alignment: Alignment | None, a_T: np.ndarray, b_T: np.ndarray, max_lag_seconds: float) -> str:
    if alignment is None:
        seconds = min(len(a_T), len(b_T)) / ACTIVITY_HZ
        return f"too short: {seconds:g} s of both, {needed_seconds(max_lag_seconds):g} s are needed"
    if alignment.is_known:
        return ""
    if alignment.score < MIN_SCORE:
        return f"nothing in common up to {max_lag_seconds:g} s apart"
    if abs(alignment.lags_L[int(alignment.curve_L.argmax())]) >= alignment.lags_L[-1]:
        return "the best lag is the largest: try a larger --max-lag"
    return "it repeats like a beat"


def corrected_rows(
    row: Mapping[str, Any], starts: Mapping[Modality, float], results: Sequence[StreamResult]
) -> list[dict[str, Any]]:
    """The rows that take the place of one: spans in which the streams whose offset is known show the same moments.

    `starts` are those of the spans now, in the clocks of the files. A stream that is not known keeps its span. Where a
    drift moves a stream by more than 20 ms from the middle of the recording, the row is cut into pieces with keys of
    their own (`KEY-000`), each with spans as its middle has it.

    Examples:
        >>> zero = np.zeros(4000, dtype=np.float32)
        >>> known = Alignment(0.5, 0.0, 9.0, 0.9, True, True, zero, zero)
        >>> result = StreamResult("anna", "video", "imu", (zero, zero), known)
        >>> row = {"key": "anna", "video": "anna.mp4", "imu": "anna.csv"}
        >>> rows = corrected_rows(row, {"video": 0.0, "imu": 0.0}, [result])
        >>> [(row["key"], row["video_start_seconds"], row["imu_start_seconds"]) for row in rows]
        [('anna', 0.0, 0.5)]
    """
    known = [result for result in results if result.is_known]
    if not known:
        return [dict(row)]
    aligned = {result.stream: result.alignment for result in known if result.alignment is not None}
    reference = known[0].reference
    seconds = {result.stream: len(result.activity[1]) / ACTIVITY_HZ for result in known}
    first, last = 0.0, len(known[0].activity[0]) / ACTIVITY_HZ
    for stream, alignment in aligned.items():
        first = max(first, -alignment.lag_seconds(0.0))
        last = min(last, seconds[stream] - alignment.lag_seconds(last))
    drift = max(abs(alignment.drift) for alignment in aligned.values())
    if drift:  # within a piece a stream may lie that far from where its middle has it, and still has to be there
        first, last = first + TOLERATED_SECONDS, last - TOLERATED_SECONDS
    num_pieces = max(1, int(np.ceil(drift * (last - first) / 2 / TOLERATED_SECONDS)))
    edges = np.linspace(first, last, num_pieces + 1)
    rows = []
    for number, (begin, end) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
        piece = dict(row) | ({"key": f"{row['key']}-{number:03d}"} if num_pieces > 1 else {})
        lags = {reference: 0.0} | {m: a.lag_seconds((begin + end) / 2) for m, a in aligned.items()}
        for modality, lag in lags.items():
            piece[f"{modality}_start_seconds"] = round(starts[modality] + begin + lag, 4)
            piece[f"{modality}_end_seconds"] = round(starts[modality] + end + lag, 4)
        rows.append(piece)
    return rows
