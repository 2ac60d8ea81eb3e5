"""Search in an index: `bindspace search INDEX "a dog barks"`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bind.commands.arguments.search import read_arguments
from bind.commands.taken_parts import print_taken_parts
from bind.model.binder import Binder
from bind.report.cells import MISSING, Cells, format_score, without_empty_columns
from bind.report.terminal_table import print_cells
from bind.search.folding import FoldedHit, search_folded
from bind.search.hits import Hit
from bind.search.index import MAX_TOP, Index
from bind.search.queries import embed_query
from bind.terminal import printable_errors
from bind.types import Modality


@printable_errors()
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
    vectors = embed_query(index.binder, read.query, str(read.index))
    print_taken_parts(index.binder, list(read.query.items()))

    def search(top: int) -> list[Hit]:
        (hits,) = index.search_vectors(
            vectors,
            top=top,
            modalities=pools or None,
            where=where,
            fusion=options.get("fusion", "early"),  # type: ignore[arg-type]
            weights=read.weights,
            comparable=flags["comparable"],
        )
        return hits

    if flags["json"]:
        print(json.dumps([hit.as_json() for hit in search(read.top)], ensure_ascii=False, indent=1))
        return
    if hits := search_folded(search, read.top, MAX_TOP):
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


def table_of(hits: Sequence[FoldedHit], title: str, num_vectors: int, where: str | None = None) -> Cells:
    """Hits as a table, with the columns that any of them has."""
    rows: list[tuple[str, ...]] = []
    for folded in hits:
        hit, num_others = folded.hit, len(folded.other_keys)
        score = format_score(hit.score), format_score(hit.standard_score, 1)
        path = None if hit.path is None else path_from_here(hit.path)
        known = [_cell(value) for value in (hit.label, hit.split, hit.caption, None if path == hit.key else path)]
        also = f"+{num_others:,}" if num_others else MISSING
        rows.append((f"{hit.rank:>{len(str(len(hits)))}}", hit.key, also, hit.modality, *score, *known, _span(hit)))
    of_sample = ("label", "split", "caption", "file", "seconds")
    headers = ("", "key", "other\nkeys", "modality", "score", "above\nmean", *of_sample)
    caption = f"the best of {num_vectors:,} vectors" + (f" with {where}" if where else "")
    if any(folded.other_keys for folded in hits):
        caption += "; other keys: how many more have the same file or text"
    if any(folded.hit.standard_score is not None for folded in hits):
        caption += "; above mean: in standard deviations of the query's scores in that modality, which ranks them"
    return without_empty_columns(Cells(title, caption, headers, {"": rows}))


def path_from_here(path: str) -> str:
    """A path as it is named from the working directory, where it is below that."""
    place = Path(path)
    return str(place.relative_to(Path.cwd())) if place.is_relative_to(Path.cwd()) else path


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
