"""Transfer and distances between modalities, and between fused pairs, as tables and as heat maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bind.metrics.bootstrap import MIN_CLUSTERS, why_undecided
from bind.report.cells import Cells
from bind.report.style import ACCENT, HEAT, INK, figure

GAINS = "PuOr"


def heterogeneity_cells(study: Mapping[str, Any]) -> Iterator[Cells]:
    """The tables of `heterogeneity.json`: transfer and distances of modalities, then what fusing pairs gives."""
    what = "trunk and head" if study["head"] else "trunk"
    yield transfer_cells(study["modalities"], study, f"Transfer between modalities, {study['split']} split", what, 2)
    yield distance_cells(study["modalities"], "Distance between modalities", 2)
    fused = study["fused"]
    if fused["pairs"]:
        yield fused_cells(study)
    if not fused["skipped"]:
        title = f"Transfer between fusions, {study['split']} split"
        yield transfer_cells(fused, study, title, "scorers, in the better of both orders,", 3)
        yield distance_cells(fused, "Distance between fusions", 3)


def titles(figures: Mapping[str, Any]) -> list[str]:
    """What tables and pictures call the modalities, or the fused pairs, of `figures`: `audio ⊕ imu`."""
    fused = {name: " ⊕ ".join(pair["inputs"]) for name, pair in figures.get("pairs", {}).items()}
    return [fused.get(name, name) for name in figures["names"]]


def transfer_cells(figures: Mapping[str, Any], study: Mapping[str, Any], title: str, what: str, digits: int) -> Cells:
    """A row per source, a column per task."""
    names = titles(figures)
    fresh, transfer = figures["fresh_bits"], figures["transfer"]
    start = ("nothing", *(_spread(*each, digits) for each in zip(fresh["mean"], fresh["std"], strict=True)))
    rows = [
        (name, *(f"{mean:+.{digits}f} ± {std:.{digits}f}" for mean, std in zip(means, stds, strict=True)))
        for name, means, stds in zip(names, transfer["mean"], transfer["std"], strict=True)
    ]
    return Cells(
        title=title,
        caption=f"usable information about the task's target in bits per sample after {study['steps']} steps; then "
        f"what a start from another's {what} gains over it; mean ± standard deviation over {len(study['seeds'])} seeds",
        headers=("start from ↓ task →", *names),
        sections={"bits": [start], "gain in bits": rows},
    )


def distance_cells(figures: Mapping[str, Any], title: str, digits: int) -> Cells:
    """A row per unordered pair, the nearest first."""
    names, clusters = titles(figures), figures["clusters"]
    pairs = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
    pairs.sort(key=lambda pair: figures["separation"][pair[0]][pair[1]])
    lost = figures["shortfall"]["mean"]
    rows: list[tuple[str, ...]] = [
        (
            f"{names[i]} – {names[j]}",
            _spread(figures["distance"][i][j], figures["distance_std"][i][j], digits),
            f"{figures['unrelated_distance'][i][j]:.{digits}f}",
            f"{lost[i][j]:+.{digits}f}",
            f"{lost[j][i]:+.{digits}f}",
            "one" if clusters[i] == clusters[j] else "two",
        )
        for i, j in pairs
    ]
    return Cells(
        title=title,
        caption="a – b: bits lost by starting b's task from a in place of b's own (→) and the other way round (←), the "
        "positive parts added; ± standard deviation over seeds; unrelated: the distance if a start from the "
        "other gained nothing; two are apart beyond half of that and beyond the spread; clusters: average linkage",
        headers=("a – b", "distance", "unrelated", "lost →", "lost ←", "clusters"),
        sections={"": rows},
    )


def fused_cells(study: Mapping[str, Any]) -> Cells:
    """A row per pair of inputs."""
    rows: list[tuple[str, ...]] = []
    for pair in study["fused"]["pairs"].values():
        low, high = pair["ci95_gain"]
        (a, a_bits), (b, b_bits) = pair["alone"].items()
        rows.append(
            (
                f"{a} ⊕ {b} → {pair['target']}",
                f"{a_bits:.2f}",
                f"{b_bits:.2f}",
                f"{pair['plain_sum']:.3f}",
                f"{pair['learned']:.3f}",
                f"{pair['gain']:+.3f} ± {pair['gain_std']:.3f}",
                f"{low:+.3f} to {high:+.3f}",
                "yes" if pair["deserves_a_head"] else "?" if why_undecided(pair) else "no",
            )
        )
    return Cells(
        title=f"Learned fusion of frozen embeddings, {study['split']} split",
        caption="usable information in bits per sample, of samples that have both inputs; gain of attention fusion "
        f"over the plain sum, ± standard deviation over {len(study['seeds'])} seeds; 95 % CI: bootstrap over groups; "
        "a head is deserved where the gain is more than its spread and the interval above 0; ?: "
        f"under {MIN_CLUSTERS} groups, too few to conclude",
        headers=("fused → target", "first\nalone", "second\nalone", "plain\nsum", "learned", "gain", "95 % CI", "head"),
        sections={"": rows},
    )


def plot_heterogeneity(study: Mapping[str, Any], png: Path) -> Path:
    """Transfer and distance as heat maps, clusters side by side and outlined; of fused pairs too where there are."""
    rows = [("modalities", study["modalities"])]
    rows += [] if study["fused"]["skipped"] else [("fusions", study["fused"])]
    size = max(len(figures["names"]) for _, figures in rows)
    with figure(png, 4.4 + 2.2 * size, len(rows) * (1.5 + 0.85 * size)) as drawing:
        all_axes = drawing.subplots(len(rows), 2, squeeze=False)
        for (left, right), (what, figures) in zip(all_axes, rows, strict=True):
            order = figures["order"]
            names = [titles(figures)[index] for index in order]
            _draw_transfer(drawing, left, figures["transfer"], order, names)
            left.set_title(f"Gain of a start, {what} (bits)")
            _draw_distance(drawing, right, figures, order, names)
            right.set_title(f"Distance, {what} (bits)")
    return png


def _draw_transfer(
    drawing: Figure, ax: Axes, transfer: Mapping[str, Any], order: Sequence[int], names: Sequence[str]
) -> None:
    mean, std = (np.array(transfer[kind])[np.ix_(order, order)] for kind in ("mean", "std"))
    reach = max(float(np.abs(mean).max()), 1e-3)
    _draw(drawing, ax, mean, std, GAINS, TwoSlopeNorm(0.0, -reach, reach), "+")
    ax.set_xticks(range(len(names)), names)
    ax.set_yticks(range(len(names)), names)
    ax.set_xlabel("task")
    ax.set_ylabel("start from")


def _draw_distance(
    drawing: Figure, ax: Axes, figures: Mapping[str, Any], order: Sequence[int], names: Sequence[str]
) -> None:
    distance, std = (np.array(figures[name])[np.ix_(order, order)] for name in ("distance", "distance_std"))
    _draw(drawing, ax, distance, std, HEAT, Normalize(0, max(float(distance.max()), 1e-3)), "")
    clusters = [figures["clusters"][index] for index in order]
    start = 0
    for stop in range(1, len(clusters) + 1):
        if stop == len(clusters) or clusters[stop] != clusters[start]:
            corner, side = (start - 0.47, start - 0.47), stop - start - 0.06
            ax.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=ACCENT, linewidth=2.2))
            start = stop
    ax.set_xticks(range(len(names)), names)
    ax.set_yticks(range(len(names)), [""] * len(names))
    ax.set_xlabel("outlined: one cluster")


def _draw(drawing: Figure, ax: Axes, mean: np.ndarray, std: np.ndarray, colour_map: str, scale: Any, sign: str) -> None:
    digits = 2 if np.abs(mean).max() >= 0.1 else 3
    colours = matplotlib.colormaps[colour_map]
    image = ax.imshow(mean, cmap=colours, norm=scale, aspect="auto")
    for (y, x), value in np.ndenumerate(mean):
        ink = "white" if np.dot(colours(scale(value))[:3], (0.299, 0.587, 0.114)) < 0.5 else INK
        ax.text(x, y - 0.12, f"{value:{sign}.{digits}f}", ha="center", va="center", color=ink, fontsize=12)
        ax.text(x, y + 0.22, f"± {std[y, x]:.{digits}f}", ha="center", va="center", color=ink, fontsize=8)
    ax.grid(visible=False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    drawing.colorbar(image, ax=ax, fraction=0.05, pad=0.02).outline.set_visible(False)


def _spread(mean: float, std: float, digits: int) -> str:
    return f"{mean:.{digits}f} ± {std:.{digits}f}"
