"""The outcome of a run in sentences: how often one modality finds another, beside chance and the best possible."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bind.evaluation.fused import NO_FUSION, FusedModalities, plain_sum
from bind.metrics.bootstrap import why_undecided
from bind.types import Modality

WORDS = {
    "image": "picture",
    "audio": "sound",
    "imu": "motion trace",
    "depth": "depth map",
    "thermal": "thermal picture",
}
"""Modality → a plain word for it, where its name is none."""

MAX_TRAINED = 2
MAX_TRIES = 100
"""Of so many queries or more a share is said in a hundred tries; fewer are counted one by one."""
MAX_CAPTION_LENGTH = 60


def outcome_sentences(metrics: Mapping[str, Any], fused: FusedModalities = NO_FUSION) -> list[str]:
    """A sentence for each of the two trained pairs that find each other best, and for the best emergent pair.

    Where the data have no captions, or texts are all that was trained with, another one says how often the right class
    in words is found: many samples share a text, and then one alone is hard to tell from its likes. Where captions are
    worded otherwise than the prompts of the classes, another one says that. `metrics` are those
    of `evaluate_split`. Of a trained pair the direction from the newer modality to the older one
    counts; the plain sum of a fusion's inputs, and fused modalities in emergent pairs, are left to the tables.

    Examples:
        >>> entry = {"R@1": 0.374, "chance_R@1": 1 / 115, "ceiling_R@1": 0.374, "queries": 2300, "kind": "trained"}
        >>> outcome_sentences({"retrieval": {("audio", "image"): entry}})
        ['A sound finds its picture in 37 of 100 tries, by chance 1; the best possible is 37.']
        >>> entry = {"R@1": 0.375, "chance_R@1": 0.125, "queries": 8, "kind": "emergent"}
        >>> outcome_sentences({"retrieval": {("eeg", "imu"): entry}})
        ['The best pair that was never trained: an eeg finds its motion trace in 3 of 8 tries, by chance 1.']
    """
    retrieval: Mapping[tuple[Modality, Modality], Mapping[str, Any]] = metrics.get("retrieval") or {}
    order = list(dict.fromkeys(query for query, _ in retrieval))
    trained: dict[frozenset[Modality], tuple[Modality, Modality]] = {}
    emergent = []
    for pair, entry in retrieval.items():
        if entry["kind"] == "trained" and not any(m in fused and m == plain_sum(fused[m]) for m in pair):
            other_way = trained.get(frozenset(pair))
            if other_way is None or order.index(pair[0]) > order.index(other_way[0]):
                trained[frozenset(pair)] = pair
        elif entry["kind"] == "emergent" and not any(m in fused for m in pair):
            emergent.append(pair)

    def above_chance(pair: tuple[Modality, Modality]) -> float:
        return float(retrieval[pair]["R@1"] - retrieval[pair]["chance_R@1"])

    best_trained = sorted(trained.values(), key=above_chance, reverse=True)[:MAX_TRAINED]
    sentences = [_outcome(*pair, retrieval[pair], fused) for pair in best_trained]
    if emergent:
        best = max(emergent, key=above_chance)
        sentences.append(f"the best pair that was never trained: {_outcome(*best, retrieval[best], fused)}")
    if not any("text" in pair for pair in retrieval) or (trained and all("text" in pair for pair in trained)):
        sentences += _words_outcome(metrics.get("zero_shot") or {})
    sentences += _wording_outcome((metrics.get("zero_shot") or {}).values())
    if tasks := (metrics.get("anchor") or {}).get("at_chance"):
        entries = [*retrieval.values(), *(metrics.get("zero_shot") or {}).values()]
        own = [entry for entry in entries if entry.get("kind") == "anchor" and "clusters" in entry]
        doubts = [why_undecided(entry) for entry in own]
        doubt = f"; {doubts[0]}" if doubts and all(doubts) else ""
        knows = "seems not to" if doubt else "does not"
        is_text_trained = any("text" in pair and entry["kind"] == "trained" for pair, entry in retrieval.items())
        remedy = "choose another anchor" + ("" if is_text_trained else ", or train with text")
        sentences.append(
            f"the anchor {metrics['anchor']['name']} {knows} know these data, it is at chance itself "
            f"({', '.join(tasks)}{doubt}): untrained words can't work with it; {remedy}",
        )
    return [f"{sentence[0].upper()}{sentence[1:]}." for sentence in sentences]


def _words_outcome(zero_shot: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A sentence about the classification by words, other than the anchor's own, that is furthest above chance."""
    known = {key: entry for key, entry in zero_shot.items() if "top1" in entry and entry.get("kind") != "anchor"}
    if not known:
        return []
    key = max(known, key=lambda each: known[each]["top1"] - known[each]["chance"])
    entry = known[key]
    tries = min(entry["queries"], MAX_TRIES)
    hits, chance = (_number(entry[figure] * tries) for figure in ("top1", "chance"))
    modality = key.partition("/")[0]
    subject = WORDS.get(modality, modality)
    return [
        f"{article(subject)} {subject} finds its class, out of {entry['num_classes']} given in words, in {hits} of "
        f"{tries} tries, by chance {chance}{_doubt(entry, entry.get('ci95_top1'), entry['chance'])}"
    ]


def _wording_outcome(zero_shot: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence where classes are put into words in another way than the captions of the data."""
    for entry in sorted(zero_shot, key=lambda entry: entry.get("kind") == "anchor"):
        if "other_caption" in entry:
            caption = textwrap.shorten(entry["other_caption"], MAX_CAPTION_LENGTH, placeholder=" …")
            return [
                f"zero-shot classification asks for {entry['templates'][0]!r}, which is not how the captions are "
                f"worded ({caption!r}): it may be low for that alone; name prompts of your own (docs/own_data.md, "
                "Classes)"
            ]
    return []


def _doubt(entry: Mapping[str, Any], ci95: Sequence[float] | None, chance: float) -> str:
    """What to say of a figure of too few people or recordings, or whose 95 % interval holds what chance gives."""
    if reason := why_undecided(entry):
        return f" ({reason})"
    return " (no real difference)" if ci95 is not None and ci95[0] <= chance <= ci95[1] else ""


def article(word: str) -> str:
    """`an` before a vowel."""
    return "an" if word[0] in "aeiou" else "a"


def _outcome(query: Modality, pool: Modality, entry: Mapping[str, Any], fused: FusedModalities) -> str:
    tries = min(entry["queries"], MAX_TRIES)
    hits, chance = (_number(entry[figure] * tries) for figure in ("R@1", "chance_R@1"))
    subject = _words(query, fused)
    among = f" ({entry['label']})" if "label" in entry else ""
    outcome = (
        f"{article(subject)} {subject} finds its {_words(pool, fused)}{among} in {hits} of {tries} tries, by chance "
        f"{chance}{_doubt(entry, entry.get('ci95_R@1'), entry['chance_R@1'])}"
    )
    if "ceiling_R@1" not in entry:
        return outcome
    # The ceiling is an expectation: luck may exceed it.
    best = "the best possible" if entry["R@1"] <= entry["ceiling_R@1"] else "the best to be expected"
    return f"{outcome}; {best} is {_number(entry['ceiling_R@1'] * tries)}"


def _words(modality: Modality, fused: FusedModalities) -> str:
    """`sound`, or `sound with its motion trace` for a fusion of both."""
    return " with its ".join(WORDS.get(m, m) for m in fused.get(modality, (modality,)))


def _number(count: float) -> str:
    """A number of tries: whole, but where it is next to none."""
    if count == 0 or count >= 0.5:
        return f"{count:.0f}"
    return f"{count:.1g}" if count >= 0.001 else "less than 0.001"
