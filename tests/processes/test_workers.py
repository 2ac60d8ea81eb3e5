"""Data workers: batches in order, signals, and workers that are stopped, stuck or dead."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import wait

import pytest
import torch
from torch.utils.data import DataLoader

from bind.processes.workers import PrefetchLoader, explained_worker_death, ignore_stop_signals

pytestmark = pytest.mark.slow  # processes are started


def begin_beside_a_thread(worker_id):
    """As where a library starts threads in every process that is forked: they have every signal open."""
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    ignore_stop_signals(worker_id)


def loader(start_method="fork", begin=ignore_stop_signals):
    return DataLoader(
        list(range(64)),
        num_workers=1,
        batch_size=None,
        worker_init_fn=begin,
        multiprocessing_context=start_method,
    )


def start(batches_of):
    """An iterator that has given its first batch, and its process."""
    others = multiprocessing.active_children()
    batches = iter(batches_of)
    assert next(batches) == 0
    (worker,) = (process for process in multiprocessing.active_children() if process not in others)
    return batches, worker


@pytest.mark.parametrize("begin", [ignore_stop_signals, begin_beside_a_thread])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="this system does not tell who sent a signal")
def test_a_signal_to_all_processes_leaves_the_loader_its_workers(number, begin):
    batches, worker = start(loader(begin=begin))
    subprocess.run(["kill", f"-{int(number)}", str(worker.pid)], check=True)  # not from its own parent
    time.sleep(0.2)
    assert worker.is_alive()
    assert list(batches) == list(range(1, 64))


def test_the_training_process_ends_workers_of_a_fork_server():
    batches, worker = start(loader("forkserver"))
    worker.terminate()
    worker.join(timeout=10)
    assert worker.exitcode == 0
    del batches


AT_FORK = []
os.register_at_fork(after_in_child=lambda: [begin() for begin in AT_FORK])


@pytest.mark.parametrize("library_starts_threads", [False, True])
@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="this system does not tell who sent a signal")
def test_the_training_process_and_nothing_else_ends_its_workers(library_starts_threads, monkeypatch):
    begins = [threading.Thread(target=time.sleep, args=(60,), daemon=True).start] if library_starts_threads else []
    monkeypatch.setattr(sys.modules[__name__], "AT_FORK", begins)
    loader = square_loader(1)
    batches = iter(loader)
    next(batches)
    (worker,) = loader._workers
    subprocess.run(["kill", "-TERM", str(worker.pid)], check=True)  # not from its own parent
    time.sleep(0.2)
    assert worker.is_alive()
    worker.terminate()
    worker.join(timeout=10)
    assert worker.exitcode == 0


class Squares(torch.utils.data.Dataset):
    def __getitem__(self, index):
        if index == 100:
            raise ValueError("no such square")
        return torch.full((4,), index**2)


def square_loader(num_workers, indices=range(8), **options):
    return PrefetchLoader(Squares(), list(indices), num_workers=num_workers, **options)


def squares(batches):
    return [int(batch[0]) for batch in batches]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_come_in_order_in_every_epoch(num_workers):
    batches = square_loader(num_workers, persistent_workers=num_workers > 0)
    assert len(batches) == 8
    for _ in range(3):
        assert squares(batches) == [i**2 for i in range(8)]


def test_an_epoch_left_in_the_middle_does_not_disturb_the_next():
    batches = square_loader(1, persistent_workers=True)
    left = iter(batches)
    next(left), next(left)
    assert squares(batches) == [i**2 for i in range(8)]


def test_the_next_batch_waits_before_it_is_needed():
    batches = square_loader(1)
    iteration = iter(batches)
    next(iteration)
    done, _ = wait([batches._next_batch], timeout=30)
    assert [int(future.result()[0]) for future in done] == [1]
    iteration.close()


def test_what_a_worker_raises_is_raised_in_place_of_its_batch():
    iteration = iter(square_loader(1, [3, 100, 4]))
    assert int(next(iteration)[0]) == 9
    with pytest.raises(ValueError, match="no such square"):
        next(iteration)


class StuckAt(torch.utils.data.Dataset):
    """Numbers; its process stops itself, sleeps, dies or gives what can't be sent when it comes to the fifth."""

    def __init__(self, act):
        self.act = act

    def __getitem__(self, index):
        if index == 4:
            return {
                "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
                "sleep": lambda: time.sleep(60),
                "die": lambda: os.kill(os.getpid(), signal.SIGKILL),
                "can't be sent": lambda: threading.Lock(),
            }[self.act]()
        return index


@pytest.mark.parametrize(
    ("act", "keeps_workers", "message"),
    [
        ("stop", False, r"within timeout_seconds=3: worker 0 \(\d+\) is stopped: find what has stopped it"),
        ("stop", True, r"is stopped"),
        (
            "sleep",
            True,
            r"within timeout_seconds=3: worker 0 \(\d+\) waits for a file, a server or another process: check",
        ),
        ("die", False, r"a data worker has died: .*data\.num_workers=0 loads in the training process"),
        ("can't be sent", True, r"a data worker has died: .*Is /dev/shm full\? docker run --shm-size"),
    ],
)
def test_waiting_for_a_batch_has_an_end_and_a_reason(act, keeps_workers, message, capfd):
    seconds = 3 if act in ("stop", "sleep") else 60
    options = {"timeout_seconds": seconds, "persistent_workers": keeps_workers}
    batches = PrefetchLoader(StuckAt(act), range(8), num_workers=1, **options)
    began = time.monotonic()
    iteration = iter(batches)
    with pytest.raises(ValueError, match=message):
        list(iteration)
    assert time.monotonic() - began < 20
    (worker,) = batches._workers
    worker.join(timeout=10)
    assert worker.exitcode is not None, "it would keep its memory, and this process from ending"
    if act == "can't be sent":
        assert "a batch could not be handed over: cannot pickle" in capfd.readouterr().err


def test_an_iteration_that_is_left_does_not_wait_for_ever(monkeypatch):
    batches = PrefetchLoader(StuckAt("stop"), range(8), num_workers=1, timeout_seconds=2, persistent_workers=True)
    iteration = iter(batches)
    for _ in range(2):  # what is stopped may still hold the last ones that it made
        next(iteration)
    began = time.monotonic()
    iteration.close()
    assert time.monotonic() - began < 10
    with pytest.raises(ValueError, match=r"a data worker has died|no batch came"):
        list(batches)


class LargeDataset(StuckAt):
    """More than a pipe takes, which a spawned worker has to read before it begins."""

    def __init__(self):
        super().__init__("sleep")
        self.content = bytes(2**21)


class Unforkable:
    is_unforkable = True


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (signal.SIGSTOP, r"within timeout_seconds=2: worker 0 \(\d+\) is stopped: find what has stopped it"),
        (signal.SIGKILL, r"a data worker has died"),
    ],
)
def test_a_worker_that_does_not_read_what_it_is_to_load_is_not_waited_for_without_end(number, message):
    sources = [Unforkable()]
    batches = PrefetchLoader(LargeDataset(), range(8), sources=sources, num_workers=1, timeout_seconds=2)
    iteration = iter(batches)
    (worker,) = batches._workers

    @explained_worker_death()  # torch raises in whatever line comes next
    def strike():
        os.kill(worker.pid, number)  # it has only begun, which takes longer
        next(iteration)

    with pytest.raises(ValueError, match=message):
        strike()


def test_a_spawned_worker_has_the_same_dataset():
    sources = [Unforkable()]
    assert list(PrefetchLoader(LargeDataset(), [0, 1, 2], sources=sources, num_workers=1)) == [0, 1, 2]
