"""Transfer: how much of the quality of trained pairs reaches the pairs that were never trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bind.metrics.bootstrap import interval


def transfer(pairs: Mapping[str, Mapping[str, Any]], draws: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The mean quality of trained and of emergent pairs, and the second as a share of the first.

    The quality of an ordered pair is (R@1 - chance) / (ceiling - chance): 0 at chance, 1 at the best that is possible.
    The ceiling is the exact one where it is known for every pair, else 1 for all of them, so that pairs are measured
    alike. Pairs whose ceiling is their chance, which share nothing, are left out and counted.

    Args:
        pairs: entries of `metrics.json` with `R@1`, `chance_R@1`, `kind` (`trained` or `emergent`, others are left
            out), the number of `clusters` and, where known, `ceiling_R@1`.
        draws: R@1 (B,) of each pair in the same B resamples.

    Returns:
        `measure`, `trained`, `emergent` (None without such pairs), `emergent_of_trained` with its 95 % interval (None
        where there is no ratio: no pair of a kind, or trained ones no better than chance), and the numbers of pairs;
        with a ratio `clusters`, the least of any pair, and what is `resampled` there.
    """
    counted = {name: entry for name, entry in pairs.items() if entry["kind"] in ("trained", "emergent")}
    exact = all("ceiling_R@1" in entry for entry in counted.values())
    chance = {name: entry["chance_R@1"] for name, entry in counted.items()}
    room = {name: (entry["ceiling_R@1"] if exact else 1.0) - chance[name] for name, entry in counted.items()}
    open_pairs = [name for name in counted if room[name] > 0]
    names = {kind: [n for n in open_pairs if counted[n]["kind"] == kind] for kind in ("trained", "emergent")}
    means: dict[str, float | None] = {}
    means_B: dict[str, np.ndarray] = {}
    for kind, members in names.items():
        means[kind] = float(np.mean([(counted[n]["R@1"] - chance[n]) / room[n] for n in members])) if members else None
        if members:
            means_B[kind] = np.mean([(draws[n] - chance[n]) / room[n] for n in members], axis=0)
    trained, emergent = means["trained"], means["emergent"]
    ratio = bounds = fewest = None
    if trained is not None and emergent is not None and trained > 1e-6:
        ratio = emergent / trained
        # A resample in which trained pairs are at chance has no ratio, also where rounding leaves a trace of one.
        usable = means_B["trained"] > 1e-6
        fewest = min(counted.values(), key=lambda entry: entry["clusters"])
        bounds = list(interval(means_B["emergent"][usable] / means_B["trained"][usable], fewest["clusters"]))
    return {
        "measure": "share of the ceiling at R@1" if exact and counted else "R@1 above chance",
        "trained": trained,
        "emergent": emergent,
        "emergent_of_trained": ratio,
        "ci95_emergent_of_trained": bounds,
        "trained_pairs": len(names["trained"]),
        "emergent_pairs": len(names["emergent"]),
        "pairs_that_share_nothing": len(counted) - len(open_pairs),
        **({name: fewest[name] for name in ("clusters", "resampled") if name in fewest} if fewest else {}),
    }
