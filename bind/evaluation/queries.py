"""The queries and the pool of a task, and how each query was answered."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bind.evaluation.embedded import EmbeddedSplit
from bind.metrics import Ranking
from bind.types import Modality


@dataclass(frozen=True)
class QueryResults:
    """The figures of each of the Q queries of one task: a retrieval or a zero-shot classification.

    Attributes:
        title: what tables call the task: `audio → image`, or `imu, zero-shot`.
        keys: the queries' samples.
        values_Q: int64 (Q,), which of the sample's values is the query: 0 … 4 for five captions.
        clusters_Q: int64 (Q,), queries with equal numbers are resampled together.
        per_query: figure → float64 (Q,), as in `Ranking.per_query`.
        resampled: what the clusters are: `owners`, `groups` or `samples`.
        pool: how many items were ranked, and hashes of which and of what is relevant to what, see `describe_pool`.
    """

    title: str
    keys: list[str]
    values_Q: np.ndarray
    clusters_Q: np.ndarray
    per_query: dict[str, np.ndarray]
    resampled: str
    pool: tuple[int, str]


@dataclass(frozen=True)
class Items:
    """Queries or pool items: their sample `rows` (n,) and which of the sample's values (n,) each is."""

    rows: np.ndarray
    values: np.ndarray

    def fingerprint(self, split: EmbeddedSplit) -> str:
        """Hashes of which items these are and of the groups that make them relevant, in any order."""
        groups = split.group_ids_N.tolist()
        rows = self.rows.tolist()
        items = [f"{split.keys[row]}\t{value}" for row, value in zip(rows, self.values.tolist(), strict=True)]
        return describe_pool(items=items, groups=[f"{split.keys[row]}\t{groups[row]}" for row in rows])


def describe_pool(**parts: Sequence[str]) -> str:
    """A hash of each part of what makes a pool, in any order of its lines.

    Examples:
        >>> describe_pool(items=["a", "b"], groups=["1"]) == describe_pool(items=["b", "a"], groups=["1"])
        True
        >>> differing_parts(describe_pool(items=["a"], groups=["1"]), describe_pool(items=["a"], groups=["2"]))
        ['groups']
    """
    lines = {name: "\n".join(sorted(part)).encode() for name, part in parts.items()}
    return " ".join(f"{name}:{hashlib.blake2b(text, digest_size=8).hexdigest()}" for name, text in lines.items())


def differing_parts(pool: str, other: str) -> list[str]:
    """The names of the parts in which two descriptions of pools differ, those first that the others follow from."""
    parts, others = (dict(part.split(":") for part in text.split() if ":" in part) for text in (pool, other))
    return [name for name, part in parts.items() if others.get(name) not in (None, part)]


def items_at(split: EmbeddedSplit, modality: Modality, positions: Tensor) -> Items:
    """The values of a modality at these positions among its vectors."""
    rows = split.rows[modality]
    assert bool((rows[1:] >= rows[:-1]).all()), "vectors stand in the order of their samples"
    first = torch.searchsorted(rows, rows)  # the vectors of one sample are neighbours, in the order of its values
    return Items(rows[positions].numpy(), (torch.arange(len(rows)) - first)[positions].numpy())


def retrieval_key(query: Modality, pool: Modality) -> str:
    """What `metrics.json` and `queries.parquet` call a retrieval: `audio_to_image`. Never taken apart again."""
    return f"{query}_to_{pool}"


def query_results(
    split: EmbeddedSplit,
    ranking: Ranking,
    query_items: Items,
    *,
    title: str,
    clusters_Q: np.ndarray,
    resampled: str,
    pool: tuple[int, str],
) -> QueryResults:
    """The results of a ranking's queries, under the names of their samples."""
    ranked = ranking.queries_Q.numpy()
    keys = [split.keys[row] for row in query_items.rows[ranked].tolist()]
    return QueryResults(title, keys, query_items.values[ranked], clusters_Q, ranking.per_query(), resampled, pool)
