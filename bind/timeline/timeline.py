"""Time line of a recording on disk: its segments, and what of it has no label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bind.model.binder import Binder
from bind.timeline.labeller import Labeller
from bind.timeline.labels import Labels
from bind.timeline.parameters import Parameters
from bind.timeline.recording import embed_blocks, open_windows
from bind.timeline.segments import Segment
from bind.timeline.trace import Trace
from bind.timeline.windows import Break
from bind.types import Modality


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """The segments of a recording from `start_seconds` to `end_seconds` of its clock, in order.

    `breaks` are times without a label, with the reason; `trace` is the recording's course, None of moving pictures.
    """

    segments: Sequence[Segment]
    breaks: Sequence[Break]
    start_seconds: float
    end_seconds: float
    trace: Trace | None


def make_timeline(
    binder: Binder,
    modality: Modality,
    path: Path,
    labels: Labels,
    parameters: Parameters,
    *,
    hop_seconds: float | None = None,
    on_progress: Callable[[float, float], object] = lambda done, total: None,
) -> Timeline:
    """Make the time line of a file; `on_progress` is called with the seconds that are done, and all.

    Raises:
        ValueError: naming the file, where it can't be read, or nothing in it is as long as a window.
    """
    recording = open_windows(binder, modality, path, hop_seconds=hop_seconds)
    labeller = Labeller(labels, parameters, window_seconds=recording.window_seconds, hop_seconds=recording.hop_seconds)
    for block, z_ND in embed_blocks(binder, modality, recording):
        labeller.push(block, z_ND)
        on_progress(block.start_seconds - recording.start_seconds, recording.end_seconds - recording.start_seconds)
    if not labeller.segments:
        reasons = "; ".join(map(str, recording.breaks[:3]))
        raise ValueError(f"{path}: nothing in it is as long as a window of {recording.window_seconds:g} s: {reasons}")
    return Timeline(
        labeller.segments, recording.breaks, recording.start_seconds, recording.end_seconds, recording.trace
    )
