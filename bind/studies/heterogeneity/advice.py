"""What the figures of `heterogeneity.json` advise, in sentences with the override to try."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bind.metrics.bootstrap import why_undecided
from bind.studies.heterogeneity.show import titles

BEYOND_WEIGHTS = (
    "attention, the fusion that was measured, only weighs its inputs: where the target depends on both together (that "
    "they agree, say), docs/fusion.md shows which heads can tell, and when a learned head pays"
)
"""Stands behind the verdicts on pairs: a gain of nothing does not mean that no head would gain."""


def write_advice(study: Mapping[str, Any]) -> list[str]:
    """Which encoders may share a trunk, which modalities say nothing yet, and which pairs deserve a fusion head."""
    of_modalities = study["modalities"]
    lines = [*warn_of_unlearned(of_modalities, study["steps"]), *advise_sharing(of_modalities)]
    if pairs := study["fused"]["pairs"].values():
        lines += [*map(advise_fusion_head, pairs), BEYOND_WEIGHTS]
    if study["fused"]["skipped"]:
        lines.append(f"fusions are not compared with each other: {study['fused']['skipped']}")
    else:
        lines += advise_fusion_reuse(study["fused"])
    return lines


def warn_of_unlearned(figures: Mapping[str, Any], steps: int) -> list[str]:
    """A warning for each modality that gains nothing even from its own start."""
    return [
        f"{name}: a start from its own encoder gains nothing in {steps} steps ({gain:+.2f} ± {spread:.2f} bits), so "
        "its distances say little: train the run for longer, or try other steps="
        for name, gain, spread in _own_gains(figures)
        if gain <= spread
    ]


def advise_sharing(figures: Mapping[str, Any]) -> list[str]:
    """A sentence for each cluster: those alike may share a trunk, unless the spread hides what sets them apart."""
    lines, names = [], figures["names"]
    learned = [gain > spread for _, gain, spread in _own_gains(figures)]
    for members in _clusters(figures):
        first, *others = members
        if not others:
            apart = [(figures["separation"][first][index], index) for index in range(len(names)) if index != first]
            nearest = min(apart)[1]
            distance = _distance(figures, first, nearest)
            lines.append(
                f"{names[first]} keeps an encoder of its own: {names[nearest]}, the nearest, is {distance} away"
            )
        elif all(map(learned.__getitem__, members)) and not _is_hidden(figures, members):
            overrides = " ".join(f"encoder.{names[other]}.share={names[first]}" for other in others)
            far = max(itertools.combinations(members, 2), key=lambda pair: figures["separation"][pair[0]][pair[1]])
            lines.append(
                f"{join_names([names[m] for m in members])} may share a trunk, "
                f"at most {_distance(figures, *far)} apart: "
                f"{overrides}"
            )
        else:
            far = max(itertools.combinations(members, 2), key=lambda pair: figures["distance_std"][pair[0]][pair[1]])
            lines.append(
                f"{join_names([names[m] for m in members])} can't be told apart ({_distance(figures, *far)}), "
                "which is no reason to share: more seeds= or longer training would tell"
            )
    return lines


def advise_fusion_reuse(figures: Mapping[str, Any]) -> list[str]:
    """A sentence on pairs whose fusions can stand in for each other."""
    if not any(gain > spread for _, gain, spread in _own_gains(figures)):
        return ["fusions can't be compared: a start from its own gains none of them more than its spread over seeds"]
    lines = []
    for members in _clusters(figures):
        names = [titles(figures)[member] for member in members]
        if len(names) == 1:
            lines.append(f"{names[0]} interacts in a way of its own")
        elif _is_hidden(figures, members):
            lines.append(f"how {join_names(names)} interact can't be told apart at this spread over seeds")
        else:
            lines.append(f"{join_names(names)} interact alike: a fusion learned for one serves the others")
    return lines


def advise_fusion_head(pair: Mapping[str, Any]) -> str:
    """Whether a learned fusion of a pair is worth it."""
    low, high = pair["ci95_gain"]
    inputs = ",".join(pair["inputs"])
    gain = f"{pair['gain']:+.3f} ± {pair['gain_std']:.3f} bits over the plain sum (95 % CI {low:+.3f} to {high:+.3f})"
    best, alone = max(pair["alone"].items(), key=lambda item: item[1])
    if pair["deserves_a_head"]:
        return f"{join_names(pair['inputs'])} deserve a fusion head, {gain}: fusion=attention fusion.inputs=[{inputs}]"
    if reason := why_undecided(pair):
        return f"whether {join_names(pair['inputs'])} deserve a fusion head can't be said ({reason}), {gain}"
    if alone > max(pair["plain_sum"], pair["learned"]):
        return f"{join_names(pair['inputs'])} need no fusion: {best} alone tells more ({alone:.2f} bits), {gain}"
    return f"{join_names(pair['inputs'])} need no fusion head, {gain}: fusion=early fusion.inputs=[{inputs}]"


def join_names(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _own_gains(figures: Mapping[str, Any]) -> Iterator[tuple[str, float, float]]:
    """Of each name, what a start from its own gains, and the spread of it over seeds."""
    for index, name in enumerate(figures["names"]):
        yield name, *(figures["transfer"][kind][index][index] for kind in ("mean", "std"))


def _clusters(figures: Mapping[str, Any]) -> list[list[int]]:
    of = figures["clusters"]
    return [[index for index, cluster in enumerate(of) if cluster == number] for number in range(max(of) + 1)]


def _is_hidden(figures: Mapping[str, Any], members: Sequence[int]) -> bool:
    """Whether any two of a cluster are near only because their distance spreads by more than half of unrelated ones."""
    pairs = itertools.combinations(members, 2)
    return any(figures["distance_std"][i][j] > figures["unrelated_distance"][i][j] / 2 for i, j in pairs)


def _distance(figures: Mapping[str, Any], i: int, j: int) -> str:
    distance, spread, unrelated = (figures[name][i][j] for name in ("distance", "distance_std", "unrelated_distance"))
    return f"{distance:.2f} ± {spread:.2f} bits ({unrelated:.2f} if unrelated)"
