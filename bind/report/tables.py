"""Tables of metrics: the same cells for the terminal (rich) and for the page (HTML)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bind.evaluation.fused import NO_FUSION, FusedModalities, pair_title
from bind.evaluation.queries import retrieval_key
from bind.metrics.bootstrap import MIN_CLUSTERS
from bind.report.outcome import outcome_sentences
from bind.terminal import PrintableConsole, printable
from bind.types import Modality

MISSING = "–"
"""The cell of a figure that there is not."""
_EXPECTED_BEST = "expected\nbest"
_LEFT_OUT_FIRST = (
    "mAP", "R@5", "median\nrank", "recall\n@10", "95 % CI", _EXPECTED_BEST, "top-5", "R@10", "queries\n/pool",
)  # fmt: skip
_SIGNS = {" ⊕ ": "⊕: fused", " + ": "+: plain sum of embeddings"}
_MAX_WORST_CLASSES = 3

SECTIONS = {"trained": "trained", "emergent": "emergent", "anchor": "the anchor's own"}


@dataclass(frozen=True)
class Cells:
    """A table as text: `sections` maps a heading (empty for none) to rows; the first column is left-aligned.

    Examples:
        >>> from rich.console import Console
        >>> cells = Cells("Sounds", "all of them", ("name", "seconds"), {"": [("dog", "1.5"), ("rain", "12.0")]})
        >>> print_cells(cells, Console(force_terminal=False))
        Sounds
        <BLANKLINE>
         name seconds
         ────────────
         dog      1.5
         rain    12.0
        <BLANKLINE>
        all of them
        <BLANKLINE>
    """

    title: str
    caption: str
    headers: tuple[str, ...]
    sections: dict[str, list[tuple[str, ...]]]


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
            (_with_label(pair_title(*pair, fused), entry), *_retrieval_figures(entry, with_recall, with_best))
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
    if copies := {pool: entry["pool_copies"] for (_, pool), entry in retrieval.items() if "pool_copies" in entry}:
        counts = ", ".join(f"{count} of {pool}" for pool, count in copies.items())
        notes.append(
            f"equal values are one item of a pool: {counts} equal another; data.one_per_group=true ranks one item of "
            "each group"
        )
    if note := summary_note(metrics):
        notes.append(note)
    if "leakage" in metrics:
        notes.append(leakage_note(metrics["leakage"]))
    return Cells(
        title=f"Retrieval, {metrics.get('split', 'unnamed')} split",
        caption="; ".join(notes),
        headers=(*headers, "queries\n/pool"),
        sections=sections,
    )


def _with_label(title: str, entry: Mapping[str, Any]) -> str:
    """A title with what is new and what was trained on, where a modality is known on purpose."""
    return f"{title} ({entry['label']})" if "label" in entry else title


def summary_note(metrics: Mapping[str, Any]) -> str:
    """How much of the trained quality reaches emergent pairs, in a sentence; nothing where there is no such figure."""
    summary = metrics.get("summary") or {}
    if summary.get("emergent_of_trained") is None:
        return ""
    lo, hi = summary["ci95_emergent_of_trained"]
    measure = summary["measure"].replace("the ceiling", "the best")
    return (
        f"emergent pairs reach {summary['emergent_of_trained']:.2f} ({lo:.2f}–{hi:.2f}) of trained ones: mean "
        f"{measure} {summary['emergent']:.2f} over {summary['emergent_pairs']} pairs against "
        f"{summary['trained']:.2f} over {summary['trained_pairs']}"
    )


def resampled_note(figure: str, entries: Iterable[Mapping[str, Any]]) -> str:
    """What the intervals are over, such as "bootstrap over 40–115 groups or 12 owners", and whether that is too few."""
    sizes: dict[str, set[int]] = {}
    for entry in entries:
        clusters = [entry["clusters"]] if "clusters" in entry else []
        sizes.setdefault(entry.get("resampled", "queries"), set()).update(clusters)
    over = " or ".join(f"{_range(counts)} {name}".lstrip() for name, counts in sorted(sizes.items()))
    few = any(count < MIN_CLUSTERS for counts in sizes.values() for count in counts)
    note = f" (under {MIN_CLUSTERS}: too few, the truth may well lie outside)" if few else ""
    return f"{figure}: bootstrap over {over}{note}"


def _range(counts: set[int]) -> str:
    return "–".join(map(str, sorted({min(counts), max(counts)}))) if counts else ""


def zero_shot_cells(metrics: Mapping[str, Any]) -> Cells:
    """Rows of `metrics["zero_shot"]` (see `metrics.json`) where a sample is of one class."""
    entries = {key: entry for key, entry in metrics["zero_shot"].items() if "top1" in entry}
    with_top5 = any(entry["num_classes"] > 5 and "top5" in entry for entry in entries.values())
    sections: dict[str, list[tuple[str, ...]]] = {}
    for key, entry in sorted(entries.items(), key=lambda item: [*SECTIONS, None].index(item[1].get("kind"))):
        row: tuple[str, ...] = (
            _with_label(key, entry),
            format_score(entry["top1"]),
            format_interval(entry.get("ci95_top1")),
        )
        if with_top5:
            row += (format_score(entry.get("top5")), format_interval(entry.get("ci95_top5")))
        row = (*row, format_score(entry["chance"]), str(entry["num_classes"]), f"{entry['queries']}")
        sections.setdefault(SECTIONS.get(entry.get("kind", ""), ""), []).append(row)
    top5 = ("top-5", "95 % CI") if with_top5 else ()
    return Cells(
        title=f"Zero-shot classification, {metrics.get('split', 'unnamed')} split",
        caption="nearest class by its text prompts; a tie counts as wrong; chance: 1 / classes; "
        + resampled_note("95 % CI", entries.values()),
        headers=("modality / labels", "top-1", "95 % CI", *top5, "chance", "classes", "queries"),
        sections=sections,
    )


def multi_label_cells(metrics: Mapping[str, Any]) -> Cells:
    """Rows of `metrics["zero_shot"]` where a sample may be of several classes."""
    entries = {key: entry for key, entry in metrics["zero_shot"].items() if "map" in entry}
    rows: list[tuple[str, ...]] = [
        (
            key,
            format_score(e["map"]),
            format_interval(e["ci95_map"]),
            format_score(e["chance"]),
            f"{e['num_classes']}",
            f"{e['queries']}",
        )
        for key, e in entries.items()
    ]
    left_out = sum(entry["classes_without_items"] for entry in entries.values())
    return Cells(
        title=f"Zero-shot classification into several classes, {metrics.get('split', 'unnamed')} split",
        caption="mAP: mean over classes of the average precision of all samples ranked by the class's prompts; a tie "
        "counts as wrong; chance: of a random order; "
        + (f"{left_out} classes without samples left out; " if left_out else "")
        + resampled_note("95 % CI", entries.values()),
        headers=("modality / labels", "mAP", "95 % CI", "chance", "classes", "samples"),
        sections={"": rows},
    )


def class_cells(metrics: Mapping[str, Any], num_worst: int | None = None) -> Cells | None:
    """A row for every class of every zero-shot task with samples; None where there are none.

    With `num_worst`, of each task only so many classes, those found least; a class that is always found is never one.
    """
    sections: dict[str, list[tuple[str, ...]]] = {}
    for key, entry in metrics.get("zero_shot", {}).items():
        with_samples = {name: figures for name, figures in entry.get("per_class", {}).items() if figures["support"]}
        names = list(with_samples)
        if num_worst is not None:
            recall = {
                name: figures.get("recall", figures.get("average_precision")) for name, figures in with_samples.items()
            }
            names = sorted((name for name in names if recall[name] < 1), key=recall.__getitem__)[:num_worst]
        if names:
            sections[key] = [_class_row(name, with_samples[name]) for name in names]
    if not sections:
        return None
    which = "Classes" if num_worst is None else f"The worst classes of each (at most {num_worst})"
    cells = Cells(
        title=f"{which}, zero-shot, {metrics.get('split', 'unnamed')} split",
        caption="recall: share of the class that was found; precision: share of what was taken for it that is of it; "
        "taken for: the most frequent wrong class, and how often",
        headers=("class", "recall", "precision", "average\nprecision", "samples", "taken for"),
        sections=sections,
    )
    return _without_empty(cells)


def _class_row(name: str, figures: Mapping[str, Any]) -> tuple[str, ...]:
    wrong = {other: count for other, count in figures.get("taken_for", {}).items() if other != name}
    most = max(wrong, key=wrong.__getitem__, default=None)
    return (
        name,
        *(format_score(figures.get(figure)) for figure in ("recall", "precision", "average_precision")),
        f"{figures['support']}",
        MISSING if most is None else f"{most} ({wrong[most]})",
    )


def leakage_note(leakage: Mapping[str, Any]) -> str:
    """One line about `metrics["leakage"]`: how many samples leak, or that none was found, and what was compared."""
    if leakage["leaked"]:
        how_many = f"{leakage['leaked']} of {leakage['samples']} samples ({leakage['share']:.0%})"
        return f"LEAKAGE: {how_many} share something with what was trained on"
    checked = ", ".join(leakage["checked"]) or "nothing could be compared"
    return f"leakage: none found ({checked})"


def leakage_cells(metrics: Mapping[str, Any], titles: Mapping[str, str]) -> list[Cells]:
    """The kinds of leaks in `metrics["leakage"]`, and the figures without the queries they concern; nothing where none.

    `titles` maps the key of a task to what tables call it.
    """
    leakage: Mapping[str, Any] = metrics.get("leakage") or {"leaked": 0}
    if not leakage["leaked"]:
        return []
    split_name = metrics.get("split", "unnamed")
    rows: list[tuple[str, ...]] = [
        (kind, f"{leaks['samples']}", f"{leaks['share']:.0%}", ", ".join(first["key"] for first in leaks["first"]))
        for kind, leaks in leakage["kinds"].items()
    ]
    kinds = Cells(
        title=f"LEAKAGE, {split_name} split: {leakage['leaked']} of {leakage['samples']} samples were partly seen",
        caption="trained on: " + ", ".join(leakage["trained_on"]),
        headers=("shared with training", "samples", "share", "first keys"),
        sections={"": rows},
    )
    rows = [
        (
            titles.get(task, task),
            format_score(entry["R@1_with_leaked"]),
            format_score(entry.get("R@1")),
            format_interval(entry.get("ci95_R@1")),
            f"{entry['queries']}",
        )
        for task, entry in leakage.get("without_leaked", {}).items()
    ]
    if not rows:
        return [kinds]
    caption = "queries of leaked samples are left out, the pool is the same; top-1 where classes were ranked"
    headers = ("query → pool", "R@1\nwith", "R@1\nwithout", "95 % CI", "queries")
    return [kinds, Cells(f"Without leaked queries, {split_name} split", caption, headers, {"": rows})]


def tables(
    metrics: Mapping[str, Any], fused: FusedModalities = NO_FUSION, num_worst_classes: int | None = None
) -> list[Cells]:
    """The tables that `metrics` of `evaluate_split` have figures for; of the classes all, or the worst of each task."""
    retrieval: Mapping[tuple[Modality, Modality], Any] = metrics.get("retrieval") or {}
    zero_shot = (metrics.get("zero_shot") or {}).values()
    classes = class_cells(metrics, num_worst_classes)
    return [
        *([retrieval_cells(metrics, fused)] if retrieval else []),
        *leakage_cells(metrics, {retrieval_key(*pair): pair_title(*pair, fused) for pair in retrieval}),
        *([zero_shot_cells(metrics)] if any("top1" in entry for entry in zero_shot) else []),
        *([multi_label_cells(metrics)] if any("map" in entry for entry in zero_shot) else []),
        *([classes] if classes else []),
    ]


def print_tables(
    metrics: Mapping[str, Any], console: Console | None = None, *, fused: FusedModalities = NO_FUSION
) -> None:
    """Print the outcome in sentences and every table of `metrics`; of the classes only the worst.

    Args:
        metrics: those of `evaluate_split`, whose retrieval stands under (query, pool).
        fused: fused modality → the modalities that it is made of.
    """
    console = console or PrintableConsole()
    sentences = [printable(sentence) for sentence in outcome_sentences(metrics, fused)]
    if sentences and console.is_terminal:
        console.print(*map(Text, sentences), "", sep="\n")
    elif sentences:
        console.file.write("\n".join(sentences) + "\n\n")
    for cells in tables(metrics, fused, _MAX_WORST_CLASSES):
        print_cells(cells, console)


def print_cells(cells: Cells, console: Console | None = None) -> None:
    """Print a table: in full into a file or pipe, without minor columns on a narrow terminal."""
    console = console or PrintableConsole()
    if console.is_terminal:
        console.print(_rich_table(_fitted(cells, console)), "", sep="\n")
    else:
        console.file.write(plain_text(_rich_table(cells)).rstrip() + "\n\n")


def plain_text(table: Table) -> str:
    """`table` without colours, as wide as its cells need."""
    buffer = StringIO()
    console = Console(file=buffer, width=1000, color_system=None, force_terminal=False)
    console.width = console.measure(table).maximum
    console.print(table)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def _fitted(cells: Cells, console: Console) -> Cells:
    left_out: list[str] = []
    while console.measure(_rich_table(cells), options=console.options.update(max_width=1000)).maximum > console.width:
        header = next((h for h in _LEFT_OUT_FIRST if h in cells.headers), None)
        if header is None:
            break
        left_out.append(header.replace("\n", " "))
        cells = _without_column(cells, cells.headers.index(header))
    if left_out:
        cells = replace(cells, caption=f"{cells.caption}; left out in this narrow terminal: {', '.join(left_out)}")
    return cells


def _without_empty(cells: Cells) -> Cells:
    """Without the columns that hold nothing."""
    rows = [row for section in cells.sections.values() for row in section]
    for column in reversed(range(len(cells.headers))):
        if all(row[column] == MISSING for row in rows):
            cells = _without_column(cells, column)
    return cells


def _without_column(cells: Cells, column: int) -> Cells:
    sections = {title: [_without(row, column) for row in rows] for title, rows in cells.sections.items()}
    return replace(cells, headers=_without(cells.headers, column), sections=sections)


def _without(row: tuple[str, ...], column: int) -> tuple[str, ...]:
    return row[:column] + row[column + 1 :]


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


def format_score(value: float | None, digits: int = 3) -> str:
    """A figure as a cell.

    Examples:
        >>> format_score(0.12345), format_score(None)
        ('0.123', '–')
    """
    return MISSING if value is None else f"{value:.{digits}f}"


def format_interval(bounds: Sequence[float] | None) -> str:
    """An interval as a cell.

    Examples:
        >>> format_interval([0.12, 0.205])
        '0.12–0.20'
    """
    return MISSING if bounds is None else f"{bounds[0]:.2f}–{bounds[1]:.2f}"


def _rich_table(cells: Cells) -> Table:
    table = Table(
        title=Text(printable(cells.title)),
        caption=Text(printable(cells.caption)),
        box=box.SIMPLE_HEAD,
        padding=(0, 0),
        pad_edge=False,
        title_justify="left",
        caption_justify="left",
        title_style="bold",
        caption_style="dim",
        header_style="bold",
    )
    for index, header in enumerate(cells.headers):
        table.add_column(printable(header), justify="right" if index else "left", no_wrap=True, vertical="bottom")
    for heading, rows in cells.sections.items():
        if heading:
            table.add_row(Text(printable(heading), style="italic"))
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        table.add_section()
    return table
