"""The job of `bindspace cache`: run the anchor, and frozen encoders, over data before any training does."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence

import torch
from omegaconf import DictConfig

from bind.build import ANY_CLASS, build
from bind.cache.build import CacheOptions, build_cache, cacheable_modalities, format_bytes
from bind.cache.fill import EmbeddingJob, Engine
from bind.cache.lookup import AnchorCache, Place
from bind.cache.store import CacheFolder
from bind.cache.stored_rows import RowsInFiles
from bind.commands.on_ray import connected, spread
from bind.data.sources.splits import require_split
from bind.encoders.trainable import HEAD
from bind.model.frozen import frozen_encoder_of
from bind.report.cells import Cells
from bind.report.terminal_table import print_cells
from bind.runs.interpolations import resolved
from bind.runs.parts import make_sources
from bind.runs.run_config import as_list
from bind.training.lightning_private import is_first_process
from bind.types import FrozenTower, Source


def cache(cfg: DictConfig) -> None:
    """Fill the cache with what a training of the same anchor, frozen encoders and data will look up, and say where.

    Any number of processes may do this at once; each makes parts that no other has begun.

    Raises:
        ValueError: for data, an anchor, an encoder or a place that can't be used, or where nothing can be cached.
    """
    config = resolved(cfg)
    options = CacheOptions.from_config({**config["cache"], "build": True})
    if options.dir is None:
        raise ValueError("cache.dir=null keeps nothing: name a folder")
    sources = list(make_sources(config, ANY_CLASS).values())
    anchor = build(config["anchor"], "anchor", trust=ANY_CLASS)
    splits = as_list(config["split"])
    for split in splits:
        require_split(sources, split, "Choose splits that a source has, such as split=[train]")
    carried = sorted({m for source in sources for m in source.modalities()})
    frozen = [m for m in carried if (config["encoder"].get(m) or {}).get("train") == HEAD]
    wanted = as_list(config["modalities"]) or [*(m for m in anchor.modalities if m not in frozen), *frozen]
    towers = [anchor, *(frozen_encoder_of(config, m, anchor, trust=ANY_CLASS) for m in frozen if m in wanted)]
    places = [
        [
            (position, split, modality)
            for split in splits
            for position, source in enumerate(sources)
            for modality in cacheable_modalities(source, split, wanted, tower)
        ]
        for tower in towers
    ]
    if not any(places):
        raise ValueError(
            f"nothing to cache: the anchor embeds {', '.join(anchor.modalities)}, the data carries "
            f"{', '.join(carried)}, asked for are {', '.join(wanted)}; towers that train "
            f"(anchor.train={list(anchor.trainable)}), encoders without train=head and what is drawn anew at every "
            "step are not kept"
        )
    with connected(config["engine"], config["ray_address"]):
        kind = RayEngine if config["engine"] == "ray" else Engine
        engine = kind(config["batch_size"], config["num_workers"], config["timeout_seconds"])
        for tower, of_tower in zip(towers, places, strict=True):
            if not of_tower:
                continue
            if kind is Engine:
                tower.to(own_device())
            features, show = tower is not anchor, is_first_process()
            filled = build_cache(tower, sources, of_tower, options, engine, features=features, show=show)
            if show:
                print_cells(cells(filled, sources, tower.name))
                for rows in files_of(filled).values():
                    print(rows.folder)


class RayEngine(Engine):
    """Fills parts of the cache on a cluster, each worker by what `Engine` does in one process."""

    def fill(
        self,
        job: EmbeddingJob,
        anchor: FrozenTower,
        folder: CacheFolder,
        parts: Sequence[int],
        advance: Callable[[int], None],
    ) -> bool:
        local = Engine(self.batch_size, self.num_workers, self.timeout_seconds)
        begin = functools.partial(_begin, local, job, anchor, folder)
        num_done = 0
        for num_samples in spread(begin, parts, num_cpus=1 + self.num_workers, use_gpus=True):
            advance(num_samples)
            num_done += num_samples
        return num_done > 0


def _begin(engine: Engine, job: EmbeddingJob, anchor: FrozenTower, folder: CacheFolder) -> Callable[[int], int]:
    """In a worker: the anchor on its device, and the function that fills a part and counts what it has embedded."""
    anchor.to(own_device())

    def fill(part: int) -> int:
        done: list[int] = []
        with folder.open_for_writing(0):
            engine.fill(job, anchor, folder, [part], done.append)
        return sum(done)

    return fill


def own_device() -> torch.device:
    """The GPU of this process among those that a launcher such as torchrun has started here; else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())


def files_of(filled: AnchorCache) -> dict[Place, RowsInFiles]:
    return {place: entry.rows for place, entry in filled.entries.items() if isinstance(entry.rows, RowsInFiles)}


def cells(filled: AnchorCache, sources: list[Source], anchor: str) -> Cells:
    """One row per source, split and modality."""
    sections: dict[str, list[tuple[str, ...]]] = {}
    for (position, split, modality), rows in files_of(filled).items():
        num_samples = len(sources[position].samples(split))
        num_values, num_views, _ = rows.shape
        row = (
            f"{split} {modality}",
            f"{num_samples:,}",
            f"{num_values:,}",
            str(num_views),
            format_bytes(rows.num_bytes()),
        )
        sections.setdefault(sources[position].name, []).append(row)
    return Cells(
        title=f"Anchor cache of {anchor}",
        caption="vectors = values × views; fp16, features of an encoder fp32",
        headers=("", "samples", "values", "views", "on disk"),
        sections=sections,
    )
