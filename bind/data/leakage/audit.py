"""Audit of leakage: what an evaluated split shares with training data, by owners, files, stretches and combinations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bind.data.hashes import distinct_hashes, hash_strings, shared_hashes
from bind.data.leakage.leaks import Audit, Leak, SourceSplit
from bind.data.leakage.shared_files import compare_files
from bind.data.sources.sample_columns import owner_hashes
from bind.data.sources.sample_table import SampleTable, join_arrays
from bind.types import FactorSource, Sample


def exact_audit(evaluated: Sequence[SourceSplit], trained: Sequence[SourceSplit], max_bytes: float = math.inf) -> Audit:
    """Compare owners, captions, generated combinations and files of both sides; nothing is decoded.

    Two uses of one file, or of files with equal bytes, are leakage where their stretches overlap: `windows` where at
    least one of them is cut out, else `files`.

    Args:
        evaluated: all parts of the evaluated split.
        trained: everything trained on.
        max_bytes: what may be read at most to compare files of equal size.

    Examples:
        >>> from bind.data.sources.toy.world import ToySource
        >>> toy = ToySource(num_train=8, num_test_queries=1)
        >>> train, test = (SourceSplit("toy", toy, split, toy.modalities()) for split in ("train", "test"))
        >>> audit = exact_audit([test], [train])
        >>> audit.num_samples, audit.leaked, audit.not_checked
        (230, set(), ['files of toy: it is generated'])
    """
    audit = Audit(sum(len(part.source.samples(part.split)) for part in evaluated), [part.name for part in trained])
    _compare_owners(audit, evaluated, trained)
    _compare_captions(audit, evaluated, trained)
    _compare_combinations(audit, evaluated, trained)
    compare_files(audit, evaluated, trained, max_bytes)
    return audit


def _compare_owners(audit: Audit, evaluated: Sequence[SourceSplit], trained: Sequence[SourceSplit]) -> None:
    of_evaluated, of_trained = ([(p, *owner_hashes(p.samples)) for p in parts] for parts in (evaluated, trained))
    of_both = shared_hashes(
        [join_arrays([hashes for _, _, hashes in side], np.uint64) for side in (of_evaluated, of_trained)]
    )
    # Only the samples whose owners may be on both sides are looked at one by one.
    trained_owners: dict[str, tuple[str, str]] = {}  # owner → source and key of its first sample
    for part, sample in _samples_with(of_trained, of_both):
        for owner in sample.owners:
            trained_owners.setdefault(owner, (part.name, sample.key))
    for _, sample in _samples_with(of_evaluated, of_both):
        for owner in sample.owners:
            if owner in trained_owners:
                audit.add("owners", Leak(sample.key, *trained_owners[owner], f"owner {owner!r}"))
    num_owned = sum(len(np.unique(places)) for _, places, _ in of_evaluated)
    num_trained = len(distinct_hashes(join_arrays([hashes for _, _, hashes in of_trained], np.uint64)))
    if num_owned and num_trained:
        numbers = f"{num_owned} evaluated samples against {num_trained}"
        audit.checked["owners"] = f"those of {numbers} that were trained on"
    if num_owned < audit.num_samples:
        audit.not_checked.append(f"owners: {audit.num_samples - num_owned} evaluated samples name none")
    if num_owned and not num_trained:
        audit.not_checked.append("owners: what was trained on names none")


def _samples_with(
    side: Sequence[tuple[SourceSplit, np.ndarray, np.ndarray]], among: np.ndarray
) -> Iterator[tuple[SourceSplit, Sample]]:
    """The samples of which a hash is `among` these; `side` has places of samples and hashes of each part."""
    for part, places, hashes in side:
        samples = part.samples
        yield from ((part, samples[i]) for i in np.unique(places[np.isin(hashes, among)]).tolist())


def _compare_captions(audit: Audit, evaluated: Sequence[SourceSplit], trained: Sequence[SourceSplit]) -> None:
    evaluated_hashes = [hashes for part in evaluated for _, hashes, _ in _hashed_captions(part)]
    among = distinct_hashes(join_arrays(evaluated_hashes, np.uint64))
    trained_captions: set[str] = set()
    for part in trained:
        for _, hashes, texts in _hashed_captions(part):
            trained_captions.update(texts.filter(pa.array(np.isin(hashes, among))).to_pylist())
    captions, num_shared = pa.array(trained_captions, pa.string()), 0
    for part in evaluated:
        for places, _, texts in _hashed_captions(part):
            num_shared += len(np.unique(places[pc.is_in(texts, captions).to_numpy(zero_copy_only=False)]))
    if num_shared:
        audit.notes.append(
            f"captions: {num_shared} evaluated samples have one that was trained on too, which is no leakage by itself"
        )


def _hashed_captions(part: SourceSplit) -> Iterator[tuple[np.ndarray, np.ndarray, Any]]:
    """Of the captions of a part that are in memory: the place of the sample, the hash, and the text; in parts."""
    samples = part.samples
    if isinstance(samples, SampleTable):
        for places, texts in samples.flat_values("text") if "text" not in samples.vectors else ():
            yield places, hash_strings(texts), texts
        return
    values = [(i, text) for i, s in enumerate(samples) for text in s.values.get("text", ()) if isinstance(text, str)]
    texts = pa.array([text for _, text in values], pa.string())
    yield np.array([place for place, _ in values], np.int64), hash_strings(texts), texts


def _compare_combinations(audit: Audit, evaluated: Sequence[SourceSplit], trained: Sequence[SourceSplit]) -> None:
    trained_combinations: dict[tuple[Any, ...], tuple[str, str]] = {}  # → source and key of its first sample
    for part, combination, key in _combinations(trained):
        trained_combinations.setdefault(combination, (part.name, key))
    num_compared = 0
    for _, combination, key in _combinations(evaluated):
        num_compared += 1
        if combination in trained_combinations:
            shared = f"combination {combination[1:]}"
            audit.add("combinations", Leak(key, *trained_combinations[combination], shared))
    if num_compared and trained_combinations:
        numbers = f"{num_compared} evaluated samples against {len(trained_combinations)}"
        audit.checked["combinations"] = f"generated: those of {numbers}"


def _combinations(parts: Sequence[SourceSplit]) -> Iterator[tuple[SourceSplit, tuple[Any, ...], str]]:
    """The factors of the samples of generated sources, each behind the names of the factors."""
    for part in parts:
        if isinstance(part.source, FactorSource):
            rows = part.source.factor_table(part.split).tolist()
            for row, sample in zip(rows, part.source.samples(part.split), strict=True):
                yield part, (part.source.factor_names, *row), sample.key
