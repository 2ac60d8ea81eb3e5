"""Sounds whose decoders are exact from their start only: decoded once from there, and kept where they are short."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass

import numpy as np

MAX_KEPT_BYTES = 1 << 27
"""Decoded sound that a process keeps, 128 MiB: 35 minutes at 16 kHz, 6 at 48 kHz in stereo. Longer sounds are decoded
from their start for each part that lies before the one read last."""
MAX_KEPT_SOUNDS = 4096

Blocks = Iterator[tuple[int, np.ndarray]]
"""Pieces of a sound in order, without overlap or gap: rate in Hz and samples (T, C) float32."""


@dataclass(frozen=True, slots=True)
class Sound:
    """A sound of `num_frames` that can be decoded; `read(first, last)` gives (last - first, C) float32 as stored.

    What is read is that part of the whole, whatever was read before. Values may be NaN or beyond full scale. A file of
    which libsndfile reads any frame by its number has its format and encoding: `WAV`, `PCM_16`.
    """

    sample_rate_hz: int
    num_frames: int
    num_channels: int
    read: Callable[[int, int], np.ndarray]
    stored_as: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class _Decoded:
    sample_rate_hz: int
    num_frames: int
    num_channels: int
    samples_TC: np.ndarray | None

    @property
    def num_bytes(self) -> int:
        return 0 if self.samples_TC is None else self.samples_TC.nbytes


_kept: OrderedDict[Hashable, _Decoded] = OrderedDict()
_kept_lock = threading.Lock()


def decoded_sound(name: str, blocks: Callable[[], Blocks], identity: Hashable | None) -> Sound:
    """The sound that `blocks()` decodes from its start; its length is what could be decoded.

    Args:
        identity: of a file in this state, under which the process keeps what was decoded; None keeps nothing.

    Raises:
        ValueError: naming the file, where nothing can be decoded, or its rate or number of channels changes.
    """
    decoded = None
    with _kept_lock:
        if identity is not None and identity in _kept:
            _kept.move_to_end(identity)
            decoded = _kept[identity]
    if decoded is None:
        decoded = _decode(name, blocks())
        if identity is not None:
            _keep(identity, decoded)
    samples_TC = decoded.samples_TC
    if samples_TC is None:
        read = _ForwardReader(name, blocks).read
    else:
        whole_TC = samples_TC

        def read(first: int, last: int) -> np.ndarray:
            return whole_TC[first:last].copy()  # callers may write into it

    return Sound(decoded.sample_rate_hz, decoded.num_frames, decoded.num_channels, read)


def _decode(name: str, blocks: Blocks) -> _Decoded:
    pieces: list[np.ndarray] = []
    num_frames, kind, is_kept = 0, None, True
    for rate_hz, x_TC in blocks:
        if kind is None:
            kind = rate_hz, x_TC.shape[1]
        if (rate_hz, x_TC.shape[1]) != kind:
            raise ValueError(
                f"{name}: changes from {kind[0]} Hz with {kind[1]} channel(s) to {rate_hz} Hz with {x_TC.shape[1]} "
                f"after {num_frames / kind[0]:g} s. Write it again: ffmpeg -i FILE -ar {kind[0]} -ac 1 NEW.wav"
            )
        num_frames += len(x_TC)
        is_kept = is_kept and num_frames * kind[1] * 4 <= MAX_KEPT_BYTES
        if is_kept:
            pieces.append(x_TC)
        else:
            pieces.clear()
    if kind is None or not num_frames:
        raise ValueError(f"{name}: there are no samples in it. Replace the file or drop its row")
    return _Decoded(kind[0], num_frames, kind[1], np.concatenate(pieces) if is_kept else None)


def _keep(identity: Hashable, decoded: _Decoded) -> None:
    with _kept_lock:
        _kept[identity] = decoded
        num_bytes = sum(other.num_bytes for other in _kept.values())
        while num_bytes > MAX_KEPT_BYTES or len(_kept) > MAX_KEPT_SOUNDS:
            num_bytes -= _kept.popitem(last=False)[1].num_bytes


class _ForwardReader:
    """A reader of sounds that are too long to be kept: on from the last part read, or again from the start."""

    def __init__(self, name: str, blocks: Callable[[], Blocks]) -> None:
        self.name, self.blocks = name, blocks
        self.running: Blocks = iter(())
        self.position = 0  # of the first frame of `rest`
        self.rest_TC: np.ndarray | None = None

    def read(self, first: int, last: int) -> np.ndarray:
        if self.rest_TC is None or first < self.position:
            self.running, self.position = self.blocks(), 0
            self.rest_TC = next(self.running)[1]
        parts = []
        while True:
            begin, end = max(first - self.position, 0), min(last - self.position, len(self.rest_TC))
            if begin < end:
                parts.append(self.rest_TC[begin:end])
            if last <= self.position + len(self.rest_TC):
                return np.concatenate(parts) if parts else self.rest_TC[:0].copy()
            self.position += len(self.rest_TC)
            following = next(self.running, None)
            if following is None:
                self.rest_TC = None
                raise ValueError(f"{self.name}: ends earlier than before. Did it change while it was read?")
            self.rest_TC = following[1]
