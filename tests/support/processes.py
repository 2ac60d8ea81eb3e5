"""Starts the gloo processes of a test and brings home what each of them found."""

import datetime
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

IMPORTED_ONCE = ["support.loss_cases", "support.two_ranks", "support.cache_cases"]
"""By the server that every process of the tests is a fork of: importing torch takes longer than what they do."""


def run(cases: Callable[[int, int], Any], world_size: int, folder: Path) -> list[Any]:
    """What `cases(rank, world_size)` returned on each rank; it must be importable by name."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(IMPORTED_ONCE)
    context = torch.multiprocessing.start_processes(
        _main, (cases, world_size, str(folder)), nprocs=world_size, join=False, start_method="forkserver"
    )
    deadline = time.monotonic() + 200
    try:
        while not context.join(timeout=1):
            assert time.monotonic() < deadline, "processes wait for each other: a collective is not met by all"
    finally:
        for process in context.processes:
            process.kill()
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(world_size)]


def _main(rank: int, cases: Callable[[int, int], Any], world_size: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=world_size,
        timeout=datetime.timedelta(seconds=60),
    )
    results = cases(rank, world_size)
    dist.destroy_process_group()
    torch.save(results, Path(folder) / f"rank{rank}.pt")
