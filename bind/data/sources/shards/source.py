"""Source of packed data that is read like a list: every sample by its place, in as few range reads as a batch needs."""

from __future__ import annotations

import functools
import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bind.data.sources.sample_table import SPLITS
from bind.data.sources.shards.indexed import load_indices
from bind.data.sources.shards.members import Members
from bind.data.sources.shards.names import MODALITY_OF_EXTENSION, refuse_dotted_keys
from bind.data.sources.shards.patterns import Shards, find_shards
from bind.data.sources.shards.remote import is_in_object_store, read_range, shown
from bind.data.sources.shards.tar_index import TarIndex
from bind.data.sources.shards.values import Member, sample_values
from bind.data.sources.splits import refuse_shared_owners
from bind.terminal import printable_errors
from bind.types import Modality, Sample, StoredFile

logger = logging.getLogger("bind.data")

CACHE_DIR = "~/.cache/bindspace/shards"
USUAL_MODALITIES = ("image", "text", "audio", "imu", "depth", "thermal", "video")


class IndexedShardSource:
    """Samples of WebDataset tars, through their indices: of `bindspace pack`, or of anyone (indexed once).

    Args:
        shards: where they lie; or one of these per split, for shards that do not say which split they belong to.
            Without a split, a sample of such shards is one of `train`.
        name: what logs call this dataset; by default its folder's name.
        block_samples: how many neighbours stay together when training shuffles, to be had in one read; 1 shuffles
            freely.
        extensions: suffix of members → modality, besides what is usual: jpg is image, txt is text, wav and flac are
            audio, mp4 is video; `{key}.audio.wav` needs no entry.
        captions_key: texts are what stands in each `KEY.json` under this key, one or a list, as in CLAP's shards.
        cache_dir: where indices go that can't lie beside their shard.

    Raises:
        ValueError: naming shard and member: shards that are missing, damaged or not to be trusted, keys that come
            twice or have dots, owners in two splits.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> from bind.data.sources.shards.writer import plan_shards, write_listing, write_shard
        >>> folder = TemporaryDirectory()
        >>> samples = [Sample("a", "train", {"text": ["a dog", "a puppy"]}), Sample("b", "train", {"text": ["a cat"]})]
        >>> plans = plan_shards(samples, "train", max_bytes=10**6, seed=None)
        >>> for plan in plans:
        ...     write_shard(plan, Path(folder.name))
        >>> write_listing(plans, Path(folder.name))
        >>> source = IndexedShardSource(folder.name)
        >>> source.fetch("train", [1, 0], ["text"], rngs=None)
        [{'text': ['a cat']}, {'text': ['a dog', 'a puppy']}]
        >>> folder.cleanup()
    """

    @printable_errors()
    def __init__(
        self,
        shards: Shards | Mapping[str, Shards],
        *,
        name: str | None = None,
        block_samples: int = 16,
        extensions: Mapping[str, Modality] | None = None,
        captions_key: str | None = None,
        cache_dir: str | Path = CACHE_DIR,
    ) -> None:
        if block_samples < 1:
            raise ValueError(f"data.block_samples={block_samples}: give a number of samples, 1 to shuffle them freely")
        self.block_samples = block_samples
        by_split: Mapping[Any, Shards] = shards if isinstance(shards, Mapping) else {None: shards}
        shards_with_split = [(shard, split) for split, pattern in by_split.items() for shard in find_shards(pattern)]
        paths = [shard for shard, _ in shards_with_split]
        self.is_unforkable = any(map(is_in_object_store, paths))
        self.path = shown(paths[0]).rpartition("/")[0] or "."
        self.name = name or self.path.rpartition("/")[2]
        indices = load_indices(paths, Path(cache_dir).expanduser())
        captions = {} if captions_key is None else {"json": "text"}
        self._captions_key = captions_key
        modality_of_extension = {**MODALITY_OF_EXTENSION, **captions, **(extensions or {})}
        self._members = Members(paths, indices, modality_of_extension)
        refuse_dotted_keys(self._members.suffix_texts, modality_of_extension, self.path)
        self._refuse_repeated_keys()
        self._warn_unknown_members()
        self._warn_named_modalities(indices, modality_of_extension)
        self._samples: dict[str, list[Sample]] = {split: [] for split in SPLITS}
        self._rows: dict[str, list[int]] = {split: [] for split in SPLITS}
        self._modalities: dict[Modality, None] = {}
        self._make_samples(indices, [split for _, split in shards_with_split])
        if len(self.splits) > 1:
            refuse_shared_owners((s for samples in self._samples.values() for s in samples), self.path)

    def _refuse_repeated_keys(self) -> None:
        members = self._members
        row_of_key: dict[str, int] = {}
        for row, key in enumerate(members.keys):
            if (first := row_of_key.setdefault(key, row)) != row:
                places = [members.shown[members.shard_of_row[r]] for r in (first, row)]
                raise ValueError(
                    f"the key {key!r} comes twice, in {places[0]} and {places[1]}: keys are unique, so leave one of "
                    "the shards out, or pack them from one manifest"
                )

    def _warn_unknown_members(self) -> None:
        texts = zip(self._members.suffix_texts, self._members.suffixes, strict=True)
        if unknown := [text for text, suffix in texts if suffix is None]:
            logger.warning(
                "%s: members .%s are of no known modality and are not loaded; data.extensions={%s: audio} would make "
                "them one",
                self.path,
                ", .".join(unknown),
                unknown[0],
            )

    def _warn_named_modalities(self, indices: Sequence[TarIndex], usual: Mapping[str, Modality]) -> None:
        """Foreign shards: a part of a key after a dot can't be told from a modality of the user's own."""
        if all(index.plan for index in indices):
            return
        texts = zip(self._members.suffix_texts, self._members.suffixes, strict=True)
        named = [
            t
            for t, s in texts
            if s and "." in t and t not in usual and usual.get(s.extension, "") not in ("", s.modality)
        ]
        if unusual := [t for t in named if t.partition(".")[0] not in USUAL_MODALITIES]:
            logger.warning(
                "%s: members .%s are read as the modality %r; where that is a part of keys, write keys without dots",
                self.path,
                ", .".join(unusual),
                unusual[0].partition(".")[0],
            )

    def _make_samples(self, indices: Sequence[TarIndex], splits: Sequence[str | None]) -> None:
        members = self._members
        carried: dict[bytes, dict[Modality, tuple[Any, ...]]] = {}
        other_splits: Counter[str] = Counter()
        first_row = 0
        for shard, index, split_of_shard in zip(members.shown, indices, splits, strict=True):
            columns = zip(index.key, index.split, index.group, index.label, index.owners, strict=True)
            for row, (key, stored_split, group, label, owners) in enumerate(columns, first_row):
                if split_of_shard and stored_split and split_of_shard != stored_split:
                    raise ValueError(
                        f"{shard}: the sample {key!r} is of the split {stored_split!r}; list the shard as "
                        f"data.shards.{stored_split}"
                    )
                suffix_ids = members.suffix_ids(row)
                # Samples with members of the same kinds share one mapping: a million of them stay small.
                if (kinds := suffix_ids.tobytes()) not in carried:
                    parsed = [members.suffixes[i] for i in suffix_ids]
                    carried[kinds] = {suffix.modality: () for suffix in parsed if suffix is not None}
                values = carried[kinds]
                if not values:
                    raise ValueError(
                        f"{shard}: no member of the sample {key!r} is of a known modality; say what they are in "
                        "data.extensions"
                    )
                split = stored_split or split_of_shard or "train"
                if split not in SPLITS:
                    other_splits[split] += 1
                    continue
                self._modalities.update(dict.fromkeys(values))
                self._samples[split].append(Sample(key, split, values, group, tuple(owners), label))
                self._rows[split].append(row)
            first_row += len(index)
        if other_splits:
            logger.warning("%s: samples of other splits are not loaded: %s", self.path, dict(other_splits))

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have samples, of `train`, `val` and `test`."""
        return tuple(split for split, samples in self._samples.items() if samples)

    def modalities(self) -> tuple[Modality, ...]:
        """Modalities that at least one sample has, in the order of their first samples."""
        return tuple(self._modalities)

    def samples(self, split: str) -> Sequence[Sample]:
        """The samples of `split` in the order of the shards."""
        return self._samples.get(split, [])

    def training_order(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """A permutation (size,) int64 of blocks of `block_samples` neighbours.

        The end of the first block is random too, so that no two samples always share a batch.
        """
        if self.block_samples == 1:
            return rng.permutation(size)
        blocks = np.split(np.arange(size), np.arange(1 + rng.integers(self.block_samples), size, self.block_samples))
        return np.concatenate([blocks[i] for i in rng.permutation(len(blocks))])

    def content_hash(self, split: str, modality: Modality) -> str:
        """A hash of the keys of `split` and of kind, size, checksum and span of every member of `modality`."""
        members, rows = self._members, np.array(self._rows[split], dtype=np.int64)
        counts = np.diff(members.first)[rows]
        starts = np.cumsum(counts) - counts
        places = np.repeat(members.first[rows] - starts, counts) + np.arange(counts.sum())
        is_of_modality = np.array([suffix is not None and suffix.modality == modality for suffix in members.suffixes])
        kept = is_of_modality[members.suffix_id[places]]
        digest = hashlib.blake2b(digest_size=16)
        if modality == "text" and self._captions_key is not None:
            digest.update(f"captions under {self._captions_key}".encode())
        digest.update("\n".join(sample.key for sample in self.samples(split)).encode())
        digest.update("\n".join(members.suffix_texts[i] for i in members.suffix_id[places[kept]]).encode())
        digest.update(np.repeat(np.arange(len(rows)), counts)[kept].astype("<i8").tobytes())
        for name in ("size", "crc32", "start_seconds", "end_seconds"):
            digest.update(members.columns[name][places[kept]].astype("<f8").tobytes())
        return digest.hexdigest()

    def stored(
        self, split: str, modalities: Sequence[Modality]
    ) -> Iterator[tuple[int, StoredFile, float | None, float | None]]:
        """Place of the sample, file, start and end in seconds of every member of `modalities` but texts."""
        table = self._members
        offsets, sizes, checksums = (table.columns[name] for name in ("offset", "size", "crc32"))
        for index, row in enumerate(self._rows[split]):
            shard = int(table.shard_of_row[row])
            of_sample = sorted(table.of(row, modalities).items(), key=lambda item: (item[1].modality, item[1].number))
            for member, suffix in of_sample:
                if suffix.modality == "text" or suffix.extension == "json":  # beside an array, alike for many of them
                    continue
                path, offset = table.shards[shard], int(offsets[member])
                name = f"{table.shown[shard]}: {table.keys[row]}.{table.suffix_texts[table.suffix_id[member]]}"
                read = functools.partial(_read_member, path, offset, table.num_bytes[shard])
                yield (
                    index,
                    StoredFile(name, (path, offset), int(sizes[member]), suffix.modality, read, int(checksums[member])),
                    *table.span(member),
                )

    @printable_errors()
    def fetch(
        self,
        split: str,
        indices: Sequence[int],
        modalities: Sequence[Modality],
        rngs: Sequence[np.random.Generator] | None,
    ) -> list[dict[Modality, list[Any]]]:
        """Texts, and `Clip`s of packed files, of these samples; only members of `modalities` are read.

        `rngs` is not used: what is packed does not vary.

        Raises:
            ValueError: naming shard and member, where one can't be read or is not what its index says.
        """
        table, rows = self._members, [self._rows[split][index] for index in indices]
        chosen = [table.of(row, modalities) for row in rows]
        contents = table.read([member for members in chosen for member in members])
        return [
            sample_values(
                [
                    Member(name, suffix, contents[m], table.span(m))
                    for name, (m, suffix) in zip(table.names(row, members), members.items(), strict=True)
                ],
                self._captions_key,
            )
            for row, members in zip(rows, chosen, strict=True)
        ]


def _read_member(shard: str, offset: int, num_bytes: int, start: int, stop: int) -> bytes:
    return read_range(shard, offset + start, offset + stop, num_bytes)
