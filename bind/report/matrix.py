"""The heat map of retrieval: how well each modality finds each other one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.patches import Patch, Rectangle

from bind.evaluation.fused import NO_FUSION, FusedModalities, modality_title
from bind.report.retrieval_table import summary_note
from bind.report.style import ACCENT, HEAT, INK, figure
from bind.types import Modality

_MAX_LEVEL_TITLE = 13
"""Characters that fit below a column; longer titles are slanted."""


def plot_matrix(metrics: Mapping[str, Any], png: Path, fused: FusedModalities = NO_FUSION) -> Path:
    """Draw `metrics["retrieval"]`, (query, pool) → figures, trained pairs outlined, into `png`; returns `png`.

    Colour is the share of the expected best where that is known for every pair, else R@1 for all of them, so that one
    colour never means two things; the title says which. Each cell also states R@1, the expected best where it is known,
    and chance; below stands how much of the trained quality reaches the emergent pairs.

    Raises:
        ValueError: no pair.
    """
    entries: Mapping[tuple[Modality, Modality], Mapping[str, Any]] = metrics["retrieval"]
    if not entries:
        raise ValueError("metrics['retrieval'] is empty: there is no pair to draw")
    rows, columns = list(dict.fromkeys(a for a, _ in entries)), list(dict.fromkeys(b for _, b in entries))
    columns.sort(key=lambda m: rows.index(m) if m in rows else len(rows))
    shares = {pair: entry.get("share_of_ceiling") for pair, entry in entries.items()}
    by_share = all(share is not None for share in shares.values())

    values = np.full((len(rows), len(columns)), np.nan)
    for (a, b), entry in entries.items():
        values[rows.index(a), columns.index(b)] = shares[a, b] if by_share else entry["R@1"]
    scale, colours = Normalize(0, 1, clip=True), matplotlib.colormaps[HEAT].with_extremes(bad="#f4f4f4")
    titles = [modality_title(m, fused) for m in columns]
    longest = max(map(len, titles))
    slanted = longest > _MAX_LEVEL_TITLE
    width, height = 2.6 + 1.25 * len(columns), 1.9 + 0.85 * len(rows) + (0.04 * longest if slanted else 0)
    with figure(png, width, height) as drawing:
        ax = drawing.subplots()
        image = ax.imshow(values, cmap=colours, norm=scale, aspect="auto")
        for (a, b), entry in entries.items():
            y, x = rows.index(a), columns.index(b)
            ink = "white" if np.dot(colours(scale(values[y, x]))[:3], (0.299, 0.587, 0.114)) < 0.55 else INK
            ax.text(x, y - 0.18, f"{values[y, x]:.2f}", ha="center", va="center", color=ink, fontsize=13)
            ax.text(x, y + 0.22, _small_print(entry, by_share), ha="center", va="center", color=ink, fontsize=7)
            if entry["trained"]:
                # Drawn inside the cell: outlines of neighbours would cover each other on the border.
                outline = Rectangle((x - 0.46, y - 0.45), 0.92, 0.90, fill=False, edgecolor=ACCENT, linewidth=2.2)
                ax.add_patch(outline)
        ax.set_xticks(range(len(columns)), titles)
        if slanted:
            for label in ax.get_xticklabels():
                label.set(rotation=30, horizontalalignment="right", rotation_mode="anchor")
        ax.set_yticks(range(len(rows)), [modality_title(m, fused) for m in rows])
        ax.set_xlabel("pool")
        ax.set_ylabel("query")
        ax.grid(visible=False)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        drawing.supxlabel(fill(summary_note(metrics), 18 * len(columns) + 20), fontsize=9)
        measure = "share of the best R@1" if by_share else "R@1"
        ax.set_title(f"{measure[0].upper()}{measure[1:]}, {metrics.get('split', 'unnamed')} split", pad=26)
        ax.legend(
            handles=[Patch(facecolor="none", edgecolor=ACCENT, linewidth=2.2, label="trained pair")],
            loc="lower left",
            bbox_to_anchor=(-0.01, 1.0),
            borderpad=0.2,
        )
        drawing.colorbar(image, ax=ax, label=measure, fraction=0.05, pad=0.02).outline.set_visible(False)
    return png


def _small_print(entry: Mapping[str, Any], by_share: bool) -> str:
    best, share = entry.get("ceiling_R@1"), entry.get("share_of_ceiling")
    lines = [f"R@1 {entry['R@1']:.2f} of {best:.2f}"] if by_share else []
    if not by_share and share is not None:
        lines.append(f"{share:.2f} of the best")
    return "\n".join([*lines, f"chance {entry['chance_R@1']:.3f}"])
