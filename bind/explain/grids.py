"""Grids over what an encoder gets: regions of a sound, a trace, a picture, a video or a text that can be hidden.

A hidden region of a sound or a trace has the mean of other samples' inputs in its place, not zeros: encoders normalise
their input, and a constant part changes what becomes of the rest. A time that is hidden whole has what the same
recording holds in its quiet, since the mean of others would be sound or motion where there was none. A hidden patch has
the middle of what is left of its own picture: the mean of others is darker or brighter, nearer or farther than that
picture, and so an edge, or a thing, where there was none.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

NUM_TIMES = 10
NUM_BANDS = 6
MAX_WORDS_OF_TEXT = 40
LARGEST_BASELINE_PX = 512
NUM_PATCHES = 8
"""Along each side of a picture."""
MAX_MEDIAN_PX = 128
"""Lines of a picture that its median is taken of, so that it costs no more than hiding does."""
QUIET_SHARE = 0.1
"""Of a sound's frames: in each band the lowest ones are its quiet."""


class InputGrid(Protocol):
    """Rows × columns of regions of one input.

    Attributes:
        row_names: of each row, such as a band of a sound or a channel of a sensor.
        column_names: of each column.
    """

    row_names: tuple[str, ...]
    column_names: tuple[str, ...]

    def hide(self, is_hidden_RK: np.ndarray) -> list[Any]:
        """The input without these regions; several where what stands in their place is not one thing."""


@runtime_checkable
class TimedGrid(InputGrid, Protocol):
    """A grid whose columns are times of a recording that can be hidden whole."""

    def hide_times(self, is_hidden_K: np.ndarray) -> Any:
        """The input with the recording's own quiet at these times."""


class WordGrid:
    """The words of a text, of a long one several together. A hidden word is left out; for all words other texts stand.

    Examples:
        >>> WordGrid("a red star", ["a dog"]).hide(np.array([[False, True, False]]))
        ['a star']
    """

    row_names: tuple[str, ...] = ("",)

    def __init__(self, text: str, others: Sequence[str]) -> None:
        self.words = text.split()
        self.others = list(others)
        self.column_of_word = column_of(len(self.words), min(len(self.words), MAX_WORDS_OF_TEXT))
        columns = range(int(self.column_of_word[-1]) + 1 if self.words else 0)
        words_of_columns = [np.asarray(self.words, dtype=object)[self.column_of_word == k] for k in columns]
        self.column_names = tuple(" ".join(words) for words in words_of_columns)

    def hide(self, is_hidden_RK: np.ndarray) -> list[Any]:
        """The text without these words."""
        kept = [word for word, k in zip(self.words, self.column_of_word, strict=True) if not is_hidden_RK[0, k]]
        return [" ".join(kept)] if kept else self.others


class SoundGrid:
    """Bands (rows, low to high) × times of a sound (T,). A hidden region keeps its phase and has the mean log-magnitude
    of other sounds, a hidden time the lowest tenth of this sound's own at each frequency.

    Bands are equally wide in mel (O'Shaughnessy's formula).
    """

    def __init__(self, x_T: Tensor, others: Sequence[Tensor], sample_rate_hz: int, start_seconds: float = 0.0) -> None:
        self.num_samples = len(x_T)
        self.num_fft = 2 ** round(np.log2(max(16, 0.025 * sample_rate_hz)))
        self.window = torch.hann_window(self.num_fft)
        self.spectrum_FM = self._transform(x_T)
        logs_NFM = torch.stack([self._transform(other).abs().clamp_min(1e-6).log() for other in others])
        self.baseline_FM = torch.polar(logs_NFM.mean(dim=0).exp(), self.spectrum_FM.angle())
        quiet_F1 = self.spectrum_FM.abs().quantile(QUIET_SHARE, dim=1, keepdim=True)
        self.quiet_FM = torch.polar(quiet_F1.expand_as(self.spectrum_FM).contiguous(), self.spectrum_FM.angle())
        num_bins, num_frames = self.spectrum_FM.shape
        top = 2595 * np.log10(1 + sample_rate_hz / 2 / 700)
        edges_hz = 700 * (10 ** (np.linspace(0, top, NUM_BANDS + 1) / 2595) - 1)
        bins_hz = np.arange(num_bins) * sample_rate_hz / self.num_fft
        self.band_of_bin = np.clip(np.searchsorted(edges_hz, bins_hz, side="right") - 1, 0, NUM_BANDS - 1)
        self.time_of_frame = column_of(num_frames, NUM_TIMES)
        self.row_names = tuple(f"{low:.0f}–{high:.0f} Hz" for low, high in itertools.pairwise(edges_hz))
        self.column_names = time_names(self.num_samples / sample_rate_hz, NUM_TIMES, start_seconds)

    def hide(self, is_hidden_RK: np.ndarray) -> list[Any]:
        """The sound without these bands at these times."""
        is_hidden_FM = torch.from_numpy(is_hidden_RK[self.band_of_bin][:, self.time_of_frame])
        return [self._sound(torch.where(is_hidden_FM, self.baseline_FM, self.spectrum_FM))]

    def hide_times(self, is_hidden_K: np.ndarray) -> Tensor:
        """The sound with its own quiet at these times."""
        is_hidden_M = torch.from_numpy(is_hidden_K[self.time_of_frame])
        return self._sound(torch.where(is_hidden_M, self.quiet_FM, self.spectrum_FM))

    def _sound(self, spectrum_FM: Tensor) -> Tensor:
        return torch.istft(spectrum_FM, self.num_fft, window=self.window, length=self.num_samples)

    def _transform(self, x_T: Tensor) -> Tensor:
        return torch.stft(x_T, self.num_fft, window=self.window, return_complex=True)


class SensorGrid:
    """Channels (rows) × times of a trace (C, T). A hidden region has the mean of other traces at these times, a time
    that is hidden whole each channel's level in the quietest time of this one.

    Examples:
        >>> grid = SensorGrid(torch.ones(2, 40), [torch.zeros(2, 40)], ["x", "y"], seconds=2.0)
        >>> is_hidden = np.zeros((2, 10), dtype=bool)
        >>> is_hidden[0, :5] = True
        >>> grid.hide(is_hidden)[0].sum(dim=1)
        tensor([20., 40.])
    """

    def __init__(
        self,
        x_CT: Tensor,
        others: Sequence[Tensor],
        channels: Sequence[str],
        seconds: float,
        start_seconds: float = 0.0,
    ) -> None:
        self.x_CT = x_CT
        self.baseline_CT = torch.stack(list(others)).mean(dim=0)
        num_times = min(NUM_TIMES, x_CT.shape[1])
        self.time_of_frame = column_of(x_CT.shape[1], num_times)
        times = [x_CT[:, torch.from_numpy(self.time_of_frame == k)] for k in range(num_times)]
        quietest = min(times, key=lambda x_CS: float(x_CS.var(dim=1, correction=0).mean()))
        self.quiet_C1 = quietest.mean(dim=1, keepdim=True)
        self.row_names = tuple(channels)
        self.column_names = time_names(seconds, num_times, start_seconds)

    def hide(self, is_hidden_RK: np.ndarray) -> list[Any]:
        """The trace without these channels at these times."""
        return [torch.where(torch.from_numpy(is_hidden_RK[:, self.time_of_frame]), self.baseline_CT, self.x_CT)]

    def hide_times(self, is_hidden_K: np.ndarray) -> Tensor:
        """The trace with the level of its quietest time at these times."""
        is_hidden_T = torch.from_numpy(is_hidden_K[self.time_of_frame])
        return torch.where(is_hidden_T, self.quiet_C1, self.x_CT)


class PictureGrid:
    """Square patches of a picture or a map: RGB, or a tensor (C, H, W). A hidden one has each channel's median of the
    patches that are left, and where none is left the mean of others.

    Examples:
        >>> wall_1HW = torch.full((1, 8, 8), 0.5)
        >>> wall_1HW[0, 2, 3] = 0.9  # a thing before it
        >>> is_hidden = np.zeros((8, 8), dtype=bool)
        >>> is_hidden[2, 3] = True
        >>> PictureGrid(wall_1HW, [torch.zeros(1, 8, 8)]).hide(is_hidden)[0].unique()
        tensor([0.5000])
    """

    def __init__(self, picture: Any, others: Sequence[Any]) -> None:
        self.picture = picture
        self.x_CHW = channels_first(picture)
        _, height, width = self.x_CHW.shape
        self.baseline_CHW = mean_picture(others, height, width)
        num_rows, num_columns = min(NUM_PATCHES, height), min(NUM_PATCHES, width)
        self.row_of_line, self.column_of_line = column_of(height, num_rows), column_of(width, num_columns)
        self.row_names = tuple(f"row {row + 1}" for row in range(num_rows))
        self.column_names = tuple(f"column {column + 1}" for column in range(num_columns))

    def hide(self, is_hidden_RK: np.ndarray) -> list[Any]:
        """The picture without these patches."""
        is_hidden_HW = torch.from_numpy(is_hidden_RK[self.row_of_line][:, self.column_of_line])
        in_place_CHW = self.baseline_CHW if is_hidden_RK.all() else self._middle_of(~is_hidden_HW)
        return [as_given(torch.where(is_hidden_HW, in_place_CHW, self.x_CHW), self.picture)]

    def _middle_of(self, is_left_HW: Tensor) -> Tensor:
        """The median (C, 1, 1) of each channel; of a large picture of evenly spaced pixels, which say it as well."""
        step = max(1, min(is_left_HW.shape) // MAX_MEDIAN_PX)
        pixels_CN = self.x_CHW[:, ::step, ::step][:, is_left_HW[::step, ::step]]
        return pixels_CN.median(dim=1).values[:, None, None]


class FrameGrid:
    """The frames of a video: RGB pictures, or a tensor (T, C, H, W). A hidden one has the mean of other videos."""

    row_names: tuple[str, ...] = ("",)

    def __init__(self, frames: Any, others: Sequence[Any]) -> None:
        self.frames = frames
        self.baselines = []
        for number, frame in enumerate(frames):
            _, height, width = channels_first(frame).shape
            frames_of_others = [other[min(number, len(other) - 1)] for other in others]
            self.baselines.append(as_given(mean_picture(frames_of_others, height, width), frame))
        self.column_names = tuple(f"frame {number + 1}" for number in range(len(frames)))

    def hide(self, is_hidden_RK: np.ndarray) -> list[Any]:
        """The video without these frames."""
        pairs = zip(self.frames, self.baselines, is_hidden_RK[0].tolist(), strict=True)
        kept = [baseline if is_hidden else frame for frame, baseline, is_hidden in pairs]
        return [torch.stack(kept) if isinstance(self.frames, Tensor) else tuple(kept)]


class ClipsGrid:
    """Several clips of one recording, the columns of one after those of the other."""

    def __init__(self, grids: Sequence[InputGrid]) -> None:
        self.grids = list(grids)
        self.row_names = self.grids[0].row_names
        self.column_names = tuple(
            f"clip {number}: {name}" for number, grid in enumerate(self.grids, start=1) for name in grid.column_names
        )

    def hide(self, is_hidden_RK: np.ndarray) -> list[Any]:
        """The clips without these regions, as one input."""
        masks = np.split(is_hidden_RK, len(self.grids), axis=1)
        return [[grid.hide(mask)[0] for grid, mask in zip(self.grids, masks, strict=True)]]


class TimedClipsGrid(ClipsGrid):
    """Clips whose times can be hidden whole."""

    def __init__(self, grids: Sequence[TimedGrid]) -> None:
        super().__init__(grids)
        self.timed = list(grids)

    def hide_times(self, is_hidden_K: np.ndarray) -> list[Any]:
        """The clips with their own quiet at these times, as one input."""
        masks = np.split(is_hidden_K, len(self.timed))
        return [grid.hide_times(mask) for grid, mask in zip(self.timed, masks, strict=True)]


def make_grid(
    modality: str, item: Any, others: Sequence[Any], transform: Any, starts_seconds: Sequence[float] = ()
) -> InputGrid | None:
    """The grid over what a transform gave of a value; None where there is none for such an input.

    Args:
        others: what the transform gave of other values of the modality, at least one.
        starts_seconds: of each clip of a recording, for the names of its times; none: 0.
    """
    if isinstance(item, list):
        firsts = [other[0] if isinstance(other, list) else other for other in others]
        starts = [(start,) for start in starts_seconds] if len(starts_seconds) == len(item) else [()] * len(item)
        grids = [make_grid(modality, clip, firsts, transform, start) for clip, start in zip(item, starts, strict=True)]
        if timed := [grid for grid in grids if isinstance(grid, TimedGrid)]:
            return TimedClipsGrid(timed)
        return ClipsGrid([grid for grid in grids if grid is not None]) if all(grids) else None
    others = [other[0] if isinstance(other, list) else other for other in others]
    rate = getattr(transform, "sample_rate_hz", None)
    start_seconds = next(iter(starts_seconds), 0.0)
    if isinstance(item, str):
        return WordGrid(item, others)
    if isinstance(item, Image.Image):
        return PictureGrid(item, others)
    if isinstance(item, tuple) and isinstance(item[0], Image.Image):
        return FrameGrid(item, others)
    if not isinstance(item, Tensor):
        return None
    if item.ndim < 3:  # another length has no mean with this one
        others = [other for other in others if other.shape == item.shape]
    if not others:
        return None
    if item.ndim == 1 and rate:
        return SoundGrid(item, others, int(rate), start_seconds)
    if item.ndim == 2 and rate:
        channels = getattr(transform, "channels", None) or [f"channel {c + 1}" for c in range(len(item))]
        return SensorGrid(item, others, channels, item.shape[1] / rate, start_seconds)
    if item.ndim == 3:
        return PictureGrid(item, others)
    return FrameGrid(item, others) if item.ndim == 4 and item.dtype == torch.uint8 else None


def column_of(num_lines: int, num_columns: int) -> np.ndarray:
    """Of each of `num_lines` the equal stretch that it is in.

    Examples:
        >>> column_of(5, 2).tolist()
        [0, 0, 0, 1, 1]
    """
    return np.arange(num_lines) * num_columns // num_lines


def time_names(seconds: float, num_times: int, start_seconds: float = 0.0) -> tuple[str, ...]:
    """Names of equal stretches of time.

    Examples:
        >>> time_names(1.0, 2)
        ('0.00–0.50 s', '0.50–1.00 s')
        >>> time_names(1.0, 2, start_seconds=178.0)
        ('178.00–178.50 s', '178.50–179.00 s')
    """
    edges = start_seconds + np.linspace(0, seconds, num_times + 1)
    return tuple(f"{start:.2f}–{end:.2f} s" for start, end in itertools.pairwise(edges))


def channels_first(picture: Any) -> Tensor:
    """A picture or a map as a float tensor (C, H, W)."""
    if isinstance(picture, Tensor):
        return picture.float()
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float()


def as_given(x_CHW: Tensor, like: Any) -> Any:
    """The inverse of `channels_first`: what `like` is, a picture or a tensor of its kind."""
    if isinstance(like, Tensor):
        return x_CHW.round().clamp(0, 255).to(like.dtype) if like.dtype == torch.uint8 else x_CHW.to(like.dtype)
    return Image.fromarray(x_CHW.round().clamp(0, 255).byte().permute(1, 2, 0).numpy())


def mean_picture(pictures: Sequence[Any], height: int, width: int) -> Tensor:
    """The mean (C, H, W) of pictures that are resized to one size, with one of them in memory at a time."""
    total_CHW = torch.zeros(())
    for picture in pictures:
        x_CHW = channels_first(picture)
        if x_CHW.shape[1:] != (height, width):
            x_CHW = interpolate(x_CHW[None], size=(height, width), mode="bilinear", antialias=True)[0]
        total_CHW = total_CHW + x_CHW
    return total_CHW / len(pictures)


def shrink(item: Any) -> Any:
    """An input whose pictures are small enough to hold many in memory; others as they are."""
    if isinstance(item, tuple):
        return tuple(shrink(picture) for picture in item)
    if isinstance(item, Image.Image):
        item = item.copy()
        item.thumbnail((LARGEST_BASELINE_PX, LARGEST_BASELINE_PX))
    return item


def count_numbers(item: Any) -> int:
    """How many numbers an input is: what it takes in memory."""
    if isinstance(item, Image.Image):
        return 3 * item.width * item.height
    if isinstance(item, tuple | list):
        return sum(map(count_numbers, item))
    return item.numel() if isinstance(item, Tensor) else 1
