"""Values of a split that are one and the same: equal texts, and files with equal content."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path

from bind.data.leakage.same_files import equal_files, file_on_disk
from bind.data.sources.sample_table import entries_of, keys_of
from bind.types import Clip, FactorSource, Modality, Source, StoredFile, StoredSource

ValueIds = Mapping[tuple[str, int], int]
"""(key of a sample, which of its values) → a number that equal values share; values that are not in it equal none."""


def identify_values(parts: Sequence[tuple[Source, str]], modality: Modality) -> list[tuple[int, tuple[str, int], int]]:
    """Number the values of a modality in some splits of some sources so that equal ones share a number.

    Equal are texts of the same letters, and stretches of files with the same bytes, wherever they lie, in shards too.
    Files are compared by size first, so that little is read. What a source makes, or streams without an index, is not
    compared; of a source that knows its factors, equal texts are one within their group only, as its ceilings have it.

    Returns:
        Of each value that can be compared: the part, its place (key of the sample, which value of it), and its number.
    """
    values = [(part, *value) for part, place in enumerate(parts) for value in _values(*place, modality)]
    first_copy = equal_files({file.identity: file for *_, file in values if file is not None}.values())
    numbers: dict[Hashable, int] = {}
    identified = []
    for part, key, number, identity, file in values:
        whole = (first_copy[file.identity], identity) if file is not None else identity
        identified.append((part, (key, number), numbers.setdefault(whole, len(numbers))))
    return identified


def equal_values(sources: Sequence[Source], split: str, modalities: Sequence[Modality]) -> dict[Modality, ValueIds]:
    """Modality → the numbers of its values (see `identify_values`), for modalities of which some values are equal."""
    equal: dict[Modality, ValueIds] = {}
    for modality in modalities:
        parts = [(source, split) for source in sources if modality in source.modalities()]
        ids = {place: number for _, place, number in identify_values(parts, modality)}
        if len(set(ids.values())) < len(ids):
            equal[modality] = ids
    return equal


def values_in_both(
    evaluated: Sequence[tuple[Source, str]], trained: Sequence[tuple[Source, str]], modality: Modality
) -> set[tuple[str, int]]:
    """The values on the evaluated side (key, which of its values) that the trained side has too."""
    identified = identify_values([*evaluated, *trained], modality)
    trained_numbers = {number for part, _, number in identified if part >= len(evaluated)}
    return {place for part, place, number in identified if part < len(evaluated) and number in trained_numbers}


def _values(source: Source, split: str, modality: Modality) -> Iterator[tuple[str, int, Hashable, StoredFile | None]]:
    """Key, number, identity beside that of the file, and file of every value that can be compared."""
    samples = source.samples(split)
    if modality == "text":
        texts = [(key, values.get("text", ())) for key, _, values in entries_of(samples, ["text"])]
        if not any(of_sample for _, of_sample in texts):
            fetched = source.fetch(split, range(len(samples)), ["text"], None)
            texts = [(key, values.get("text", ())) for (key, _), values in zip(texts, fetched, strict=True)]
        groups = [s.group_id for s in samples] if isinstance(source, FactorSource) else [None] * len(samples)
        for (key, of_sample), group in zip(texts, groups, strict=True):
            for number, text in enumerate(of_sample):
                yield key, number, (group, text), None
    elif isinstance(source, StoredSource):
        keys = keys_of(samples)
        row, number = -1, 0
        for index, file, start, end in source.stored(split, [modality]):
            row, number = index, number + 1 if index == row else 0
            yield keys[index], number, (start or 0.0, end), file
    else:
        files: dict[Path, StoredFile] = {}
        for key, _, values in entries_of(samples, [modality]):
            for number, value in enumerate(values.get(modality, ())):
                if isinstance(value, Clip) and isinstance(value.path, Path):
                    if value.path not in files:
                        files[value.path] = file_on_disk(value.path, modality)
                    yield key, number, (value.start_seconds or 0.0, value.end_seconds), files[value.path]
