"""Arguments of `bindspace search`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bind.commands.named_inputs import find_files
from bind.commands.values import read_flag, read_number
from bind.model.places import saved_modalities
from bind.search.approximate.engines import load_engine
from bind.search.filters import Filter
from bind.search.listing import read_listing
from bind.search.query_values import require_queries
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
  json=true              a JSON list in place of the table, of every vector: the table has copies of a file or text once
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
FLAGS = {"json": "false", "comparable": "true", "verify": "true"}


@dataclass(frozen=True, slots=True)
class SearchArguments:
    """What is searched for, where.

    Attributes:
        index: its folder.
        query: modality → text or file.
        options: key → value, as they stand there.
        flags: of `FLAGS`.
        weights: modality of the query → how much it counts.
        pools: modalities that are searched; none: all.
    """

    index: Path
    query: Mapping[Modality, Any]
    options: Mapping[str, str]
    flags: Mapping[str, bool]
    weights: Mapping[Modality, float]
    top: int
    pools: Sequence[Modality]


def read_arguments(arguments: Sequence[str]) -> SearchArguments:
    """What the command line says, checked as far as it can be before anything heavy is loaded.

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
    listing = read_listing(parsed.index)
    if "approximate" in options:
        load_engine(options["approximate"])
    if "where" in options:
        Filter(options["where"], listing.columns)
    place = options.get("binder", options.get("run"))
    is_there = place is not None or (parsed.index / "binder").is_dir()
    known = saved_modalities(parsed.index / "binder" if place is None else place) if is_there else None
    if known is not None:
        require_queries(query, known, str(parsed.index))
    find_files(list(query.items()), are_patterns=False)
    pools = [name.strip() for name in options.get("in", "").strip("[]").split(",") if name.strip()]
    return SearchArguments(parsed.index, query, options, flags, weights, top, pools)


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
