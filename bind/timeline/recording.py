"""Recordings on disk as blocks of windows, read in pieces through the doors of `bind.media`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bind.media.audio import open_audio
from bind.media.sensor import load_sensor_file
from bind.media.sensor_units import require_measurable
from bind.media.video import open_video
from bind.model.binder import Binder
from bind.timeline.parameters import BLOCK_STEPS, window_hop
from bind.timeline.samples import SampledWindows, require_modality, window_seconds_of
from bind.timeline.trace import Trace
from bind.timeline.windows import Block, Break
from bind.types import Clip, Modality

PIECE_FRAMES = 1 << 16
"""Samples that are read at a time."""


@dataclass
class WindowedRecording:
    """A recording whose windows are `blocks`, which can be gone through once.

    Attributes:
        breaks: time without a label, complete when the blocks are.
        trace: its course, coarse, complete when the blocks are; None of moving pictures.
    """

    name: str
    window_seconds: float
    hop_seconds: float
    start_seconds: float
    end_seconds: float
    blocks: Iterator[Block]
    breaks: list[Break] = field(default_factory=list)
    trace: Trace | None = None


def open_windows(
    binder: Binder, modality: Modality, path: Path, *, hop_seconds: float | None = None
) -> WindowedRecording:
    """Open a file of a modality as overlapping windows.

    Memory is that of a piece, however long the recording is; a sensor's CSV or Parquet is read whole, by its door.

    Raises:
        ValueError: naming the file, where its door refuses it, the run does not embed it, or it is shorter than a
            window.
    """
    require_modality(binder, modality, of_samples=False)
    if modality == "video":
        return _open_video(binder.transforms[modality], path, hop_seconds)
    if modality == "audio":
        return _open_sound(binder.transforms[modality], path, hop_seconds)
    return _open_sensor(binder.transforms[modality], modality, path, hop_seconds)


def _open_sensor(transform: Any, modality: Modality, path: Path, hop_seconds: float | None) -> WindowedRecording:
    file = load_sensor_file(Clip(path))
    even, rate_hz = file.even, file.sample_rate_hz
    windows = SampledWindows.of(
        transform,
        modality,
        sample_rate_hz=rate_hz,
        channels=file.channels,
        units=file.units,
        hop_seconds=hop_seconds,
        name=str(path),
    )
    seconds = even.num_frames / rate_hz
    require_window(str(path), seconds, windows.window_seconds)
    columns = transform.select_channels(file.channels, str(path))
    channels, units = ([of[column] for column in columns] for of in (file.channels, file.units))
    trace = Trace(even.start_seconds, even.num_frames, rate_hz, channels, units)

    def read() -> Iterator[Block]:
        for first, values_TC in even.stretches:
            for begin in range(0, len(values_TC), PIECE_FRAMES):
                piece_TC = np.asarray(values_TC[begin : begin + PIECE_FRAMES], dtype=np.float32)
                require_measurable(piece_TC, file.channels, file.units, str(path))
                trace.add(first + begin, piece_TC[:, columns])
                yield from windows.push(piece_TC, even.start_seconds + (first + begin) / rate_hz)
        yield from windows.finish()

    return WindowedRecording(
        str(path),
        windows.window_seconds,
        windows.hop_seconds,
        even.start_seconds,
        even.start_seconds + seconds,
        read(),
        windows.breaks,
        trace,
    )


def _open_sound(transform: Any, path: Path, hop_seconds: float | None) -> WindowedRecording:
    with open_audio(Clip(path)) as recording:
        rate_hz, num_frames = recording.sample_rate_hz, recording.num_frames
    windows = SampledWindows.of(transform, "audio", sample_rate_hz=rate_hz, hop_seconds=hop_seconds, name=str(path))
    require_window(str(path), num_frames / rate_hz, windows.window_seconds)
    trace = Trace(0.0, num_frames, rate_hz, ["sound"], [""])

    def read() -> Iterator[Block]:
        with open_audio(Clip(path)) as recording:
            for begin in range(0, num_frames, PIECE_FRAMES):
                piece_TC = recording.read(begin, min(num_frames, begin + PIECE_FRAMES))
                trace.add(begin, piece_TC.mean(axis=1, keepdims=True))
                yield from windows.push(piece_TC)
        yield from windows.finish()

    return WindowedRecording(
        str(path),
        windows.window_seconds,
        windows.hop_seconds,
        0.0,
        num_frames / rate_hz,
        read(),
        windows.breaks,
        trace,
    )


def _open_video(transform: Any, path: Path, hop_seconds: float | None) -> WindowedRecording:
    window = window_seconds_of(transform, "video")
    hop = window_hop(window, hop_seconds)
    with open_video(Clip(path)) as video:
        seconds = video.seconds
    require_window(str(path), seconds, window)
    num_windows = int((seconds - window) / hop + 1e-9) + 1

    def read() -> Iterator[Block]:
        for first in range(0, num_windows, BLOCK_STEPS):
            steps = range(first, min(first + BLOCK_STEPS, num_windows))
            clips = [Clip(path, step * hop, step * hop + window) for step in steps]
            yield Block(first * hop, clips, first == 0, seconds if steps.stop == num_windows else None)

    return WindowedRecording(str(path), window, hop, 0.0, seconds, read())


def require_window(name: str, seconds: float, window_seconds: float) -> None:
    """Raise ValueError, with the `name` of a recording, where it is shorter than a window."""
    if seconds < window_seconds - 1e-6:
        raise ValueError(
            f"{name}: its {seconds:g} s are shorter than the window of {window_seconds:g} s that the run was "
            "trained with"
        )


def embed_blocks(
    binder: Binder, modality: Modality, recording: WindowedRecording
) -> Iterator[tuple[Block, np.ndarray]]:
    """The blocks of a recording, each with the unit vectors (N, D) of its windows."""
    for block in recording.blocks:
        yield block, embed_block(binder, modality, block)


def embed_block(binder: Binder, modality: Modality, block: Block) -> np.ndarray:
    """Unit vectors (N, D) of the windows of a block."""
    z_ND: np.ndarray = binder.embed(modality, block.values, batch_size=max(1, len(block.values))).cpu().numpy()
    return z_ND
