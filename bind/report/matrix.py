"""The pair matrix as a heat map: how well each modality finds each other one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.patches import Patch, Rectangle

from bind.report.style import ACCENT, HEAT, INK, figure
from bind.report.tables import pair_of, readable, share_of_ceiling


def plot_matrix(metrics: Mapping[str, Any], png: Path) -> Path:
    """Heat map of `metrics["retrieval"]`: rows are queries, columns pools, trained pairs outlined; returns `png`.

    Colour is the share of the ceiling where that is known for every pair, else R@1 for all of them, so that one colour
    never means two things; the title says which. Each cell also states the other figure where there is one.
    """
    entries = {pair_of(key): entry for key, entry in metrics["retrieval"].items()}
    if not entries:
        raise ValueError("metrics['retrieval'] is empty: there is no pair to draw")
    rows, columns = list(dict.fromkeys(a for a, _ in entries)), list(dict.fromkeys(b for _, b in entries))
    columns.sort(key=lambda m: rows.index(m) if m in rows else len(rows))
    shares = {pair: share_of_ceiling(entry) for pair, entry in entries.items()}
    by_share = all(share is not None for share in shares.values())

    values = np.full((len(rows), len(columns)), np.nan)
    for (a, b), entry in entries.items():
        values[rows.index(a), columns.index(b)] = shares[a, b] if by_share else entry["R@1"]
    scale, colours = Normalize(0, 1, clip=True), matplotlib.colormaps[HEAT].with_extremes(bad="#f4f4f4")
    with figure(png, 2.6 + 1.25 * len(columns), 1.9 + 0.85 * len(rows)) as drawing:
        ax = drawing.subplots()
        image = ax.imshow(values, cmap=colours, norm=scale, aspect="auto")
        for (a, b), entry in entries.items():
            y, x = rows.index(a), columns.index(b)
            ink = "white" if np.dot(colours(scale(values[y, x]))[:3], (0.299, 0.587, 0.114)) < 0.55 else INK
            small = f"R@1 {entry['R@1']:.2f}" if by_share else _share_text(shares[a, b])
            ax.text(x, y - 0.12 * bool(small), f"{values[y, x]:.2f}", ha="center", va="center", color=ink, fontsize=13)
            ax.text(x, y + 0.26, small, ha="center", va="center", color=ink, fontsize=8)
            if entry["trained"]:
                # Drawn inside the cell: outlines of neighbours would cover each other on the border.
                outline = Rectangle((x - 0.46, y - 0.45), 0.92, 0.90, fill=False, edgecolor=ACCENT, linewidth=2.2)
                ax.add_patch(outline)
        ax.set_xticks(range(len(columns)), [readable(m) for m in columns])
        ax.set_yticks(range(len(rows)), [readable(m) for m in rows])
        ax.set_xlabel("pool")
        ax.set_ylabel("query")
        ax.grid(visible=False)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        measure = "share of the ceiling at R@1" if by_share else "R@1"
        ax.set_title(f"{measure[0].upper()}{measure[1:]}, {metrics.get('split', 'unnamed')} split", pad=26)
        ax.legend(
            handles=[Patch(facecolor="none", edgecolor=ACCENT, linewidth=2.2, label="trained pair (others emergent)")],
            loc="lower left",
            bbox_to_anchor=(-0.01, 1.0),
            borderpad=0.2,
        )
        drawing.colorbar(image, ax=ax, label=measure, fraction=0.05, pad=0.02).outline.set_visible(False)
    return png


def _share_text(share: float | None) -> str:
    return "" if share is None else f"{share:.2f} of ceiling"
