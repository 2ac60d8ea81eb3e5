"""Metrics as tables: the same cells for the terminal (rich) and for the page (HTML)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bind.metrics.bootstrap import MIN_CLUSTERS

_MISSING = "–"
_LEFT_OUT_FIRST = ("mAP", "R@5", "median\nrank", "recall\n@10", "95 % CI", "ceiling", "top-5", "R@10", "queries\n/pool")
_WORST = 3

SECTIONS = {"trained": "trained", "emergent": "emergent", "anchor": "the anchor's own"}


@dataclass(frozen=True)
class Cells:
    """A table as text: `sections` maps a heading (empty for none) to rows; the first column is left-aligned."""

    title: str
    caption: str
    headers: tuple[str, ...]
    sections: dict[str, list[tuple[str, ...]]]


def pair_of(key: str) -> tuple[str, str]:
    """The query and pool modality of a retrieval key `{a}_to_{b}`; ValueError for any other key."""
    query, _, pool = key.partition("_to_")
    if not query or not pool:
        raise ValueError(f"retrieval key {key!r} is not of the form {{query}}_to_{{pool}}")
    return query, pool


def readable(modality: str) -> str:
    """`audio_and_imu` as `audio ⊕ imu`, `audio_plus_imu` as `audio + imu`: signs for a fusion and the plain sum."""
    return modality.replace("_and_", " ⊕ ").replace("_plus_", " + ")


def retrieval_cells(metrics: Mapping[str, Any]) -> Cells:
    """Rows of `metrics["retrieval"]` (see `metrics.json`): trained pairs, emergent ones, the anchor's own."""
    retrieval: Mapping[str, Mapping[str, Any]] = metrics["retrieval"]
    entries = retrieval.values()
    with_ceiling = any("ceiling_R@1" in entry for entry in entries)
    with_recall = any(entry.get("recall@10", entry.get("R@10")) != entry.get("R@10") for entry in entries)
    headers: tuple[str, ...] = ("query → pool", "R@1", "95 % CI", "R@5", "R@10")
    headers += ("recall\n@10",) if with_recall else ()
    headers += ("median\nrank", "mAP", "chance")
    headers += ("ceiling", "share of\nceiling") if with_ceiling else ()
    sections: dict[str, list[tuple[str, ...]]] = {}
    for kind, section in SECTIONS.items():
        rows = [_retrieval_row(key, e, with_recall, with_ceiling) for key, e in retrieval.items() if kind_of(e) == kind]
        if rows:
            sections[section] = rows
    notes = ["R@k: share of queries with an item of their group among the first k"]
    if with_recall:
        notes.append("recall@k: share of a query's relevant items, all those of its group, among the first k")
    notes += ["ties count against the query", resampled_note("95 % CI of R@1", entries)]
    if with_ceiling:
        notes.append("share of the ceiling: (R@1 − chance) / (ceiling − chance)")
    if any("_and_" in key for key in retrieval):
        notes.append("⊕: fused")
    if any("_plus_" in key for key in retrieval):
        notes.append("+: plain sum of embeddings")
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


def summary_note(metrics: Mapping[str, Any]) -> str:
    """How much of the trained quality reaches emergent pairs, in a sentence; nothing where there is no such figure."""
    summary = metrics.get("summary") or {}
    if summary.get("emergent_of_trained") is None:
        return ""
    lo, hi = summary["ci95_emergent_of_trained"]
    return (
        f"emergent pairs reach {summary['emergent_of_trained']:.2f} ({lo:.2f}–{hi:.2f}) of trained ones: mean "
        f"{summary['measure']} {summary['emergent']:.2f} over {summary['emergent_pairs']} pairs against "
        f"{summary['trained']:.2f} over {summary['trained_pairs']}"
    )


def kind_of(entry: Mapping[str, Any]) -> str:
    """`trained`, `emergent` or `anchor`."""
    return entry.get("kind") or ("trained" if entry["trained"] else "emergent")


def resampled_note(figure: str, entries: Iterable[Mapping[str, Any]]) -> str:
    """What the intervals are over, such as "bootstrap over 40–115 groups or 12 owners", and whether that is too few."""
    sizes: dict[str, list[int]] = {}
    for entry in entries:
        known = [entry["clusters"]] if "clusters" in entry else []
        sizes.setdefault(entry.get("resampled", "queries"), []).extend(known)
    over = " or ".join(f"{_range(found)} {name}".lstrip() for name, found in sorted(sizes.items()))
    few = any(size < MIN_CLUSTERS for found in sizes.values() for size in found)
    note = f" (under {MIN_CLUSTERS}: too few for an honest interval)" if few else ""
    return f"{figure}: bootstrap over {over}{note}"


def _range(sizes: Sequence[int]) -> str:
    return "–".join(map(str, sorted({min(sizes), max(sizes)}))) if sizes else ""


def zero_shot_cells(metrics: Mapping[str, Any]) -> Cells:
    """Rows of `metrics["zero_shot"]` (see `metrics.json`) where a sample is of one class."""
    entries = {key: entry for key, entry in metrics["zero_shot"].items() if "top1" in entry}
    with_top5 = any(entry["num_classes"] > 5 and "top5" in entry for entry in entries.values())
    rows: list[tuple[str, ...]] = []
    for key, entry in entries.items():
        row: tuple[str, ...] = (key, _score(entry["top1"]), _interval(entry.get("ci95_top1")))
        if with_top5:
            row += (_score(entry.get("top5")), _interval(entry.get("ci95_top5")))
        rows.append((*row, _score(entry["chance"]), str(entry["num_classes"]), f"{entry['queries']}"))
    top5 = ("top-5", "95 % CI") if with_top5 else ()
    return Cells(
        title=f"Zero-shot classification, {metrics.get('split', 'unnamed')} split",
        caption="nearest class by its text prompts; a tie counts as wrong; chance: 1 / classes; "
        + resampled_note("95 % CI", entries.values()),
        headers=("modality / labels", "top-1", "95 % CI", *top5, "chance", "classes", "queries"),
        sections={"": rows},
    )


def multi_label_cells(metrics: Mapping[str, Any]) -> Cells:
    """Rows of `metrics["zero_shot"]` where a sample may be of several classes."""
    entries = {key: entry for key, entry in metrics["zero_shot"].items() if "map" in entry}
    rows: list[tuple[str, ...]] = [
        (key, _score(e["map"]), _interval(e["ci95_map"]), _score(e["chance"]), f"{e['num_classes']}", f"{e['queries']}")
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


def class_cells(metrics: Mapping[str, Any], worst: int | None = None) -> Cells | None:
    """A row for every class of every zero-shot task with samples; None where there are none.

    With `worst`, of each task only so many classes, those found least; a class that is always found is never one.
    """
    sections: dict[str, list[tuple[str, ...]]] = {}
    for key, entry in metrics.get("zero_shot", {}).items():
        some = {name: figures for name, figures in entry.get("per_class", {}).items() if figures["support"]}
        names = list(some)
        if worst is not None:
            found = {name: some[name].get("recall", some[name].get("average_precision")) for name in names}
            names = sorted((name for name in names if found[name] < 1), key=found.__getitem__)[:worst]
        if names:
            sections[key] = [_class_row(name, some[name]) for name in names]
    if not sections:
        return None
    which = "Classes" if worst is None else f"The worst classes of each (at most {worst})"
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
        *(_score(figures.get(figure)) for figure in ("recall", "precision", "average_precision")),
        f"{figures['support']}",
        _MISSING if most is None else f"{most} ({wrong[most]})",
    )


def leakage_note(leakage: Mapping[str, Any]) -> str:
    """One line about `metrics["leakage"]`: how many samples leak, or that none was found, and by what was looked."""
    if leakage["leaked"]:
        how_many = f"{leakage['leaked']} of {leakage['samples']} samples ({leakage['share']:.0%})"
        return f"LEAKAGE: {how_many} share something with what was trained on"
    checked = ", ".join(leakage["checked"]) or "nothing could be compared"
    return f"leakage: none found ({checked})"


def leakage_cells(metrics: Mapping[str, Any]) -> list[Cells]:
    """What of `metrics["leakage"]` was found, and the figures without the queries it concerns; nothing where none."""
    leakage: Mapping[str, Any] = metrics.get("leakage") or {"leaked": 0}
    if not leakage["leaked"]:
        return []
    split_name = metrics.get("split", "unnamed")
    rows: list[tuple[str, ...]] = [
        (kind, f"{found['samples']}", f"{found['share']:.0%}", ", ".join(first["key"] for first in found["first"]))
        for kind, found in leakage["kinds"].items()
    ]
    made = [
        Cells(
            title=f"LEAKAGE, {split_name} split: {leakage['leaked']} of {leakage['samples']} samples were partly seen",
            caption="trained on: " + ", ".join(leakage["trained_on"]),
            headers=("shared with training", "samples", "share", "first keys"),
            sections={"": rows},
        )
    ]
    rows = [
        (
            " → ".join(map(readable, task.split("_to_"))),
            _score(entry["R@1_with_leaked"]),
            _score(entry.get("R@1")),
            _interval(entry.get("ci95_R@1")),
            f"{entry['queries']}",
        )
        for task, entry in leakage.get("without_leaked", {}).items()
    ]
    if rows:
        caption = "queries of leaked samples are left out, the pool is the same; top-1 where classes were ranked"
        headers = ("query → pool", "R@1\nwith", "R@1\nwithout", "95 % CI", "queries")
        made.append(Cells(f"Without leaked queries, {split_name} split", caption, headers, {"": rows}))
    return made


def tables(metrics: Mapping[str, Any], worst: int | None = None) -> list[Cells]:
    """The tables that `metrics` has figures for; of the classes all, or the `worst` few of each task."""
    made = [retrieval_cells(metrics)] if metrics.get("retrieval") else []
    made += leakage_cells(metrics)
    entries = (metrics.get("zero_shot") or {}).values()
    made += [zero_shot_cells(metrics)] if any("top1" in entry for entry in entries) else []
    made += [multi_label_cells(metrics)] if any("map" in entry for entry in entries) else []
    classes = class_cells(metrics, worst)
    return [*made, classes] if classes else made


def print_tables(metrics: Mapping[str, Any], console: Console | None = None) -> None:
    """Print every table of `metrics`; of the classes only the worst."""
    for cells in tables(metrics, _WORST):
        print_cells(cells, console)


def print_cells(cells: Cells, console: Console | None = None) -> None:
    """Print a table: in full into a file or pipe, without minor columns on a narrow terminal."""
    console = console or Console()
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
        if all(row[column] == _MISSING for row in rows):
            cells = _without_column(cells, column)
    return cells


def _without_column(cells: Cells, column: int) -> Cells:
    sections = {title: [_without(row, column) for row in rows] for title, rows in cells.sections.items()}
    return replace(cells, headers=_without(cells.headers, column), sections=sections)


def _without(row: tuple[str, ...], column: int) -> tuple[str, ...]:
    return row[:column] + row[column + 1 :]


def _retrieval_row(key: str, entry: Mapping[str, Any], with_recall: bool, with_ceiling: bool) -> tuple[str, ...]:
    query, pool = pair_of(key)
    row: tuple[str, ...] = (
        f"{readable(query)} → {readable(pool)}",
        _score(entry["R@1"]),
        _interval(entry.get("ci95_R@1")),
        _score(entry.get("R@5")),
        _score(entry.get("R@10")),
    )
    if with_recall:
        row += (_score(entry.get("recall@10")),)
    row += (f"{entry['median_rank']:g}", _score(entry.get("map")), _score(entry["chance_R@1"]))
    if with_ceiling:
        row += (_score(entry.get("ceiling_R@1")), _score(entry.get("share_of_ceiling"), digits=2))
    return (*row, f"{entry['queries']}/{entry['pool']}")


def _score(value: float | None, digits: int = 3) -> str:
    return _MISSING if value is None else f"{value:.{digits}f}"


def _interval(bounds: list[float] | None) -> str:
    return _MISSING if bounds is None else f"{bounds[0]:.2f}–{bounds[1]:.2f}"


def _rich_table(cells: Cells) -> Table:
    table = Table(
        title=Text(cells.title),
        caption=Text(cells.caption),
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
        table.add_column(header, justify="right" if index else "left", no_wrap=True, vertical="bottom")
    for heading, rows in cells.sections.items():
        if heading:
            table.add_row(Text(heading, style="italic"))
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        table.add_section()
    return table
