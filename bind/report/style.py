"""The look of every figure and page: one palette, readable by the colour-blind, and one way to draw and save.

Colours: Okabe and Ito, Color Universal Design (2008).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bind.files.writing import open_atomically

INK = "#222222"
FAINT = "#8a8a8a"
GRID = "#e2e2e2"
RIGHT = "#009e73"  # bluish green and vermilion stay apart for every kind of colour vision
WRONG = "#d55e00"
ACCENT = "#d55e00"
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f6000")
DASHES = ("-", "--", ":", "-.")
HEAT = "YlGnBu"
DEPTH = "viridis"
SPECTROGRAM = "magma"

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "text.parse_math": False,  # a caption may hold a dollar sign
    "figure.facecolor": "white",
    "figure.constrained_layout.h_pad": 0.10,
    "figure.constrained_layout.w_pad": 0.08,
}


@contextmanager
def figure(
    png: Path, width_inches: float, height_inches: float, *, layout: Literal["constrained"] | None = "constrained"
) -> Iterator[Figure]:
    """A figure in the house style, saved to `png` at 150 dots per inch when the block ends without an error."""
    with matplotlib.rc_context(_STYLE):
        drawing = Figure(figsize=(width_inches, height_inches), layout=layout)
        canvas = FigureCanvasAgg(drawing)
        yield drawing
        png.parent.mkdir(parents=True, exist_ok=True)
        with open_atomically(png) as file:
            canvas.print_figure(file, dpi=150, format="png")


def line_style(index: int) -> dict[str, Any]:
    """Colour and dash of the `index`-th line of a panel; all of the first 28 differ."""
    return {"color": LINES[index % len(LINES)], "linestyle": DASHES[index // len(LINES) % len(DASHES)]}


def coloured(share_HW: np.ndarray, colour_map: str) -> np.ndarray:
    """A picture, uint8 (H, W, 3), of numbers from 0 to 1; NaN is 0."""
    return np.asarray(matplotlib.colormaps[colour_map](np.nan_to_num(share_HW), bytes=True))[..., :3]
