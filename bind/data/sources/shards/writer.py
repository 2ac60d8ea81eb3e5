"""Writer of shards: the samples of a manifest are planned into tars of bounded size, each then written alone."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from bind.data.sources.shards.cut import has_span, is_cut, max_packed_bytes, pack_value
from bind.data.sources.shards.index_table import MAX_MEMBER_BYTES
from bind.data.sources.shards.indexed import SUFFIX
from bind.data.sources.shards.names import META, escape, member_name
from bind.data.sources.shards.patterns import LISTING, read_listing
from bind.data.sources.shards.tar_index import TarIndex, index_tar
from bind.files.writing import open_atomically, write_bytes, write_text
from bind.types import Clip, Modality, Sample, StoredVector

PACKING_VERSION = 2
"""Part of every plan's hash: raise it where the same files would be packed into other bytes."""

MAX_SUFFIX_BYTES = 64
"""Of what follows the key in a member's name."""


class ChosenSamples(Sequence[Sample]):
    """Some of a sequence of samples, by their places (N,) int64 in it, which are all that is kept of them."""

    def __init__(self, samples: Sequence[Sample], places: np.ndarray) -> None:
        self.samples, self.places = samples, places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> Any:
        return self.samples[int(self.places[index])]


@dataclass(frozen=True)
class ShardPlan:
    """A shard to be written: its name, its samples, and a hash of them, their files' sizes and times of change."""

    name: str
    samples: Sequence[Sample]
    fingerprint: str


def plan_shards(samples: Sequence[Sample], split: str, max_bytes: int, seed: int | None = 0) -> list[ShardPlan]:
    """Cut samples into shards `{split}-000000.tar` … of at most `max_bytes`; a larger sample has one of its own.

    Args:
        samples: of one split; their values are texts and `Clip`s of files.
        seed: of the order of training samples, so that neighbours, which stay together, are not alike; None keeps the
            order. Other splits keep it always.
    """
    order = np.arange(len(samples))
    if split == "train" and seed is not None:
        order = np.random.default_rng([seed, 3]).permutation(len(samples))
    plans: list[ShardPlan] = []
    of_shard: list[int] = []
    num_bytes, digest = 0, _new_digest()

    def close() -> None:
        if of_shard:
            plans.append(
                ShardPlan(
                    f"{split}-{len(plans):06d}.tar", ChosenSamples(samples, np.array(of_shard)), digest.hexdigest()
                )
            )

    for place in order.tolist():
        description, size = _describe(samples[place])
        if of_shard and num_bytes + size + tarfile.RECORDSIZE > max_bytes:
            close()
            of_shard, num_bytes, digest = [], 0, _new_digest()
        of_shard.append(place)
        num_bytes += size
        digest.update(description)
    close()
    return plans


def is_written(plan: ShardPlan, folder: Path) -> bool:
    """Whether `folder` has this shard and its index, of the same samples and files.

    Raises:
        ValueError: where it has a shard of that name that was made of something else.
    """
    tar, index_path = folder / plan.name, _index_path(plan, folder)
    if not index_path.is_file() or not tar.is_file():
        return False
    index = TarIndex.from_bytes(index_path.read_bytes(), str(index_path))
    if index.plan != plan.fingerprint:
        raise ValueError(
            f"{tar}: packed from other samples, files or options. Choose another folder, or delete this one's shards"
        )
    return tar.stat().st_size == index.num_bytes


def write_shard(plan: ShardPlan, folder: Path) -> None:
    """Write a shard and its index, each whole or not at all; equal samples and files give equal bytes.

    Raises:
        ValueError: naming the file that can't be packed.
    """
    with (
        open_atomically(folder / plan.name) as file,
        tarfile.open(fileobj=cast(Any, file), mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, content in (member for sample in plan.samples for member in _members(sample)):
            if len(content) > MAX_MEMBER_BYTES:
                raise ValueError(
                    f"{name} has {len(content)} bytes, up to {MAX_MEMBER_BYTES} are packed. Cut the recording in pieces"
                )
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    with (folder / plan.name).open("rb") as written:
        index, _ = index_tar(written, str(folder / plan.name), plan.fingerprint)
    write_bytes(_index_path(plan, folder), index.to_bytes())


def write_listing(plans: Sequence[ShardPlan], folder: Path) -> None:
    """Name these shards, and those of other splits that were listed before, in a file that makes the folder whole.

    Raises:
        ValueError: where the folder has other shards of these splits.
    """
    names = [plan.name for plan in plans]
    splits = {name.rpartition("-")[0] for name in names}
    present = {path.name for path in folder.glob("*.tar") if path.name.rpartition("-")[0] in splits}
    if unplanned := sorted(present - set(names)):
        raise ValueError(
            f"{folder}: {', '.join(unplanned[:5])} are not of this manifest and these options. Move them elsewhere"
        )
    path = folder / LISTING
    listed = read_listing(path.read_bytes(), str(path)) if path.is_file() else []
    names = [name for name in listed if name.rpartition("-")[0] not in splits] + names
    write_text(path, json.dumps({"shards": names}, indent=1) + "\n")


def _index_path(plan: ShardPlan, folder: Path) -> Path:
    return folder / (plan.name.removesuffix(".tar") + SUFFIX)


def _new_digest() -> Any:
    return hashlib.blake2b(str(PACKING_VERSION).encode(), digest_size=16)


def _describe(sample: Sample) -> tuple[bytes, int]:
    """What a shard's hash depends on, and the bytes that a sample takes at most."""
    facts: list[Any] = [_meta(sample, {})]
    # A header, padding, and for a long name two blocks more and the name's own.
    name_bytes = len(escape(sample.key)) + MAX_SUFFIX_BYTES
    header_bytes = 1024 + (1536 + name_bytes if name_bytes > tarfile.LENGTH_NAME else 0)
    num_bytes = header_bytes + len(json.dumps(facts)) + 100 * sum(map(len, sample.values.values()))
    for modality, values in sample.values.items():
        for value in values:
            if isinstance(value, Clip):
                stat = cast(Path, value.path).stat()
                facts.append([modality, str(value), stat.st_size, stat.st_mtime_ns])
                num_bytes += 2 * header_bytes + max_packed_bytes(value)
            elif isinstance(value, StoredVector):
                facts.append([modality, hashlib.blake2b(value.values.tobytes(), digest_size=16).hexdigest()])
                num_bytes += 2 * header_bytes + value.values.nbytes
            else:
                facts.append([modality, value])
                num_bytes += header_bytes + len(value.encode())
    return json.dumps(facts).encode(), num_bytes


def _meta(sample: Sample, spans: dict[str, list[float | None]]) -> dict[str, Any]:
    labels = {"split": sample.split, "group": sample.group, "label": sample.label, "owners": list(sample.owners)}
    return {"key": sample.key, **{name: value for name, value in {**labels, "spans": spans}.items() if value}}


def _members(sample: Sample) -> list[tuple[str, bytes]]:
    """Names and contents of a sample's members, its metadata first."""
    members: list[tuple[str, bytes]] = []
    spans: dict[str, list[float | None]] = {}
    for modality, values in sample.values.items():
        for number, value in enumerate(values):
            for extension, content in _packed(modality, value):
                name = member_name(sample.key, modality, extension, number if len(values) > 1 else None)
                members.append((name, content))
                if isinstance(value, Clip) and has_span(value) and not is_cut(value):
                    spans[name.removeprefix(escape(sample.key) + ".")] = [value.start_seconds, value.end_seconds]
    meta = json.dumps(_meta(sample, spans), ensure_ascii=False, sort_keys=True).encode()
    return [(f"{escape(sample.key)}.{META}", meta), *members]


def _packed(modality: Modality, value: Any) -> list[tuple[str, bytes]]:
    if isinstance(value, Clip):
        return pack_value(value)
    if isinstance(value, StoredVector):
        content = io.BytesIO()
        np.save(content, value.values)
        return [("npy", content.getvalue())]
    assert modality == "text", modality
    return [("txt", value.encode())]
