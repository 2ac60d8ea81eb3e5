"""Builder of a mixture's feature cache: opens what is there, computes what is not, on any number of processes."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from bind.cache.fill import EmbeddingJob, Engine
from bind.cache.lookup import AnchorCache, CachedEmbeddings, Place, RowsInMemory, hash_keys, index_keys
from bind.cache.origin import PART_SIZE, Origin
from bind.cache.own_code import hash_own_code
from bind.cache.store import CacheFolder
from bind.files.plain_data import read_json, require_kinds
from bind.media.readers import describe_readers
from bind.media.views import VIEW_RECIPE
from bind.processes.states import describe_processes
from bind.types import ColumnarSamples, FrozenTower, GeneratedSource, Modality, Source

log = logging.getLogger("bind")

POLL_SECONDS = 0.5
AUGMENTED = "plain, then as the transform draws them in training"


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """The `cache` part of a config.

    Args:
        dir: folder of all caches; None keeps vectors in memory, for this process and run.
        features: keep those of frozen encoders; False runs them at every step.
        views: of every training picture, see `bind.media.views`, and of every training value of a frozen encoder.
        build: embed what is missing; False refuses to start without a finished cache.
        verify: compare every part with its checksum when it is opened, instead of at its first use.
        part_size: samples that are written at a time, and lost at most where a process is killed.
    """

    dir: Path | None = None
    views: int = 1
    build: bool = True
    verify: bool = False
    part_size: int = PART_SIZE
    features: bool = True

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> CacheOptions:
        """Take a config's plain values; ValueError for views that are no count."""
        folder, views = config["dir"], config["views"]
        if not isinstance(views, int) or views < 1:
            raise ValueError(f"cache.views={views}: give a number of views per picture, 1 for the plain one")
        return cls(
            None if folder is None else Path(folder).expanduser().resolve(),
            views,
            config["build"],
            config.get("verify", False),
            features=config.get("features", True),
        )


def cacheable_modalities(
    source: Source, split: str, modalities: Iterable[Modality], anchor: FrozenTower
) -> list[Modality]:
    """Those of `modalities` whose vectors stay the same: of a frozen tower, of values that are not drawn afresh."""
    if not source.samples(split):
        return []
    fresh = source.fresh if split == "train" and isinstance(source, GeneratedSource) else ()
    frozen = [m for m in anchor.modalities if m not in anchor.trainable and m not in fresh]
    return [m for m in modalities if m in frozen and m in source.modalities()]


def build_cache(
    anchor: FrozenTower,
    sources: Sequence[Source],
    places: Iterable[Place],
    options: CacheOptions,
    engine: Engine,
    *,
    features: bool = False,
    show: bool = True,
) -> AnchorCache:
    """Open what is cached of `places` and embed what is missing, each once on one of the processes.

    Args:
        anchor: its towers run on its device.
        sources: the mixture.
        places: what to cache of it.
        options: where, and how many views.
        engine: how batches are run.
        features: what the towers give has any length, as the features of frozen encoders do; False: unit vectors.
        show: progress bar, and why a cache that comes close can't be used.

    Raises:
        ValueError: for a tower that trains; a cache that is stale, foreign, damaged or not to be built; a place that
            can't be written or has no room; two keys with one hash.
    """
    places = list(places)
    if opened := sorted({m for _, _, m in places} & set(anchor.trainable)):
        raise ValueError(f"anchor.train={opened}: embeddings of towers that train can't be cached")
    fingerprint = anchor.fingerprint if places and options.dir else ""
    entries, num_finished = {}, 0
    with _progress(show) as progress:
        for position, split, modality in places:
            source = sources[position]
            num_views = options.views if split == "train" and (features or modality == "image") else 1
            job = EmbeddingJob(source, split, modality, anchor.transforms[modality], num_views, features)
            filler = _PlaceFiller(job, anchor, engine, progress)
            if options.dir is None:
                entries[position, split, modality] = filler.fill_memory()
                continue
            origin = Origin(
                anchor=anchor.name,
                source=source.name,
                anchor_fingerprint=fingerprint,
                content=source.content_hash(split, modality),
                split=split,
                modality=modality,
                num_samples=len(source.samples(split)),
                num_views=num_views,
                views="plain" if num_views == 1 else AUGMENTED if features else VIEW_RECIPE,
                dim=anchor.dim,
                part_size=options.part_size,
                readers=describe_readers(modality),
                dtype=job.dtype.str,
                code=hash_own_code(anchor, modality),
            )
            folder = CacheFolder(options.dir, origin)
            if folder.is_finished:
                num_finished += 1
            else:
                _report_unusable(folder, options, show)
                filler.fill_folder(folder)
            entry = folder.open()
            if options.verify:
                entry.rows.verify()
            entries[position, split, modality] = entry
    if show and options.dir and places:
        log.info(
            "%s cache: %d of %d parts (source, split, modality) were there already, in %s",
            "feature" if features else "anchor",
            num_finished,
            len(places),
            options.dir,
        )
    return AnchorCache(entries)


def _report_unusable(folder: CacheFolder, options: CacheOptions, show: bool) -> None:
    """Log why `folder` is to be filled although others are there; with `build=False` raise it as ValueError."""
    assert options.dir is not None
    if not options.build:
        other = _closest_other(options.dir, folder.origin)
        raise ValueError(
            f"cache.build=false, but {options.dir} has no finished vectors of {folder.origin.modality} of "
            f"{folder.origin.split}{f': {other}' if other else ''}. Run bindspace cache with this anchor and data, or "
            "set cache.build=true"
        )
    # That another anchor has other vectors is no news.
    if show and (other := _closest_other(options.dir, folder.origin, anchor=folder.origin.anchor)):
        log.info("anchor cache: %s; it stays there, unused", other)


class _PlaceFiller:
    """Fills one place of the cache, with a progress bar."""

    def __init__(self, job: EmbeddingJob, anchor: FrozenTower, engine: Engine, progress: Progress) -> None:
        self.job, self.anchor, self.engine, self.progress = job, anchor, engine, progress
        self.samples = job.source.samples(job.split)
        self.task: TaskID | None = None

    @property
    def num_bytes(self) -> int:
        """Of the vectors; a source that makes values on request counts with one per sample."""
        samples, modality = self.samples, self.job.modality
        if isinstance(samples, ColumnarSamples):
            num_values = samples.count_values(modality)
        else:
            num_values = sum(len(sample.values.get(modality, ())) for sample in samples)
        return (num_values or len(self.samples)) * self.job.num_views * self.anchor.dim * self.job.dtype.itemsize

    @contextlib.contextmanager
    def _started(self, where: str) -> Iterator[np.ndarray]:
        """The hashes (N,) of the samples' keys; two with one hash are refused before any work."""
        hashes_N = hash_keys(self.samples)
        kind = "features" if self.job.features else "anchor"
        title = f"{kind}: {self.job.modality} of {self.job.split}, {format_bytes(self.num_bytes)} → {where}"
        self.task = self.progress.add_task(title, total=len(hashes_N))
        yield hashes_N
        self.progress.remove_task(self.task)

    def _advance(self, num_samples: int) -> None:
        assert self.task is not None
        self.progress.advance(self.task, num_samples)

    def fill_memory(self) -> CachedEmbeddings:
        with self._started("memory") as hashes_N:
            parts = self.engine.embed_parts(self.job, self.anchor, [0], [len(hashes_N)], self._advance)
            [part] = parts
        clips = None if (part.clips_R == 1).all() else part.clips_R
        return CachedEmbeddings(*index_keys(hashes_N, part.counts), RowsInMemory(part.vectors_RKD), clips)

    def fill_folder(self, folder: CacheFolder) -> None:
        left = self.num_bytes * len(folder.missing_parts()) // len(folder.sizes)
        with self._started(str(folder.path)) as hashes_N, folder.open_for_writing(left):
            seen: dict[int, dict[str, Any]] = {}
            waited_seconds = 0.0
            while missing := folder.missing_parts():
                num_done = sum(folder.sizes) - sum(folder.sizes[part] for part in missing)
                assert self.task is not None
                self.progress.update(self.task, completed=num_done)
                if self.engine.fill(self.job, self.anchor, folder, missing, self._advance):
                    continue
                # What is missing is being made by other processes.
                if (now := {part: folder.signs_of_life(part) for part in missing}) != seen:
                    seen, waited_seconds = now, 0.0
                elif waited_seconds > self.engine.timeout_seconds:
                    raise ValueError(self._reason_of_delay(folder, seen))
                time.sleep(POLL_SECONDS)
                waited_seconds += POLL_SECONDS  # not by the clock: this process may have been stopped itself
            if self.job.source.content_hash(self.job.split, self.job.modality) != folder.origin.content:
                folder.discard()
                raise ValueError(
                    f"{self.job.source.name}: {self.job.modality} of {self.job.split} has changed while its vectors "
                    "were computed, so they were deleted. Start again when nothing writes to the data any more"
                )
            folder.finish(hashes_N)

    def _reason_of_delay(self, folder: CacheFolder, signs: Mapping[int, Mapping[str, Any]]) -> str:
        others = {(sign.get("pid"), sign.get("host")) for sign in signs.values()}
        here = {f"process {pid}": pid for pid, host in others if isinstance(pid, int) and host == socket.gethostname()}
        away = [f"process {pid or 'unknown'} on {host or 'an unknown host'}" for pid, host in others]
        doing = describe_processes(here) if here else f"{', '.join(away)} does not answer: end it there"
        return (
            f"{folder.path}: another process embeds {self.job.modality} of {self.job.split} into it, and has not "
            f"gone on within timeout_seconds={self.engine.timeout_seconds:g}: {doing}. When it has ended, start again: "
            "finished parts stay"
        )


def _closest_other(root: Path, origin: Origin, anchor: str | None = None) -> str:
    """What the closest folder of a source of this name, split and modality was made from; "" where there is none.

    With `anchor`, of those of an anchor of this name.
    """
    others = []
    for about in root.glob(f"*/{origin.split}-{origin.modality}-*/about.json"):
        described = require_kinds(read_json(about), {}, str(about))
        is_alike = described.get("source") == origin.source and anchor in (None, described.get("anchor"))
        if about.parent != root / origin.folder_name and is_alike:
            others.append((origin.differences(described), about.parent))
    if not others:
        return ""
    differences, folder = min(others, key=lambda other: (len(other[0]), str(other[1])))
    return f"{folder} was made from {' and '.join(differences)}"


def format_bytes(num_bytes: int) -> str:
    """Such as `8.2 MB`."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= size:
            return f"{num_bytes / size:.1f} {unit}"
    return f"{num_bytes} bytes"


def _progress(show: bool) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, transient=True, disable=not show)
