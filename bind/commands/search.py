"""Search in an index: `bindspace search INDEX "a dog barks"`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bind.commands.arguments.search import read_arguments
from bind.model.binder import Binder
from bind.report.cells import MISSING, Cells, format_score, without_empty_columns
from bind.report.terminal_table import print_cells
from bind.search.hits import Hit
from bind.search.index import Index
from bind.types import Modality


def main(arguments: list[str]) -> None:
    """Search as the command line says, and print a table or JSON.

    Raises:
        ValueError: for an option that there is not, or an index, a query or a condition that can't be used.
    """
    read = read_arguments(arguments)
    options, flags, pools = read.options, read.flags, read.pools
    index = Index.open(
        read.index,
        verify=flags["verify"],
        trust=[name for name in options.get("trust", "").split(",") if name],
        approximate=options.get("approximate"),
    )
    if place := options.get("binder", options.get("run")):
        index.use_binder(Binder.load(place, trust=index.trust))
    where = options.get("where")
    hits = index.search(
        read.query,
        top=read.top,
        modalities=pools or None,
        where=where,
        fusion=options.get("fusion", "early"),  # type: ignore[arg-type]
        weights=read.weights,
        comparable=flags["comparable"],
    )
    if flags["json"]:
        print(json.dumps([hit.as_json() for hit in hits], ensure_ascii=False, indent=1))
        return
    if hits:
        num_vectors = sum(map(len, index.pools(pools or None, where)))
        table = table_of(hits, describe_query(read.query), num_vectors, where)
        of_pools = [str(about) for about in index.approximations if about.modality in (pools or index.modalities)]
        print_cells(replace(table, caption="; ".join([table.caption, *of_pools])))
    else:
        num_vectors = sum(map(index.store.num_vectors, pools or index.modalities))
        print(
            f"no hits: none of {num_vectors:,} vectors meets where=" if num_vectors else "no hits: the index is empty"
        )


def describe_query(query: Mapping[Modality, Any]) -> str:
    """A query as the title of a table."""
    return ", ".join(repr(value) if modality == "text" else f"{modality} {value}" for modality, value in query.items())


def table_of(hits: Sequence[Hit], title: str, num_vectors: int, where: str | None = None) -> Cells:
    """Hits as a table, with the columns that any of them has."""
    rows = []
    for hit in hits:
        score = format_score(hit.score), format_score(hit.standard_score, 1)
        known = [_cell(value) for value in (hit.label, hit.split, hit.caption, hit.path)]
        rows.append((f"{hit.rank:>{len(str(len(hits)))}}", hit.key, hit.modality, *score, *known, _span(hit)))
    headers = ("", "key", "modality", "score", "above\nmean", "label", "split", "caption", "file", "seconds")
    caption = f"the best of {num_vectors:,} vectors" + (f" with {where}" if where else "")
    if any(hit.standard_score is not None for hit in hits):
        caption += "; above mean: in standard deviations of the query's scores in that modality, which ranks them"
    return without_empty_columns(Cells(title, caption, headers, {"": rows}))


def _cell(value: str | None) -> str:
    if value is None:
        return MISSING
    text = " ".join(value.split())
    return text if len(text) <= MAX_CELL else "…" + text[1 - MAX_CELL :] if "/" in text else text[: MAX_CELL - 1] + "…"


MAX_CELL = 60


def _span(hit: Hit) -> str:
    if hit.start_seconds is None and hit.end_seconds is None:
        return MISSING
    return f"{hit.start_seconds or 0:g}–{'end' if hit.end_seconds is None else format(hit.end_seconds, 'g')}"
