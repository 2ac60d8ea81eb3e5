import os
import select
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist

from bind.training.callbacks import processes
from bind.training.callbacks.processes import FOLDER, stop_all_ranks_together
from bind.training.callbacks.stop import TrainingStopped
from bind.training.trainer import plain_errors

pytestmark = pytest.mark.slow  # processes are started


@pytest.fixture
def launcher(monkeypatch):
    """Has one process, which sleeps; `started(code)` gives it another one."""
    monkeypatch.setattr(processes, "GRACE_SECONDS", 0.5)
    monkeypatch.setattr(processes, "POLL_SECONDS", 0.05)
    made = SimpleNamespace(procs=[])
    made.start = lambda code: made.procs.append(subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE))
    made.start("import time; time.sleep(600)")
    yield made
    for process in made.procs:
        process.kill()
        process.wait()
        process.stdout.close()


def lost(process, after_seconds=0.0):
    process.wait()
    time.sleep(after_seconds)
    raise RuntimeError("connection closed by peer")


def hint():
    return ""


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "process 2 was killed by SIGKILL; is there enough"),
        ("raise SystemExit(3)", "process 2 ended with status 3, see above"),
        (
            f"import os, pathlib; pathlib.Path(os.environ['{FOLDER}'], '2').write_text('a file'); exit(1)",
            "process 2: a file",
        ),
        (  # one that takes long to end
            f"import os, pathlib, time; pathlib.Path(os.environ['{FOLDER}'], '2').write_text('a file'); time.sleep(99)",
            "process 2: a file",
        ),
    ],
)
def test_the_error_of_another_process_is_raised_and_not_its_echo(code, message, launcher):
    def train():
        launcher.start(code)
        folder = Path(os.environ[FOLDER])
        while launcher.procs[1].poll() is None and not any(path.stat().st_size for path in folder.iterdir()):
            time.sleep(0.02)
        raise RuntimeError("connection closed by peer")

    with pytest.raises(ValueError, match=message), stop_all_ranks_together(launcher, hint):
        train()
    assert launcher.procs[0].wait(timeout=10) < 0, "the others are left running"
    assert FOLDER not in os.environ


@pytest.mark.parametrize("error", [ValueError("own"), RuntimeError("own"), SystemExit(1)])
def test_an_error_of_its_own_is_raised_as_it_is(error, launcher):
    with pytest.raises(type(error)) as raised, stop_all_ranks_together(launcher, hint):
        raise error
    assert raised.value is error
    assert launcher.procs[0].wait(timeout=10) < 0


def test_a_process_that_hangs_is_ended_with_the_error_of_the_other(launcher, monkeypatch, capfd):
    ended = threading.Event()
    monkeypatch.setattr(os, "_exit", lambda status: ended.set() if status == 1 else None)
    with stop_all_ranks_together(launcher, lambda: "\ngo on with this"):
        launcher.start("raise SystemExit(3)")
        assert ended.wait(timeout=10)
    assert capfd.readouterr().err.endswith("error: process 2 ended with status 3, see above\ngo on with this\n")


def test_a_stop_waits_for_the_others_to_end(launcher):
    launcher.procs.pop().kill()  # the one that sleeps
    launcher.start("import time; time.sleep(0.3); print('saved')")
    with pytest.raises(TrainingStopped), stop_all_ranks_together(launcher, hint):
        raise TrainingStopped("SIGTERM", 3)
    assert launcher.procs[0].stdout.read() == b"saved\n"


def test_another_process_leaves_its_error_for_the_first_one(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(SystemExit) as stopped, stop_all_ranks_together(SimpleNamespace(procs=[]), hint):
        raise ValueError("a file is broken")
    assert stopped.value.code == 1
    assert (tmp_path / "1").read_text() == "a file is broken"


FIRST = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
ANOTHER = """
import time
from datetime import timedelta
from types import SimpleNamespace
from bind.training.callbacks import processes
processes.GRACE_SECONDS = processes.POLL_SECONDS = 0.1
with processes.stop_all_ranks_together(SimpleNamespace(procs=[]), str):
    print("waits", flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
def test_another_process_ends_when_the_first_one_is_gone(tmp_path):
    environment = {**os.environ, FOLDER: str(tmp_path), "LOCAL_RANK": "1"}
    command = [sys.executable, "-c", FIRST, ANOTHER]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as first:
        assert first.stdout.readline() == b"waits\n"
        time.sleep(0.5)  # it stays as long as the first one is there
        assert not select.select([first.stdout], [], [], 0)[0]
        first.kill()
        assert first.communicate(timeout=20)[0] == b"", "its end of the pipe closes when it has ended"


RANK = """
import datetime, os, signal, sys
import torch
import torch.distributed as dist
print("ready", flush=True)
sys.stdin.readline()
rank = int(sys.argv[2])
dist.init_process_group("gloo", init_method="file://" + sys.argv[1], rank=rank, world_size=2)
dist.all_reduce(torch.ones(1))
os.kill(os.getpid(), signal.SIGSTOP)
os._exit(0)  # gloo's threads may abort a process that tears them down while the other side hangs up
"""


@pytest.fixture
def stopped_rank(tmp_path):
    """Be one of two processes, of which the other one is stopped in the middle of the work; a function of its rank."""
    started = []

    def start(rank):
        command = [sys.executable, "-c", RANK, str(tmp_path / "store"), str(rank)]
        other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(other)
        assert other.stdout.readline() == "ready\n"
        other.stdin.write("\n")
        other.stdin.flush()
        init_method = f"file://{tmp_path / 'store'}"
        dist.init_process_group("gloo", init_method, timedelta(seconds=5), rank=1 - rank, world_size=2)
        dist.all_reduce(torch.ones(1))
        return other

    yield start
    dist.destroy_process_group()
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.ranks
def test_the_first_process_says_which_one_is_stopped_and_ends_it(stopped_rank):
    other = stopped_rank(rank=1)
    told = rf"another process .* within timeout_seconds: process 1 \({other.pid}\) is stopped: find what has stopped it"
    launcher = SimpleNamespace(procs=[other])
    with pytest.raises(ValueError, match=told), stop_all_ranks_together(launcher, hint), plain_errors():
        dist.all_reduce(torch.ones(1))
    assert other.wait(timeout=10) == -signal.SIGKILL


@pytest.mark.ranks
def test_where_the_first_process_is_stopped_another_one_says_so_and_wakes_it(
    stopped_rank, tmp_path, monkeypatch, capfd
):
    other = stopped_rank(rank=0)
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(os, "getppid", lambda: other.pid)
    with pytest.raises(SystemExit), stop_all_ranks_together(SimpleNamespace(procs=[]), hint), plain_errors():
        dist.all_reduce(torch.ones(1))
    told = f"process 0 ({other.pid}) is stopped: find what has stopped it"
    assert told in capfd.readouterr().err
    assert told in (tmp_path / "1").read_text()
    assert other.wait(timeout=10) == 0, "it goes on, to its end"


def test_a_stop_does_not_wait_for_ever_for_the_others(launcher):
    began = time.monotonic()
    with pytest.raises(TrainingStopped), stop_all_ranks_together(launcher, hint, timeout_seconds=0.5):
        raise TrainingStopped("SIGTERM", 3)
    assert time.monotonic() - began < 10
    assert launcher.procs[0].wait(timeout=10) < 0


def test_lightning_no_longer_kills_the_first_process(launcher):
    """Its observer would, without a word."""
    from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver

    launcher.start("raise SystemExit(3)")
    launcher.procs[1].wait()
    killed = []
    observer = _ChildProcessObserver(os.getpid(), launcher.procs, sleep_period=0.6)
    observer._terminate_all = lambda: killed.append(True)
    observer.start()
    with pytest.raises(ValueError, match="process 2"), stop_all_ranks_together(launcher, hint):
        lost(launcher.procs[1], after_seconds=0.3)
    observer.join(timeout=10)
    assert not killed
