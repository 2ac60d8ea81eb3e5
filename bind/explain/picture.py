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
MAX_NAMES = 12
MAX_LETTERS = 60
"""Below a map, of the names of its times."""


def draw_side(png: Path, side: ExplainedSide, regions: OcclusionMap | None, transform: Any) -> None:
    """Draw the input of a side above, or beside, its occlusion map.

    Args:
        transform: of the side's modality; it knows rates and channels.
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
    with figure(png, 8, 4.2 if is_picture else 5 if times_K is None else 6.5) as drawing:
        drawing.suptitle(f"{side.modality}: {title}" + (" (first clip above)" if isinstance(side.item, list) else ""))
        if is_picture:
            _draw_picture(drawing, item, regions)
            return
        if regions is None or times_K is None:
            above, below = drawing.subplots(2, 1)
        else:
            above, between, below = drawing.subplots(3, 1, height_ratios=[3, 1.2, 3])
            _draw_times(between, times_K, regions.scale)
        _draw_input(above, item, transform, side.taken.starts_seconds[0] if side.taken else 0.0)
        _draw_heat(drawing, below, regions)


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


def _draw_input(axes: Axes, item: Any, transform: Any, start_seconds: float) -> None:
    rate = getattr(transform, "sample_rate_hz", None)
    axes.grid(visible=False)
    if isinstance(item, Tensor) and item.ndim == 1 and rate:
        decibels, seconds, highest_hz = spectrogram(Waveform(item.numpy(), int(rate)))
        extent = (start_seconds, start_seconds + seconds, 0, highest_hz)
        axes.imshow(decibels, cmap=SPECTROGRAM, aspect="auto", origin="lower", extent=extent, vmin=-80, vmax=0)
        axes.set(xlabel="seconds", ylabel="Hz")
    elif isinstance(item, Tensor) and item.ndim == 2:
        names = getattr(transform, "channels", None) or [f"channel {c + 1}" for c in range(len(item))]
        seconds_T = start_seconds + np.arange(item.shape[1]) / (rate or 1)
        for number, (name, values_T) in enumerate(zip(names, item.numpy(), strict=True)):
            axes.plot(seconds_T, values_T, label=name, **{**line_style(number), "linewidth": 1.0})
        axes.set(xlabel="seconds", xlim=(seconds_T[0], seconds_T[-1]))
        if len(names) <= MAX_NAMES:
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    elif isinstance(item, tuple) or (isinstance(item, Tensor) and item.ndim == 4):
        step = -(-len(item) // MAX_FRAMES)
        axes.imshow(np.concatenate([_pixels(frame) for frame in item[::step]], axis=1))
        axes.set_axis_off()
    else:
        axes.text(0, 0.5, "no drawing of such an input")
        axes.set_axis_off()


def _draw_heat(drawing: Figure, axes: Axes, regions: OcclusionMap | None) -> None:
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
    heat = axes.imshow(
        regions.effects_RK, cmap=EFFECTS, vmin=-regions.scale, vmax=regions.scale, aspect="auto",
        interpolation="nearest", origin="lower" if is_sound else "upper",
    )  # fmt: skip
    axes.set_yticks(range(len(regions.row_names)), regions.row_names)
    step = -(-len(regions.column_names) // max(1, min(5, MAX_LETTERS // max(map(len, regions.column_names)))))
    columns = range(0, len(regions.column_names), step)
    axes.set_xticks(columns, [regions.column_names[k] for k in columns])
    drawing.colorbar(heat, ax=axes, label="cosine lost\nwithout it")


def _draw_times(axes: Axes, times_K: np.ndarray, scale: float) -> None:
    axes.bar(range(len(times_K)), times_K, color=[RIGHT if effect > 0 else WRONG for effect in times_K])
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xlim(-0.5, len(times_K) - 0.5)
    low, high = axes.get_ylim()
    axes.set_ylim(low, max(high, scale))
    axes.set_xticks([])
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
