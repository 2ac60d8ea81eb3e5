"""Picture of one side of an explanation: what the encoder gets, and what hiding each region takes off the cosine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from bind.explain.explanation import ExplainedSide
from bind.explain.grids import channels_first
from bind.explain.occlusion import OcclusionMap
from bind.report.media import spectrogram
from bind.report.style import DEPTH, INK, RIGHT, SPECTROGRAM, WRONG, figure, line_style
from bind.types import Waveform

EFFECTS = "BrBG"
"""Colours of effects: green brings the two together, brown keeps them apart."""
MAX_FRAMES = 8
MAX_TITLE = 70
MAX_NAMES, NAMES_OF_LINE = 12, 6
"""Of the channels of a panel."""
MAX_LETTERS = 60
"""Below a map, of the names of its times."""


def draw_side(png: Path, side: ExplainedSide, regions: OcclusionMap | None, transform: Any) -> None:
    """Draw the input of a side above, or beside, its occlusion map; of one recording both have one axis of seconds.

    Args:
        transform: of the side's modality; it knows rates, channels and units.
    """
    title = side.title if len(side.title) <= MAX_TITLE else "…" + side.title[1 - MAX_TITLE :]
    item = side.item[0] if isinstance(side.item, list) else side.item
    if isinstance(item, str) and regions is not None:
        with figure(png, 8, 1.2 + 0.28 * len(regions.column_names)) as drawing:
            _draw_bars(drawing.subplots(), regions)
            drawing.suptitle(f"{side.modality}: words of “{title}”")
        return
    is_picture = isinstance(item, Image.Image) or (isinstance(item, Tensor) and item.ndim == 3)
    times_K = regions.effects_of_times_K if regions is not None else None
    units = _units_of(item, transform)
    heights = [3.0] if len(units) < 2 else [2.0] * len(units)
    heights += [1.2, 3.0] if times_K is not None else [3.0]
    with figure(png, 8, 4.2 if is_picture else 0.9 * sum(heights)) as drawing:
        drawing.suptitle(f"{side.modality}: {title}" + (" (first clip above)" if isinstance(side.item, list) else ""))
        if is_picture:
            _draw_picture(drawing, item, regions)
            return
        *above, below = drawing.subplots(len(heights), 1, height_ratios=heights)
        seconds = _span(item, transform, side.taken.starts_seconds[0] if side.taken else 0.0)
        span = None if isinstance(side.item, list) or times_K is None else seconds
        if regions is not None and times_K is not None:
            _draw_times(above.pop(), times_K, regions.scale, span)
        if units:
            for axes, unit in zip(above, units, strict=True):
                _draw_traces(axes, item, transform, unit, seconds, is_last=axes is above[-1])
        else:
            _draw_input(above[0], item, transform, seconds)
        _draw_heat(drawing, below, regions, span)


def _units_of(item: Any, transform: Any) -> list[str]:
    """The units of a sensor's channels, each once: what can't be on one axis; none of anything else."""
    if not (isinstance(item, Tensor) and item.ndim == 2):
        return []
    return list(dict.fromkeys(getattr(transform, "units", None) or [""] * len(item)))


def _span(item: Any, transform: Any, start_seconds: float) -> tuple[float, float]:
    """From when to when a sound or a trace is; of anything else it says nothing."""
    rate_hz = getattr(transform, "sample_rate_hz", None)
    num_frames = item.shape[-1] if isinstance(item, Tensor) and item.ndim < 3 else 0
    return start_seconds, start_seconds + num_frames / (rate_hz or 1)


def _draw_picture(drawing: Figure, item: Any, regions: OcclusionMap | None) -> None:
    left, right = drawing.subplots(1, 2)
    pixels_HWC = _pixels(item)
    for axes in (left, right):
        axes.imshow(pixels_HWC, cmap=DEPTH)
        axes.set_axis_off()
    left.set_title("what the encoder gets")
    if regions is not None:
        height, width = pixels_HWC.shape[:2]
        heat = right.imshow(
            regions.effects_RK, cmap=EFFECTS, vmin=-regions.scale, vmax=regions.scale, alpha=0.7,
            extent=(0, width, height, 0),
        )  # fmt: skip
        drawing.colorbar(heat, ax=right, label="cosine lost without it")
        right.set_title("what each patch adds")


def _draw_traces(
    axes: Axes, item: Tensor, transform: Any, unit: str, seconds: tuple[float, float], *, is_last: bool
) -> None:
    """The channels of one unit."""
    names = getattr(transform, "channels", None) or [f"channel {c + 1}" for c in range(len(item))]
    units = getattr(transform, "units", None) or [""] * len(item)
    seconds_T = np.linspace(*seconds, item.shape[1], endpoint=False)
    rows = [row for row, other in enumerate(units) if other == unit]
    for place, row in enumerate(rows):
        axes.plot(seconds_T, item[row].numpy(), label=names[row], **{**line_style(place), "linewidth": 1.0})
    axes.grid(visible=False)
    axes.set(xlim=seconds, ylabel=unit)
    axes.tick_params(labelbottom=is_last)
    if is_last:
        axes.set_xlabel("seconds")
    if len(rows) <= MAX_NAMES:
        axes.legend(loc="lower right", bbox_to_anchor=(1, 0.99), ncols=min(len(rows), NAMES_OF_LINE), borderpad=0)


def _draw_input(axes: Axes, item: Any, transform: Any, seconds: tuple[float, float]) -> None:
    axes.grid(visible=False)
    rate_hz = getattr(transform, "sample_rate_hz", None)
    if isinstance(item, Tensor) and item.ndim == 1 and rate_hz:
        decibels, _, highest_hz = spectrogram(Waveform(item.numpy(), int(rate_hz)))
        extent = (*seconds, 0, highest_hz)
        axes.imshow(decibels, cmap=SPECTROGRAM, aspect="auto", origin="lower", extent=extent, vmin=-80, vmax=0)
        axes.set(xlabel="seconds", ylabel="Hz")
    elif isinstance(item, tuple) or (isinstance(item, Tensor) and item.ndim == 4):
        step = -(-len(item) // MAX_FRAMES)
        axes.imshow(np.concatenate([_pixels(frame) for frame in item[::step]], axis=1))
        axes.set_axis_off()
    else:
        axes.text(0, 0.5, "no drawing of such an input")
        axes.set_axis_off()


def _draw_heat(drawing: Figure, axes: Axes, regions: OcclusionMap | None, seconds: tuple[float, float] | None) -> None:
    """The map; its columns are equal stretches of `seconds`, or have names."""
    if regions is None:
        axes.text(0, 0.5, "no map: this input has no regions that can be hidden")
        axes.set_axis_off()
        return
    if len(regions.row_names) == 1:
        _draw_bars(axes, regions)
        return
    axes.grid(visible=False)
    # A spectrogram and its bands begin below; channels stand in their order.
    is_sound = regions.row_names[0].endswith("Hz")
    num_rows, num_columns = regions.effects_RK.shape
    ends = (-0.5, num_rows - 0.5) if is_sound else (num_rows - 0.5, -0.5)
    heat = axes.imshow(
        regions.effects_RK, cmap=EFFECTS, vmin=-regions.scale, vmax=regions.scale, aspect="auto",
        interpolation="nearest", origin="lower" if is_sound else "upper",
        extent=(*(seconds or (-0.5, num_columns - 0.5)), *ends),
    )  # fmt: skip
    axes.set_yticks(range(num_rows), regions.row_names)
    if seconds is None:
        step = -(-num_columns // max(1, min(5, MAX_LETTERS // max(map(len, regions.column_names)))))
        columns = range(0, num_columns, step)
        axes.set_xticks(columns, [regions.column_names[k] for k in columns])
    else:
        axes.set_xlabel("seconds")
    drawing.colorbar(heat, ax=axes, label="cosine lost\nwithout it")


def _draw_times(axes: Axes, times_K: np.ndarray, scale: float, seconds: tuple[float, float] | None) -> None:
    first, last = seconds or (-0.5, len(times_K) - 0.5)
    wide = (last - first) / len(times_K)
    middles = first + wide * (np.arange(len(times_K)) + 0.5)
    axes.bar(middles, times_K, width=0.8 * wide, color=[RIGHT if effect > 0 else WRONG for effect in times_K])
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xlim(first, last)
    low, high = axes.get_ylim()
    axes.set_ylim(low, max(high, scale))
    axes.tick_params(labelbottom=False)
    axes.set_ylabel("without\nthe time")


def _draw_bars(axes: Axes, regions: OcclusionMap) -> None:
    effects = regions.effects_RK[0]
    places = range(len(effects))
    axes.barh(places, effects, color=[RIGHT if effect > 0 else WRONG for effect in effects])
    axes.set_yticks(places, regions.column_names)
    axes.invert_yaxis()
    low, high = axes.get_xlim()
    axes.set_xlim(low, max(high, regions.scale))
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_xlabel("cosine lost without it")


def _pixels(picture: Any) -> np.ndarray:
    """A picture (H, W, 3) of bytes, or a map (H, W) of any numbers."""
    x_CHW = channels_first(picture)
    if len(x_CHW) == 1:
        return x_CHW[0].numpy()
    if not isinstance(picture, Image.Image) and picture.dtype != torch.uint8:
        low, high = x_CHW.amin(), x_CHW.amax()
        x_CHW = (x_CHW - low) / (high - low).clamp_min(1e-9) * 255
    return x_CHW[:3].permute(1, 2, 0).byte().numpy()
