"""Folders that one process owns, and what a second one is told."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from bind.files.locks import LOCK, FolderInUseError, lock_folder

HOLD = """
import sys, time
from pathlib import Path
from bind.files.locks import lock_folder
with lock_folder(Path(sys.argv[1]), "wait", files=sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def hold(tmp_path):
    """Start a process that owns `tmp_path`, or its files of a name."""
    processes = []

    def start(files=""):
        command = [sys.executable, "-c", HOLD, str(tmp_path), files]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert processes[-1].stdout.readline() == "held\n"
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def is_refused(folder, files=""):
    try:
        with lock_folder(folder, "wait", files=files):
            return False
    except FolderInUseError:
        return True


@pytest.mark.slow
def test_a_second_process_learns_which_one_owns_the_folder_and_gets_it_when_that_is_killed(hold, tmp_path):
    holder = hold()
    said = rf"in use by process {holder.pid} on {socket.gethostname()}: choose another folder"
    with pytest.raises(FolderInUseError, match=said), lock_folder(tmp_path, "choose another folder"):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with lock_folder(tmp_path, "choose another folder"):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert not (tmp_path / LOCK).exists()


@pytest.mark.slow
def test_files_of_one_name_are_owned_beside_those_of_another_and_never_beside_the_whole_folder(hold, tmp_path):
    holder = hold("probe")
    assert is_refused(tmp_path)
    assert is_refused(tmp_path, "probe")
    assert not is_refused(tmp_path, "robustness")
    said = rf"in use by process {holder.pid} on {socket.gethostname()}"
    with pytest.raises(FolderInUseError, match=said), lock_folder(tmp_path, "wait"):
        pass
    holder.kill()
    holder.wait()
    assert not is_refused(tmp_path), "what a killed process has left does not count"
    assert not is_refused(tmp_path, "probe")
    hold()
    assert is_refused(tmp_path, "robustness")


def test_a_process_does_not_get_twice_what_it_owns(tmp_path):
    """The kernel would grant it, and end the first lock with the second."""
    with lock_folder(tmp_path, "wait"):
        assert is_refused(tmp_path)
        assert is_refused(tmp_path, "probe")
    with lock_folder(tmp_path, "wait", files="probe"):
        assert is_refused(tmp_path)
        assert not is_refused(tmp_path, "robustness")
    assert not is_refused(tmp_path)


@pytest.mark.slow
def test_of_many_that_start_at_once_one_at_a_time_owns_the_folder(tmp_path):
    script = HOLD.replace("time.sleep(60)", "time.sleep(0.2)")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), ""], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(4)
    ]
    outcomes = [(process.communicate(), process.returncode) for process in processes]
    assert any(status == 0 for _, status in outcomes)
    for (_, err), status in outcomes:
        assert status == 0 or b"FolderInUseError" in err


def test_the_lock_ends_with_the_block_whatever_ends_it(tmp_path):
    with pytest.raises(KeyError), lock_folder(tmp_path / "new", "wait"):
        raise KeyError
    with lock_folder(tmp_path / "new", "wait"):
        pass
    assert not list((tmp_path / "new").iterdir())


def without_locks(*args):
    raise OSError(errno.ENOLCK, "No locks available")


@pytest.mark.parametrize("owner", [{"pid": 1, "host": socket.gethostname()}, {"pid": 5, "host": "another"}])
def test_without_locks_a_living_process_is_respected(owner, tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "lockf", without_locks)
    (tmp_path / LOCK).write_text(json.dumps(owner))
    with pytest.raises(FolderInUseError, match=f"process {owner['pid']} on"), lock_folder(tmp_path, "wait"):
        pass


@pytest.mark.slow
def test_without_locks_it_says_so_and_a_dead_process_does_not_count(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(fcntl, "lockf", without_locks)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for text in (json.dumps({"pid": dead.pid, "host": socket.gethostname()}), "", "half a li", "[]"):
        (tmp_path / LOCK).write_text(text)
        with lock_folder(tmp_path, "wait"):
            assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert "no locks on this file system" in caplog.text
