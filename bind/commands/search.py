"""Search in an index: `bindspace search INDEX "a dog barks"`."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bind.commands.convert import read_flag, read_number
from bind.model.binder import Binder
from bind.report.cells import MISSING, Cells, format_score, without_empty_columns
from bind.report.terminal_table import print_cells
from bind.search.hits import Hit
from bind.search.index import Index
from bind.types import Modality

DESCRIPTION = """\
Search in an index that bindspace index made, by words, by files, or by both together.

bindspace search INDEX ["WORDS"] [MODALITY=FILE ...] [KEY=VALUE ...]

  INDEX                  the folder of the index
  "WORDS"                what to search for; text="WORDS" is the same
  audio=FILE             or image=, imu=, … any modality of the binder: a file of it
  top=10                 how many hits
  in=audio,image         modalities that are searched, all by default
  where="CONDITION"      of the columns key, split, label, group, owner, path, caption, start_seconds, …:
                         "split = 'test' and label in ('dog', 'cat')", also !=, <, >=, like '%dog%', is null, not, or
  fusion=late            of several queries: early (the default) asks with their sum, late sums standardised scores
  weights.audio=2        of several queries: how much one counts
  comparable=false       rank vectors of several modalities by their scores as they are; without it by how far a score
                         stands out in its modality
  json=true              a JSON list in place of the table
  run=PATH, binder=PATH  embed the query with this binder; without it with the one in the index
  approximate=faiss      search by what bindspace index approximate=faiss (or lancedb) built, in place of exactly
  trust=PACKAGE          packages besides bind whose classes the binder's config may name
  verify=false           do not compare the vectors with their checksums first

Examples:
  bindspace search my.index "a dog barks"
  bindspace search my.index audio=query.wav in=image top=5
  bindspace search my.index "at night" image=street.jpg weights.image=0.5 where="split = 'test'" json=true
"""
OPTIONS = ("top", "in", "where", "fusion", "comparable", "json", "run", "binder", "trust", "verify", "approximate")
OPTION = re.compile(r"([a-z][a-z0-9_]*(?:\.[a-z0-9_]+)?)=(.*)", re.DOTALL | re.ASCII)


def main(arguments: list[str]) -> None:
    """Search as the command line says, and print a table or JSON.

    Raises:
        ValueError: for an option that there is not, or an index, a query or a condition that can't be used.
    """
    parser = argparse.ArgumentParser(
        prog="bindspace search", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("index", type=Path, metavar="INDEX", help="the folder of an index")
    parser.add_argument("words", nargs="+", metavar="QUERY or KEY=VALUE", help="see above")
    parsed = parser.parse_args(arguments)
    query, options, weights = read_words(parsed.words)
    top = read_number("top", options.get("top", "10"))
    flags = {name: read_flag(name, options.get(name, default)) for name, default in FLAGS.items()}
    index = Index.open(
        parsed.index,
        verify=flags["verify"],
        trust=[name for name in options.get("trust", "").split(",") if name],
        approximate=options.get("approximate"),
    )
    if place := options.get("binder", options.get("run")):
        index.use_binder(Binder.load(place, trust=index.trust))
    pools = [name.strip() for name in options.get("in", "").strip("[]").split(",") if name.strip()]
    where = options.get("where")
    hits = index.search(
        query,
        top=top,
        modalities=pools or None,
        where=where,
        fusion=options.get("fusion", "early"),  # type: ignore[arg-type]
        weights=weights,
        comparable=flags["comparable"],
    )
    if flags["json"]:
        print(json.dumps([hit.as_json() for hit in hits], ensure_ascii=False, indent=1))
        return
    if hits:
        num_vectors = sum(map(len, index.pools(pools or None, where)))
        table = table_of(hits, describe_query(query), num_vectors, where)
        of_pools = [str(about) for about in index.approximations if about.modality in (pools or index.modalities)]
        print_cells(replace(table, caption="; ".join([table.caption, *of_pools])))
    else:
        num_vectors = sum(map(index.store.num_vectors, pools or index.modalities))
        print(
            f"no hits: none of {num_vectors:,} vectors meets where=" if num_vectors else "no hits: the index is empty"
        )


FLAGS = {"json": "false", "comparable": "true", "verify": "true"}


def read_words(words: Sequence[str]) -> tuple[dict[Modality, Any], dict[str, str], dict[Modality, float]]:
    """The query, options and weights of a command line.

    A word is an option or a file of a modality where it begins like `name=`, and else a text.

    Examples:
        >>> read_words(["a dog", "audio=q.wav", "top=5", "weights.audio=2"])
        ({'text': 'a dog', 'audio': 'q.wav'}, {'top': '5'}, {'audio': 2.0})
    """
    query: dict[Modality, Any] = {}
    options: dict[str, str] = {}
    weights: dict[Modality, float] = {}
    for word in words:
        match = OPTION.fullmatch(word)
        name, value = (match[1], match[2]) if match else ("text", word)
        if name.startswith("weights."):
            weights[name.removeprefix("weights.")] = _number(name, value)
            continue
        place: dict[str, Any] = options if name in OPTIONS else query
        if name in place:
            raise ValueError(
                f"{word!r}: there is a {name} already ({place[name]!r}); put a text of several words in quotes"
            )
        place[name] = value
    if not query:
        raise ValueError("nothing to search for: give words in quotes, or a file such as audio=query.wav")
    return query, options, weights


def _number(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"{name}={value}: give a number above 0") from None


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
