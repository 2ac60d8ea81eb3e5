"""`queries.parquet`: the results of a run query by query, so that runs can be compared query by query.

One row per query and task: `task` (`audio_to_image`, `zero_shot/imu`), `key` of the sample, `value` (which of its
values is the query), `cluster` (queries with equal numbers are resampled together), `rank` of the first relevant item,
and one column per figure whose mean stands in `metrics.json`. The file's metadata names the split and, per task, its
title in tables, what the clusters are, the size of the pool and a hash of its items.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bind.evaluation import QueryResults
from bind.files.parquet import open_parquet
from bind.files.plain_data import parse_json, require_kinds
from bind.files.reading import reading
from bind.files.writing import open_atomically

_FACTS = b"bind"
_COLUMN_NAMES = {"mean_rank": "rank"}
"""Figure → its column, where that holds what the figure is the mean of."""


def write_queries(path: Path, split_name: str, queries: Mapping[str, QueryResults]) -> None:
    """Write the results of a split's queries, task by task; the file is there whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tasks = {task: {"title": r.title, "resampled": r.resampled, "pool": list(r.pool)} for task, r in queries.items()}
    tables = []
    for task, results in queries.items():
        figures = {_COLUMN_NAMES.get(name, name): values_Q for name, values_Q in results.per_query.items()}
        columns = {"task": [task] * len(results.keys), "key": results.keys}
        tables.append(pa.table(columns | {"value": results.values_Q, "cluster": results.clusters_Q} | figures))
    facts = json.dumps({"split": split_name, "tasks": tasks})
    table = pa.concat_tables(tables) if tables else pa.table({"task": pa.array([], pa.string())})
    with open_atomically(path) as file:
        pq.write_table(table.replace_schema_metadata({_FACTS: facts}), file, compression="zstd")


def read_queries(path: Path) -> tuple[str, dict[str, QueryResults]]:
    """The split and the results of each task, as `write_queries` got them.

    Raises:
        ValueError: the file is missing, or is no such table.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing: `bindspace evaluate run={path.parent}` writes it")
    with reading(path, "not readable as Parquet", f"`bindspace evaluate run={path.parent}` writes it anew"):
        table = open_parquet(path).read()
        columns = {name: table[name].to_numpy() for name in table.column_names}
    names = {column: figure for figure, column in _COLUMN_NAMES.items()}
    figures = [name for name in columns if name not in ("task", "key", "value", "cluster")]
    remedy = f"`bindspace evaluate run={path.parent}` writes it anew"
    with reading(path, "was not written by this version of bind", remedy):
        facts: dict[str, Any] = parse_json((table.schema.metadata or {})[_FACTS], str(path))
        tasks = {}
        for task, about in facts["tasks"].items():
            rows = np.flatnonzero(columns["task"] == task)
            clusters_Q = columns["cluster"][rows]
            if not len(rows):
                raise ValueError(f"it has no queries of {task}")
            if clusters_Q.dtype.kind not in "iu" or clusters_Q.min(initial=0) < 0:
                raise ValueError("its clusters are no numbers of clusters")
            tasks[task] = QueryResults(
                title=about["title"],
                keys=columns["key"][rows].tolist(),
                values_Q=columns["value"][rows],
                clusters_Q=clusters_Q,
                per_query={names.get(name, name): columns[name][rows] for name in figures},
                resampled=about["resampled"],
                pool=(about["pool"][0], about["pool"][1]),
            )
        split: str = require_kinds(facts, {"split": str}, str(path))["split"]
    return split, tasks
