"""The confusion matrix of a zero-shot classification as a heat map: what each class was taken for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import Normalize

from bind.evaluation.fused import NO_FUSION, FusedModalities, modality_title
from bind.report.style import HEAT, INK, figure

MAX_CLASSES = 60
_MAX_CLASSES_WITH_COUNTS = 12
_OTHERS = "all others"


def plot_confusion(
    key: str, entry: Mapping[str, Any], split_name: str, png: Path, fused: FusedModalities = NO_FUSION
) -> Path:
    """Draw an entry of `metrics["zero_shot"]`: rows are true classes, columns what was predicted; returns `png`.

    Colour is the share of the row, so the diagonal is recall. Of more than `MAX_CLASSES` classes those with the lowest
    recall are drawn, and their remaining predictions stand in a last column; classes without queries have no row.
    """
    per_class = entry["per_class"]
    names, shown = confusions(per_class)
    columns = [*names, _OTHERS] if len(names) < len(per_class) and shown[:, -1].any() else names
    counts = shown[:, : len(columns)]
    shares = counts / counts.sum(axis=1, keepdims=True)
    with_counts = len(names) <= _MAX_CLASSES_WITH_COUNTS
    cell, font = (0.62, 9) if with_counts else (0.155, 6.5)
    longest = max(map(len, columns)) * font * 0.0085
    colours, scale = matplotlib.colormaps[HEAT], Normalize(0, 1)
    width, height = max(5.2, 2.4 + longest + cell * len(columns)), max(3.2, 1.5 + longest + cell * len(names))
    with figure(png, width, height) as drawing:
        ax = drawing.subplots()
        image = ax.imshow(shares, cmap=colours, norm=scale, aspect="auto")
        if with_counts:
            for y, x in np.argwhere(counts > 0):
                ink = "white" if np.dot(colours(scale(shares[y, x]))[:3], (0.299, 0.587, 0.114)) < 0.55 else INK
                ax.text(x, y, f"{counts[y, x]}", ha="center", va="center", color=ink, fontsize=font)
        ax.set_xticks(range(len(columns)), columns, rotation=90, fontsize=font)
        ax.set_yticks(range(len(names)), names, fontsize=font)
        ax.set_xlabel("taken for")
        ax.set_ylabel("class")
        ax.grid(visible=False)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        which = "" if len(names) == len(per_class) else f", {len(names)} of {len(per_class)} classes"
        modality = key.removesuffix(f"/{entry['label_set']}")
        title = [modality_title(modality, fused), *([entry["label_set"]] if modality != key else [])]
        ax.set_title(f"{' / '.join(title)}, {split_name} split{which}")
        bar = drawing.colorbar(image, ax=ax, label="share of the class", fraction=0.04, pad=0.02)
        bar.outline.set_visible(False)
    return png


def confusions(per_class: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], np.ndarray]:
    """The K classes to draw and how often each, int64 (K, K + 1), was taken for each of them and for any other."""
    with_queries = [name for name, figures in per_class.items() if figures["support"]]
    worst = sorted(with_queries, key=lambda name: per_class[name]["recall"])[:MAX_CLASSES]
    names = [name for name in with_queries if name in set(worst)]
    place = {name: i for i, name in enumerate(names)}
    counts = np.zeros((len(names), len(names) + 1), dtype=np.int64)
    for row, name in enumerate(names):
        for taken_for, count in per_class[name]["taken_for"].items():
            counts[row, place.get(taken_for, -1)] += count
    return names, counts
