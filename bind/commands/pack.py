"""`bindspace pack`: a manifest becomes WebDataset tars with an index beside each."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from omegaconf import DictConfig
from rich.progress import track

from bind.commands.on_ray import connected, spread
from bind.data.sources.manifest import ManifestSource
from bind.data.sources.shards.writer import ShardPlan, is_written, plan_shards, write_listing, write_shard
from bind.data.sources.splits import require_split
from bind.files.locks import lock_folder
from bind.files.writing import remove_partial_files
from bind.runs.run_config import as_list

MEGABYTE = 1_000_000


def pack(cfg: DictConfig) -> None:
    """Pack the splits of a manifest into `out`; a second call goes on where the first was stopped.

    Raises:
        ValueError: for the manifest, a file that can't be packed, or a folder that holds something else.
    """
    if cfg.shard_megabytes <= 0:
        raise ValueError(f"shard_megabytes={cfg.shard_megabytes}: give a size above 0")
    source = ManifestSource(cfg.manifest, known=as_list(cfg.known))
    splits = [cfg.split] if cfg.split else source.splits
    for split in splits:
        require_split([source], split, "Choose a split that it has, or leave split= out for all of them")
    folder = Path(cfg.out)
    with lock_folder(folder, "wait until it has packed, or choose another out="):
        pack_into(folder, source, splits, cfg)


def pack_into(folder: Path, source: ManifestSource, splits: Sequence[str], cfg: DictConfig) -> None:
    """Write the shards of these splits that `folder` lacks, and the list of all."""
    max_bytes = int(cfg.shard_megabytes * MEGABYTE)
    remove_partial_files(folder)
    plans = [plan for s in splits for plan in plan_shards(source.samples(s), s, max_bytes, cfg.shuffle_seed)]
    todo = [plan for plan in plans if not is_written(plan, folder)]
    with connected(cfg.engine, cfg.ray_address):
        begin = functools.partial(_begin, folder)
        done = spread(begin, todo, num_cpus=1) if cfg.engine == "ray" else map(begin(), todo)
        for _ in track(done, f"pack {source.name}", total=len(todo), transient=True, disable=not sys.stdout.isatty()):
            pass
    remove_partial_files(folder)
    write_listing(plans, folder)
    num_samples = sum(len(plan.samples) for plan in plans)
    num_bytes = sum((folder / plan.name).stat().st_size for plan in plans)
    already = f" ({len(plans) - len(todo)} were there)" if len(todo) < len(plans) else ""
    print(f"{num_samples} samples in {len(plans)} shards{already}, {num_bytes / MEGABYTE:.1f} MB: {folder}")


def _begin(folder: Path) -> Callable[[ShardPlan], int]:
    """In a worker: the function that writes a shard and counts it."""

    def write(plan: ShardPlan) -> int:
        write_shard(plan, folder)
        return 1

    return write
