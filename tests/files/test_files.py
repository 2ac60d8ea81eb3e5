import os
import re
import stat
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bind.files.reading import reading, require_regular_file
from bind.files.writing import (
    open_atomically,
    open_folder_atomically,
    remove_failed_start,
    remove_partial_files,
    write_bytes,
    write_text,
)

WRITE = """
import sys
from pathlib import Path
from bind.files.writing import open_folder_atomically, write_text
folder = Path(sys.argv[1])
write_text(folder / "metrics.json", "{}")
with open_folder_atomically(folder / "binder") as partial:
    (partial / "weights").write_bytes(b"w")
    (partial / "weights").chmod(0o600)  # as safetensors leaves them
"""


@pytest.mark.slow
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_have_the_permissions_that_the_umask_gives(tmp_path, umask, mode):
    subprocess.run([sys.executable, "-c", WRITE, str(tmp_path)], check=True, umask=umask)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [mode] * 2


def test_text_is_written_as_utf8_with_its_own_line_ends(tmp_path):
    write_text(tmp_path / "a.csv", "straße\r\n\n")
    assert (tmp_path / "a.csv").read_bytes() == b"stra\xc3\x9fe\r\n\n"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_in_the_middle_leaves_the_old_file_and_no_other(tmp_path, error):
    path = tmp_path / "last.ckpt"
    write_bytes(path, b"old")

    def write_half():
        with open_atomically(path) as file:
            file.write(b"half")
            file.flush()
            assert path.read_bytes() == b"old"
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_in_the_middle_leaves_the_old_files_of_a_folder(tmp_path):
    folder = tmp_path / "binder"
    with open_folder_atomically(folder) as partial:
        write_text(partial / "weights", "old")
        (partial / "sub").mkdir()
        write_text(partial / "sub" / "config", "old")
    write_text(folder / "README.md", "of a user")

    def write_half():
        with open_folder_atomically(folder) as partial:
            write_text(partial / "weights", "new")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write_half()
    contents = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert contents == {"weights": "old", "sub/config": "old", "README.md": "of a user"}
    assert not list(folder.glob(".*"))


def test_a_file_is_on_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    path = tmp_path / "metrics.json"
    flushed = []
    monkeypatch.setattr("os.fsync", lambda descriptor: flushed.append((os.fstat(descriptor).st_size, path.exists())))
    write_text(path, "{}")
    assert flushed[0] == (2, False)
    assert len(flushed) == 2  # and its name after it


@pytest.mark.slow
def test_of_concurrent_writers_one_wins_as_a_whole(tmp_path):
    path = tmp_path / "cache.npy"
    contents = [bytes([number]) * 500_000 for number in range(8)]
    with ThreadPoolExecutor(len(contents)) as pool:
        for _ in range(5):
            list(pool.map(lambda content: write_bytes(path, content), contents))
            assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_what_a_killed_process_left_is_deleted_by_name(tmp_path):
    killed = (
        "import os, sys; from pathlib import Path; from bind.files.writing import open_atomically\n"
        "with open_atomically(Path(sys.argv[1])) as file: os.kill(os.getpid(), 9)"
    )
    for name in ("a.npy", "b.npy"):
        subprocess.run([sys.executable, "-c", killed, str(tmp_path / name)], check=False)
    assert len(list(tmp_path.iterdir())) == 2
    remove_partial_files(tmp_path, "a.npy")
    assert [path.name.startswith(".b.npy.") for path in tmp_path.iterdir()] == [True]
    remove_partial_files(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("no numbers"), "no numbers"),
        (ValueError(), "ValueError"),
        (OSError(5, "Input/output error"), "Input/output error"),
        (struct.error("unpack requires a buffer of 4 bytes"), "error: unpack requires a buffer of 4 bytes"),
        (zlib.error("Error -3 while decompressing data"), "error: Error -3 while decompressing data"),
        (EOFError(), "EOFError"),
        (RecursionError("maximum recursion depth exceeded"), "RecursionError: maximum recursion depth exceeded"),
        (MemoryError("Unable to allocate 7.28 TiB"), "MemoryError: Unable to allocate 7.28 TiB"),
        (SyntaxError("broken PNG file"), "SyntaxError: broken PNG file"),
        (OverflowError("int too large to convert to float"), "OverflowError: int too large to convert to float"),
        (KeyError("shape"), "KeyError: 'shape'"),
        (ValueError("first line\nsecond line"), "first line"),
        (ValueError("x" * 10_000), "x" * 300),
    ],
)
def test_whatever_a_decoder_raises_names_the_file_and_the_remedy(tmp_path, error, reason):
    path = tmp_path / "a.bin"
    path.write_bytes(b"")
    message = f"{path}: not readable ({reason}). Write it again"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"), reading(path, "not readable", "Write it again"):
        raise error


def test_a_message_that_names_the_file_stays_as_it_is(tmp_path):
    with pytest.raises(ValueError, match=r"^packed: cut off$"), reading("packed", "not readable"):
        raise ValueError("packed: cut off")


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_what_stops_a_program_passes(stop):
    with pytest.raises(stop), reading("packed", "not readable"):
        raise stop


def test_what_is_no_regular_file_is_refused_before_it_is_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link to a device").symlink_to("/dev/zero")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    places = {
        "pipe": "is a named pipe, not a regular file",
        "folder": "is a folder, not a regular file",
        "link to a device": "is a device, not a regular file",
        "dangling": "no such file",
        "absent": "no such file",
        "a\0b": "not readable",
        "x" * 300: "not readable .*too long",
    }
    for name, problem in places.items():
        path = tmp_path / name
        message = f"^{re.escape(str(path))}: {problem}"
        with pytest.raises(ValueError, match=message), reading(path, "broken"):
            raise AssertionError("the block must not begin")


@pytest.mark.parametrize("left", [[], ["config.yaml", "train.log"], ["logs/"], ["config.yaml", "logs/deep/"]])
def test_a_failed_start_leaves_no_folder(tmp_path, monkeypatch, left):
    monkeypatch.chdir(tmp_path)
    folder = Path("runs/deep/mine")

    @remove_failed_start(folder)
    def start():
        folder.mkdir(parents=True)
        for name in left:
            (folder / name).mkdir(parents=True) if name.endswith("/") else (folder / name).touch()
        raise ValueError("no such file")

    with pytest.raises(ValueError, match="no such"):
        start()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_what_holds_anything_stays_where_a_start_fails(tmp_path, when):
    folder = tmp_path / "runs" / "mine"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("an earlier run's") if when == "before" else None

    @remove_failed_start(folder)
    def start():
        (folder / "last.ckpt").touch() if when == "meanwhile" else None
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        start()
    assert len(list(folder.iterdir())) == 1


def test_the_current_folder_stays_and_so_do_those_above_it(tmp_path, monkeypatch):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    for folder in (Path(), inner, tmp_path / "a"):
        with pytest.raises(ValueError, match="x"), remove_failed_start(folder):
            raise ValueError("x")
    assert inner.is_dir()
    with remove_failed_start(inner / "c"):  # nothing failed
        (inner / "c").mkdir()
    assert (inner / "c").is_dir()


def test_a_file_under_a_name_that_looks_the_same_is_named(tmp_path):
    (tmp_path / "Zoe\u0308.wav").touch()
    with pytest.raises(
        ValueError, match=r"no such file, but one whose name is in Unicode's decomposed form.*Zoe\\u0308"
    ):
        require_regular_file(tmp_path / "Zo\u00eb.wav")
    with pytest.raises(ValueError, match=r"Zoe\.wav: no such file\. Check the path"):
        require_regular_file(tmp_path / "Zoe.wav")
