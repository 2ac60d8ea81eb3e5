"""The table of retrieval figures, and what its footnotes say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bind.evaluation.fused import NO_FUSION, FusedModalities, pair_title
from bind.metrics.bootstrap import MIN_CLUSTERS, why_undecided
from bind.report.cells import Cells, describe_split, format_interval, format_score
from bind.report.leakage_table import leakage_note
from bind.report.outcome import WORDS
from bind.types import Modality

SECTIONS = {"trained": "trained", "emergent": "emergent", "anchor": "the anchor's own"}
"""Kind of a figure → its heading; also the order."""
_EXPECTED_BEST = "expected\nbest"
_SIGNS = {" ⊕ ": "⊕: fused", " + ": "+: plain sum of embeddings"}


def retrieval_cells(metrics: Mapping[str, Any], fused: FusedModalities = NO_FUSION) -> Cells:
    """Rows of `metrics["retrieval"]`, (query, pool) → figures: trained pairs, emergent ones, the anchor's own."""
    retrieval: Mapping[tuple[Modality, Modality], Mapping[str, Any]] = metrics["retrieval"]
    entries = retrieval.values()
    with_best = any("ceiling_R@1" in entry for entry in entries)
    with_recall = any(entry.get("recall@10", entry.get("R@10")) != entry.get("R@10") for entry in entries)
    headers: tuple[str, ...] = ("query → pool", "R@1", "95 % CI", "R@5", "R@10")
    headers += ("recall\n@10",) if with_recall else ()
    headers += ("median\nrank", "mAP", "chance")
    headers += (_EXPECTED_BEST, "share of\nbest") if with_best else ()
    sections: dict[str, list[tuple[str, ...]]] = {}
    for kind, section in SECTIONS.items():
        rows = [
            (title_with_label(pair_title(*pair, fused), entry), *_retrieval_figures(entry, with_recall, with_best))
            for pair, entry in retrieval.items()
            if entry["kind"] == kind
        ]
        if rows:
            sections[section] = rows
    notes = ["R@k: share of queries with an item of their group among the first k"]
    if with_recall:
        notes.append("recall@k: share of a query's relevant items, all those of its group, among the first k")
    notes += ["ties count against the query", resampled_note("95 % CI of R@1", entries)]
    if with_best:
        notes.append(
            "expected best: R@1 where all that both sides carry is read; share of best: (R@1 − chance) / "
            "(expected best − chance)"
        )
    titles = [row[0] for rows in sections.values() for row in rows]
    notes += [note for sign, note in _SIGNS.items() if any(sign in title for title in titles)]
    if with_copies := {pool: entry for (_, pool), entry in retrieval.items() if "pool_copies" in entry}:
        notes += [_copies_note(pool, entry) for pool, entry in with_copies.items()]
        notes.append("data.one_per_group=true ranks one item of each group")
    if note := summary_note(metrics):
        notes.append(note)
    if "leakage" in metrics:
        notes.append(leakage_note(metrics["leakage"]))
    return Cells(
        title=f"Retrieval, {describe_split(metrics)}",
        caption="; ".join(notes),
        headers=(*headers, "queries\n/pool"),
        sections=sections,
    )


def _copies_note(pool: Modality, entry: Mapping[str, Any]) -> str:
    """Such as "92 of 96 pictures equal another picture, so the pool has 4"."""
    num_copies, num_items = entry["pool_copies"], entry["pool"]
    word = {**WORDS, "text": "text", "video": "video"}.get(pool)
    what, other = (f"{word}s", f"another {word}") if word else (f"values of {pool}", "another")
    verb = "equals" if num_copies == 1 else "equal"
    return f"{num_copies} of {num_copies + num_items} {what} {verb} {other}, so the pool has {num_items}"


def title_with_label(title: str, entry: Mapping[str, Any]) -> str:
    """A title with what is new and what was trained on, where a modality is known on purpose."""
    return f"{title} ({entry['label']})" if "label" in entry else title


def summary_note(metrics: Mapping[str, Any]) -> str:
    """How much of the trained quality reaches emergent pairs, in a sentence; nothing where there is no such figure."""
    summary = metrics.get("summary") or {}
    if summary.get("emergent_of_trained") is None:
        return ""
    lo, hi = summary["ci95_emergent_of_trained"]
    measure = summary["measure"].replace("the ceiling", "the best")
    pairs = "pair" if summary["emergent_pairs"] == 1 else "pairs"
    reason = why_undecided(summary)
    return (
        f"emergent pairs reach {summary['emergent_of_trained']:.2f} ({lo:.2f}–{hi:.2f}) of trained ones: mean "
        f"{measure} {summary['emergent']:.2f} over {summary['emergent_pairs']} {pairs} against "
        f"{summary['trained']:.2f} over {summary['trained_pairs']}" + (f" ({reason})" if reason else "")
    )


def resampled_note(figure: str, entries: Iterable[Mapping[str, Any]]) -> str:
    """What the intervals are over, such as "bootstrap over 40–115 groups or 12 owners", and whether that is too few."""
    sizes: dict[str, set[int]] = {}
    for entry in entries:
        clusters = [entry["clusters"]] if "clusters" in entry else []
        sizes.setdefault(entry.get("resampled", "queries"), set()).update(clusters)
    over = " or ".join(f"{_range(counts)} {name}".lstrip() for name, counts in sorted(sizes.items()))
    few = any(why_undecided({"clusters": count}) for counts in sizes.values() for count in counts)
    note = f" (under {MIN_CLUSTERS}: too few to conclude, the truth may well lie outside)" if few else ""
    return f"{figure}: bootstrap over {over}{note}"


def _range(counts: set[int]) -> str:
    return "–".join(map(str, sorted({min(counts), max(counts)}))) if counts else ""


def _retrieval_figures(entry: Mapping[str, Any], with_recall: bool, with_best: bool) -> tuple[str, ...]:
    row: tuple[str, ...] = (
        format_score(entry["R@1"]),
        format_interval(entry.get("ci95_R@1")),
        format_score(entry.get("R@5")),
        format_score(entry.get("R@10")),
    )
    if with_recall:
        row += (format_score(entry.get("recall@10")),)
    row += (f"{entry['median_rank']:g}", format_score(entry.get("map")), format_score(entry["chance_R@1"]))
    if with_best:
        row += (format_score(entry.get("ceiling_R@1")), format_score(entry.get("share_of_ceiling"), digits=2))
    return (*row, f"{entry['queries']}/{entry['pool']}")
