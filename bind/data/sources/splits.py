"""Checks of splits: some source has the one that is asked for, and no owner or stretch of a file is in two of them."""

from __future__ import annotations

import itertools
import math
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from bind.data.hashes import shared_hashes
from bind.data.sources.sample_columns import file_hashes, modalities_of, owner_hashes, split_codes
from bind.data.sources.sample_table import SPLITS, SampleTable, join_arrays
from bind.types import Clip, FileSource, Modality, Sample, Source

OVERLAP_TOLERANCE_SECONDS = 1e-6
NUM_NAMED = 5
MAX_SAMPLES = 100_000


def name_source(source: Source) -> str:
    """Where a source is read from; the name of one that is made."""
    return str(source.path if isinstance(source, FileSource) else source.name)


def require_split(sources: Sequence[Source], split: str, fix: str) -> None:
    """Raise ValueError, with the splits that each source has and the `fix`, unless one has samples of `split`."""
    if any(len(source.samples(split)) for source in sources):
        return
    others = []
    for source in sources:
        sizes = [f"{name} {num_samples}" for name in SPLITS if (num_samples := len(source.samples(name)))]
        others.append(f"{name_source(source)} has {', '.join(sizes) or 'none of train, val and test'}")
    raise ValueError(f"no samples of the split {split!r}: {'; '.join(others)}. {fix}")


def list_some(items: list[str]) -> str:
    """The first five of `items`, and how many more there are."""
    rest = len(items) - NUM_NAMED
    return "; ".join(items[:NUM_NAMED]) + (f"; and {rest} more" if rest > 0 else "")


def shared_owners(samples: Iterable[Sample]) -> dict[str, dict[str, str]]:
    """Owner → split → its first key there, for the owners that occur in more than one split."""
    key_by_split: dict[str, dict[str, str]] = defaultdict(dict)
    for sample in samples:
        for owner in sample.owners:
            key_by_split[owner].setdefault(sample.split, sample.key)
    return {owner: keys for owner, keys in key_by_split.items() if len(keys) > 1}


def refuse_shared_owners(samples: Iterable[Sample], where: str) -> None:
    """Raise ValueError, naming owners, splits and keys, where an owner occurs in more than one split."""
    shared = shared_owners(samples)
    if shared:
        named = [
            f"{owner!r} (" + ", ".join(f"{split}: key {key!r}" for split, key in keys.items()) + ")"
            for owner, keys in shared.items()
        ]
        raise ValueError(
            f"{where}: {len(shared)} owner(s) occur in more than one split: {list_some(named)}. "
            "Give all rows of an owner one split, or its score does not hold for new owners; where one name stands for "
            "two of them, give each its own"
        )


def owner_suspects(parts: Iterable[Sequence[Sample]]) -> Iterator[Sample]:
    """The samples with an owner that occurs in several splits, and perhaps a few others: found by hashes of columns."""
    parts = list(parts)
    hashed = [owner_hashes(part) for part in parts]
    yield from _suspects(parts, hashed)


def span_suspects(parts: Iterable[Sequence[Sample]], known: Collection[Modality] = ()) -> Iterator[Sample]:
    """The samples with a file that several splits use, and perhaps a few others: found by hashes of columns.

    Links to folders are followed, links to files are not.
    """
    parts = list(parts)
    hashed = []
    for part in parts:
        of_modalities = [file_hashes(part, modality) for modality in modalities_of(part) if modality not in known]
        places, hashes = zip(*of_modalities, strict=True) if of_modalities else ((), ())
        hashed.append((join_arrays(places, np.int64), join_arrays(hashes, np.uint64)))
    yield from _suspects(parts, hashed)


def samples_for_spans(parts: Sequence[Sequence[Sample]], known: Collection[Modality]) -> Iterator[Sample]:
    """The samples to compare by `shared_spans`: all, so that every link is followed, or of very many the suspects."""
    if sum(map(len, parts)) > MAX_SAMPLES:
        return span_suspects(parts, known)
    return itertools.chain.from_iterable(parts)


def _suspects(parts: Sequence[Sequence[Sample]], hashed: Sequence[tuple[np.ndarray, np.ndarray]]) -> Iterator[Sample]:
    """The samples, in their order, of which a hash occurs in several splits; `hashed` has their places and hashes."""
    of_split: dict[int, list[np.ndarray]] = defaultdict(list)
    for part, (places, hashes) in zip(parts, hashed, strict=True):
        codes = split_codes(part)[places]
        for code in np.unique(codes).tolist():
            of_split[code].append(hashes[codes == code])
    shared = shared_hashes([np.concatenate(arrays) for arrays in of_split.values()])
    if len(shared):
        for part, (places, hashes) in zip(parts, hashed, strict=True):
            suspects = np.unique(places[np.isin(hashes, shared)])
            yield from part.at(suspects) if isinstance(part, SampleTable) else map(part.__getitem__, suspects.tolist())


def parts_of_mixture(sources: Iterable[Source], weights: Iterable[float]) -> Iterator[Sequence[Sample]]:
    """The samples of every split of every source but the training samples of sources that are not trained on."""
    for source, weight in zip(sources, weights, strict=True):
        for split in ("train", "val", "test") if weight else ("val", "test"):
            yield source.samples(split)


def shared_spans(samples: Iterable[Sample], known: Collection[Modality] = ()) -> list[tuple[str, dict[str, str]]]:
    """Each overlap in time between two splits: the real path of the file, and split → key of the two.

    What samples have of the modalities in `known` is left out.
    """
    spans: dict[Path, list[tuple[float, float, str, str]]] = defaultdict(list)  # start, end, split, key
    for sample in samples:
        new = (values for modality, values in sample.values.items() if modality not in known)
        for clip in (v for values in new for v in values if isinstance(v, Clip)):
            end = math.inf if clip.end_seconds is None else clip.end_seconds
            assert isinstance(clip.path, Path)
            spans[clip.path].append((clip.start_seconds or 0.0, end, sample.split, sample.key))

    spans_of_file: dict[str, list[tuple[float, float, str, str]]] = defaultdict(list)
    for path, spans_of_path in spans.items():
        spans_of_file[os.path.realpath(path)].extend(spans_of_path)

    clashes = []
    for real_path, spans_of_path in spans_of_file.items():
        furthest: dict[str, tuple[float, str]] = {}  # split → end and key of the span that ends last
        for start, end, split, key in sorted(spans_of_path):
            for other, (other_end, other_key) in furthest.items():
                if other != split and other_end - start > OVERLAP_TOLERANCE_SECONDS:
                    clashes.append((real_path, {other: other_key, split: key}))
            if split not in furthest or end > furthest[split][0]:
                furthest[split] = (end, key)
    return clashes


def refuse_shared_spans(samples: Iterable[Sample], where: str, known: Collection[Modality] = ()) -> None:
    """Raise ValueError where two splits read overlapping stretches of one file, through whatever modality.

    Stretches that only touch are fine; a file without a span is read whole. Links are followed. Modalities in `known`
    may be shared: what is evaluated of them was trained on.
    """
    clashes: dict[str, str] = {}
    for path, keys in shared_spans(samples, known):
        clashes.setdefault(path, f"{path} (" + ", ".join(f"{split}: key {key!r}" for split, key in keys.items()) + ")")
    if clashes:
        raise ValueError(
            f"{where}: {len(clashes)} overlap(s) between splits: {list_some(list(clashes.values()))}. "
            "Keep all rows of such a file in one split, or cut its spans so that they only touch. Where pictures are "
            "shared on purpose, evaluation.known=[image] measures new sounds among pictures that were trained on "
            "(docs/doctor.md)"
        )
