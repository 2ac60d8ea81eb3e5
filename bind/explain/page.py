"""Page of an explanation: figures, concepts, both pictures and evidence, in one file that needs no network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from bind.explain.document import STYLES, table, words_list
from bind.explain.explanation import ExplainedSide, Explanation
from bind.explain.known import Neighbour
from bind.explain.occlusion import OcclusionMap
from bind.explain.samples import MEETING, describe_equal
from bind.report.document import SAMPLES_SCRIPTS, write_document
from bind.types import Clip

SCRIPTS = (*SAMPLES_SCRIPTS, Path(__file__).parent / "explanation.js")

KINDS = {
    "trained": "The loss saw pairs of these two modalities.",
    "anchor": "Both modalities are the anchor's own, whose towers were trained together before.",
    "emergent": "The loss never saw a pair of these two modalities: how close they are is emergent.",
}


def write_page(
    path: Path,
    explanation: Explanation,
    pictures: Sequence[Path],
    facts: Sequence[str],
    samples: Mapping[str, Any],
) -> None:
    """Write the page; all text is escaped, and its policy lets nothing run but its own script.

    Args:
        pictures: of both sides, PNG.
        facts: sentences below the title.
        samples: what `page_samples` gave.
    """
    a, b = explanation.sides
    sides = "".join(
        f"<section>{_side(explanation, number, png, samples)}</section>" for number, png in enumerate(pictures)
    )
    nearest = "".join(f"<section>{_nearest(explanation, number)}</section>" for number in range(2))
    parts = [
        f"<h1>Why {escape(a.modality)} and {escape(b.modality)} are close</h1>",
        f'<p class="note">{escape(" · ".join(facts))}</p>',
        f"<p>a: {_name(a)}<br>b: {_name(b)}</p>",
        "".join(f"<p>{escape(sentence)}</p>" for sentence in summarise(explanation)),
        _limits(explanation),
        "<h2>Concepts that both share</h2>",
        table(("concept", "adds to the cosine without means"), _shared_rows(explanation)),
        f'<p class="note">{escape(describe_sum(explanation))}</p>',
        words_list(explanation.words),
        f'<div class="sides">{sides}</div>',
        f'<div class="sides">{nearest}</div>',
        _meeting(explanation),
    ]
    write_document(path, f"{a.title} and {b.title} · bind", parts, styles=STYLES, scripts=SCRIPTS, data=samples)


def summarise(explanation: Explanation) -> list[str]:
    """The figures of an explanation as sentences."""
    a, b = explanation.sides
    return [
        f"Their cosine is {explanation.cosine:.3f}, above {explanation.percentile:.1f} % of "
        f"{explanation.num_random_pairs:,} random pairs of {a.modality} and {b.modality}. For a, b has "
        f"{explanation.rank}.",
        KINDS[explanation.kind],
        *_taken_parts(explanation),
    ]


def describe_sum(explanation: Explanation) -> str:
    """What the parts of the concepts add up to, and why that is not the cosine."""
    shared = explanation.shared
    level = (
        f"These parts add up to {shared.centred_cosine:+.3f}, which is not the cosine of {explanation.cosine:.3f} but "
        "that of both vectors less the mean of their modality: what all of a modality have in common is no reason why "
        "these two are close."
    )
    if shared.is_enough or shared.centred_cosine <= 0:
        return level
    return f"{level} More than half of it ({shared.unexplained:+.3f}) is what the concepts leave out."


def _taken_parts(explanation: Explanation) -> list[str]:
    """Of long recordings, what this is about."""
    return [
        f"Only a part of {name} is compared: {side.taken}. Times are in the clock of its file; of whole recordings "
        "bindspace timeline says what they are from when to when."
        for name, side in zip("ab", explanation.sides, strict=True)
        if side.taken is not None and side.taken.is_cut
    ]


def _name(side: ExplainedSide) -> str:
    key = f" ({side.key})" if side.key not in (None, side.title) else ""
    span = ""
    if isinstance(side.value, Clip) and side.value.start_seconds is not None:
        span = f", {Path(str(side.value.path)).name} from {side.value.start_seconds:.2f} s on"
    return escape(f"{side.modality}, {side.title}{key}{span}")


def _limits(explanation: Explanation) -> str:
    if not explanation.limits:
        return ""
    return '<ul class="limits">' + "".join(f"<li>{escape(limit)}</li>" for limit in explanation.limits) + "</ul>"


def _shared_rows(explanation: Explanation) -> list[tuple[str, str]]:
    shared = explanation.shared
    rows = [(word, f"{value:+.3f}") for word, value in explanation.shared_concepts()]
    return [
        *rows,
        ("(a concept of a with another one of b)", f"{shared.of_different:+.3f}"),
        ("(what the concepts leave out)", f"{shared.unexplained:+.3f}"),
        ("all of it", f"{shared.centred_cosine:+.3f}"),
    ]


def _side(explanation: Explanation, number: int, png: Path, samples: Mapping[str, Any]) -> str:
    side, mixture, name = explanation.sides[number], explanation.mixtures[number], "ab"[number]
    picture = base64.b64encode(png.read_bytes()).decode("ascii")
    concepts = [(word, f"{weight:.3f}") for word, weight in explanation.concepts(number)]
    return (
        f"<h2>{name}: {escape(side.modality)}</h2>"
        + (f'<p class="note" data-sound="{name}">{_NO_PLAYER}</p>' if name in samples["sounds"] else "")
        + f'<img class="map" alt="{escape(side.modality)} and its map; the text below says the same" '
        f'src="data:image/png;base64,{picture}">{_map_note(explanation.maps[number])}'
        + table(("concept", "weight"), concepts)
        + f'<p class="note">Cosine of the vector with this mixture: {mixture.reconstruction_cosine:.2f}</p>'
    )


_NO_PLAYER = "The player is made by a script, and scripts are off."


def _nearest(explanation: Explanation, number: int) -> str:
    modality, name = explanation.sides[number].modality, "ab"[number]
    return (
        f"<h2>Nearest {escape(modality)} to {name}</h2>"
        f'<p class="note">Among {explanation.num_training:,} training samples, with their cosine.</p>'
        + _neighbours(name, explanation.nearest[number], "cosine", modality)
    )


def _map_note(regions: OcclusionMap | None) -> str:
    if regions is None:
        return ""
    time = regions.strongest_time()
    when = "" if time is None else f" Of the times that are hidden whole it is {time[0]} ({time[1]:+.3f})."
    if regions.matters_only_together:
        [(name, effect)] = regions.strongest(1)
        which = (
            f"No region matters alone: without the strongest, {name.rstrip(',.;:')}, the cosine is lower by "
            f"{effect:+.3f}, without all at once by {regions.effect_of_all:+.3f}."
        )
    else:
        strongest = ", ".join(f"{name} ({effect:+.3f})" for name, effect in regions.strongest())
        which = (
            f"Cosine lost without the region, most of all: {strongest}. The single effects add up to "
            f"{regions.sum_of_effects:+.3f}; without all regions at once it is {regions.effect_of_all:+.3f}."
        )
    how = "A region is hidden many times, beside others that are drawn by chance."
    return f'<p class="note">{escape(which)}{escape(when)} {how}</p>'


def _meeting(explanation: Explanation) -> str:
    if not explanation.meeting:
        return ""
    modality = escape(str(explanation.meeting_modality))
    return (
        f"<h2>Where they met: {modality} of training samples near to both</h2>"
        f'<p class="note">Both sides were bound to {modality}, and never to each other. Ordered by the smaller of both '
        "cosines, in standard deviations above the mean of its modality.</p>"
        + _neighbours(MEETING, explanation.meeting, "standard deviations", modality)
    )


def _neighbours(name: str, neighbours: Sequence[Neighbour], score: str, modality: str) -> str:
    """A table, in whose place the page's script shows the samples themselves."""
    rows = []
    for near in neighbours:
        others = f" {describe_equal(near, modality)}" if near.num_equal else ""
        rows.append((near.key, near.caption + others, f"{near.score:.3f}"))
    return f'<div data-samples="{name}">{table(("key", "what it is", score), rows)}</div>'
