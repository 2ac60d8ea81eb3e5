"""Source of packed data that is read like a list: every sample by its place, in as few range reads as a batch needs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bind.data.sources.decoded import DamagedColumnsError, MappedColumns
from bind.data.sources.sample_table import SPLITS, SampleTable, join_arrays
from bind.data.sources.shards.content_hashes import ContentHasher
from bind.data.sources.shards.indexed import changed_shards, find_indices, replace_indices
from bind.data.sources.shards.kept_index import find_headers, open_indices
from bind.data.sources.shards.member_uses import uses_of_members
from bind.data.sources.shards.members import Members
from bind.data.sources.shards.names import MODALITY_OF_EXTENSION, refuse_dotted_keys
from bind.data.sources.shards.packed_samples import PackedSamples
from bind.data.sources.shards.patterns import Shards, find_shards
from bind.data.sources.shards.remote import is_in_object_store, shown
from bind.data.sources.shards.values import Member, sample_values
from bind.data.sources.splits import owner_suspects, refuse_shared_owners
from bind.terminal import printable_errors
from bind.types import FileUses, Modality, Sample

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
        columns = _open(paths, [split for _, split in shards_with_split], Path(cache_dir).expanduser())
        captions = {} if captions_key is None else {"json": "text"}
        self._captions_key = captions_key
        modality_of_extension = {**MODALITY_OF_EXTENSION, **captions, **(extensions or {})}
        self._members = Members(paths, columns, modality_of_extension)
        refuse_dotted_keys(self._members.suffix_texts, modality_of_extension, self.path)
        self._warn_unknown_members()
        self._warn_named_modalities(modality_of_extension)
        carried = self._modalities_of_kinds()
        loaded = [carried[kind] for kind in columns.facts["loaded_kinds"]]
        self._modalities = tuple(dict.fromkeys(modality for modalities in loaded for modality in modalities))
        self._samples = self._tables(carried)
        if other_splits := columns.facts["other_splits"]:
            logger.warning("%s: samples of other splits are not loaded: %s", self.path, other_splits)
        if columns.facts["shares_owners"]:
            refuse_shared_owners(owner_suspects(list(self._samples.values())), self.path)

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

    def _warn_named_modalities(self, usual: Mapping[str, Modality]) -> None:
        """Foreign shards: a part of a key after a dot can't be told from a modality of the user's own."""
        if all(self._members.columns.files["plan"].to_pylist()):
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

    def _modalities_of_kinds(self) -> list[tuple[Modality, ...]]:
        """The modalities of each kind of samples; ValueError where one has none."""
        members, first_rows = self._members, self._members.columns.facts["first_rows"]
        parsed = [[members.suffixes[i] for i in kind] for kind in members.kinds]
        carried = [tuple(dict.fromkeys(s.modality for s in suffixes if s is not None)) for suffixes in parsed]
        if empty := [row for row, modalities in zip(first_rows, carried, strict=True) if not modalities]:
            raise ValueError(
                f"{members.shown[members.shard_of(min(empty))]}: no member of the sample "
                f"{members.cell(min(empty), 'key')!r} is of a known modality; say what they are in data.extensions"
            )
        return carried

    def _tables(self, carried: Sequence[tuple[Modality, ...]]) -> dict[str, SampleTable]:
        """The samples of each split."""
        columns = self._members.columns
        has = {m: np.array([m in modalities for modalities in carried]) for m in self._modalities}
        samples = PackedSamples(columns, has)
        batches = range(len(columns.starts) - 1)
        codes = join_arrays([columns.batch_unverified(n).column("split").to_numpy() for n in batches], np.int8)
        rows = [np.flatnonzero(codes == code) for code in range(len(SPLITS))]
        if list(map(len, rows)) != columns.facts["num_rows"]:
            raise DamagedColumnsError(f"{columns.name} is damaged (its splits are others): delete it, it is made again")
        return {
            split: SampleTable(
                samples, rows_of_split, Path(), self._modalities, identity_hash=columns.facts["identity_hashes"][split]
            )
            for split, rows_of_split in zip(SPLITS, rows, strict=True)
        }

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have samples, of `train`, `val` and `test`."""
        return tuple(split for split, samples in self._samples.items() if samples)

    def modalities(self) -> tuple[Modality, ...]:
        """Modalities that at least one sample has, in the order of their first samples."""
        return self._modalities

    def samples(self, split: str) -> Sequence[Sample]:
        """The samples of `split` in the order of the shards."""
        return self._samples.get(split, [])

    def training_order(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """A permutation (size,) int64 of blocks of `block_samples` neighbours.

        The end of the first block is random too, so that no two samples always share a batch.
        """
        if self.block_samples == 1:
            return rng.permutation(size)
        starts = np.arange(1 + rng.integers(self.block_samples), size, self.block_samples)
        starts = np.concatenate([[0], starts])
        lengths = np.diff(starts, append=size)
        order = rng.permutation(len(starts))
        starts, lengths = starts[order], lengths[order]
        return np.repeat(starts - (np.cumsum(lengths) - lengths), lengths) + np.arange(size)

    def content_hash(self, split: str, modality: Modality) -> str:
        """A hash of the keys of `split` and of kind, size, checksum and span of every member of `modality`.

        What is decoded has it already, unless `extensions` or `captions_key` make other members those of `modality`.
        """
        table = self._members
        modalities = [
            modality if suffix is not None and suffix.modality == modality else None for suffix in table.suffixes
        ]
        has_captions = modality == "text" and self._captions_key is not None
        if not has_captions:
            numbers = [number for number, of_suffix in enumerate(modalities) if of_suffix is not None]
            for known, content_hash in table.columns.facts["content_hashes"][split]:
                if known == numbers:
                    return str(content_hash)
        hasher = ContentHasher(f"captions under {self._captions_key}" if has_captions else "")
        packed = SampleTable(table.columns, self._samples[split].rows, Path(), ())
        for part in packed.parts(["key", "kind", "members", "spans"]):
            hasher.add(part, table.kinds, modalities)
        return hasher.hexdigest(modality, table.suffix_texts)

    def stored(self, split: str, modalities: Sequence[Modality]) -> Iterator[FileUses]:
        """The members of `modalities` but texts, see `StoredSource`."""
        return uses_of_members(self._members, self._samples[split].rows, modalities)

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
        table, rows = self._members, [int(self._samples[split].rows[index]) for index in indices]
        chosen = [table.of(row, modalities) for row in rows]
        contents = table.read((row, number) for row, numbers in zip(rows, chosen, strict=True) for number in numbers)
        fetched = []
        for row, suffixes in zip(rows, chosen, strict=True):
            spans, names = table.spans(row), table.names(row, suffixes)
            members = [
                Member(name, suffix, contents[row, number], spans.get(number, (None, None)))
                for name, (number, suffix) in zip(names, suffixes.items(), strict=True)
            ]
            fetched.append(sample_values(members, self._captions_key))
        return fetched


def _open(shards: list[str], splits: Sequence[str | None], cache_dir: Path) -> MappedColumns:
    """The columns of all indices; those of shards that changed are made anew."""
    files = find_indices(shards, cache_dir)
    changed = changed_shards(files, find_headers(files, splits, cache_dir))
    files = replace_indices(shards, files, changed, cache_dir)
    return open_indices(files, splits, cache_dir)
