import time

import pytest
import torch


@pytest.fixture(scope="session")
def ranks(tmp_path_factory):
    """Results of every case of `two_ranks`, one dict per rank."""
    import two_ranks

    folder = tmp_path_factory.mktemp("two_ranks")
    context = torch.multiprocessing.spawn(two_ranks.main, (str(folder),), nprocs=two_ranks.WORLD_SIZE, join=False)
    deadline = time.monotonic() + 200
    try:
        while not context.join(timeout=1):
            assert time.monotonic() < deadline, "two processes wait for each other: a collective is not met by both"
    finally:
        for process in context.processes:
            process.kill()
    return [torch.load(folder / f"rank{r}.pt") for r in range(two_ranks.WORLD_SIZE)]
