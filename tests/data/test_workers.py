import multiprocessing
import signal
import subprocess
import time

import pytest
from torch.utils.data import DataLoader

from bind.data.workers import ignore_stop_signals

pytestmark = pytest.mark.slow  # processes are started


def loader(start_method="fork"):
    return DataLoader(
        list(range(64)),
        num_workers=1,
        batch_size=None,
        worker_init_fn=ignore_stop_signals,
        multiprocessing_context=start_method,
    )


def start(batches_of):
    """An iterator that has given its first batch, and its process."""
    others = multiprocessing.active_children()
    batches = iter(batches_of)
    assert next(batches) == 0
    (worker,) = (process for process in multiprocessing.active_children() if process not in others)
    return batches, worker


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="this system does not tell who sent a signal")
def test_a_signal_to_all_processes_leaves_the_loader_its_workers(number):
    batches, worker = start(loader())
    subprocess.run(["kill", f"-{int(number)}", str(worker.pid)], check=True)  # not from its own parent
    time.sleep(0.2)
    assert worker.is_alive()
    assert list(batches) == list(range(1, 64))


@pytest.mark.parametrize("start_method", ["fork", "forkserver"])
def test_the_training_process_ends_its_workers(start_method):
    batches, worker = start(loader(start_method))
    worker.terminate()
    worker.join(timeout=10)
    assert worker.exitcode == 0
    del batches
