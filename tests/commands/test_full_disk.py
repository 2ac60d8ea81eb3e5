"""Disks that are full, gone or can't be written, at the real writers of the commands: the file and what to do."""

import contextlib
import errno
import os
import resource
import shutil

import pytest
from support import runs
from support.runs import assigned

from bind.commands.cli import main
from bind.files.reading import REMEDIES, explain_os_error
from bind.files.writing import write_text
from bind.model.binder import Binder


def said(number, file):
    return f"{file}: {os.strerror(number)}; {REMEDIES[number]}"


def message_of(write):
    with pytest.raises(OSError, match=r"\[Errno \d+\]") as error:
        write()
    return explain_os_error(error.value)


TRAIN = ["data=manifest", "data.manifest={manifest}", "run_dir={out}/run", *assigned(runs.RECORDED)]
COMMANDS = {
    "train": (TRAIN, "run/config.yaml"),
    "evaluate": (["run={run}"], "{run}/metrics.json"),
    "probe": (["run={run}", "k=[1]", "draws=1"], "{run}/probe.json"),
    "embed": (["run={run}", "manifest={manifest}", "out={out}/a.parquet"], "a.parquet"),
    "compare": (["{run}", "{run}", "--out", "{out}/a.json"], "a.json"),
    "pack": (["manifest={manifest}", "out={out}/shards"], "shards/train-000000.tar"),
    "sensor-import": (["wisdm", "{out}/walk.txt", "--out", "{out}"], "walk.parquet"),
    "doctor": (["{manifest}", "--anchor", "none", "--json", "{out}/a.json"], "a.json"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_names_the_file_that_it_could_not_write(
    name, recordings, recorded_run, tmp_path, as_command, capfd, monkeypatch
):
    """On a disk that is full when a file is flushed to it: then the system names none."""

    def fail(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    arguments, file = COMMANDS[name]
    lines = [f"3,Walking,{20_000_000 * (1 + i)},{i % 7},{9 + i % 2},1;" for i in range(300)]
    (tmp_path / "walk.txt").write_text("\n".join(lines) + "\n")
    run = shutil.copytree(recorded_run, tmp_path / "copy")
    places = {"manifest": recordings, "out": tmp_path, "run": run}
    monkeypatch.setattr(os, "fsync", fail)
    assert as_command(main, name, *(argument.format(**places) for argument in arguments)) == 1
    err = capfd.readouterr().err
    assert said(errno.ENOSPC, tmp_path / file.format(**places)) in err
    assert "Traceback" not in err


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_file_that_can_not_be_made_is_named_and_not_the_temporary_one(number, tmp_path, monkeypatch):
    """Both are what root is spared."""

    def refuse(self, mode="r", *args, **options):
        raise OSError(number, os.strerror(number), str(self))

    path = tmp_path / "a.json"
    monkeypatch.setattr(type(path), "open", refuse)
    assert message_of(lambda: write_text(path, "{}")) == said(number, path)


def test_a_name_that_is_too_long_is_named(tmp_path):
    path = tmp_path / ("x" * 300)
    assert message_of(lambda: write_text(path, "{}")) == said(errno.ENAMETOOLONG, path)


@contextlib.contextmanager
def files_of_at_most(num_bytes):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
def test_a_binder_that_does_not_fit_names_its_folder(recorded_run, tmp_path):
    """safetensors has errors of its own for it."""
    binder = Binder.load(recorded_run)
    with files_of_at_most(1000):
        assert message_of(lambda: binder.save(tmp_path / "binder")) == said(errno.EFBIG, tmp_path / "binder")
    assert list((tmp_path / "binder").iterdir()) == []


def test_what_was_there_stays_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "a.json"
    write_text(path, "old")
    with files_of_at_most(1000):
        assert message_of(lambda: write_text(path, "x" * 10_000)) == said(errno.EFBIG, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_open_file_that_the_system_does_not_name_is_found(tmp_path):
    def read(path):
        with path.open("rb") as file:
            assert file
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    (tmp_path / "a.bin").write_bytes(b"")
    assert message_of(lambda: read(tmp_path / "a.bin")) == said(errno.ESTALE, tmp_path / "a.bin")
