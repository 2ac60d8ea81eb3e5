"""A run of somebody else is data: no place that its config names is read or written unless the user names it too."""

import os
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bind.files.locks import LOCK, lock_folder
from bind.runs import ownership
from bind.runs.ownership import confined, is_own, is_trusted_place, marked, refuse_links, unmarked

CONFIG = {
    "data": {
        "num_workers": 2,
        "sources": {"table": {"_target_": "bind.data.sources.manifest.ManifestSource", "manifest": "/data/a.csv"}},
        "manifests": {},
    },
    "evaluation": {"num_scatter_samples": 300},
    "cache": {"dir": "/home/somebody/cache", "views": 1},
    "seed": 4_000_000_000,
}


@pytest.fixture(autouse=True)
def key_folder(tmp_path, monkeypatch):
    """Keys of these tests alone."""
    monkeypatch.setenv("BINDSPACE_CACHE", str(tmp_path / "keys"))
    return tmp_path / "keys"


@pytest.fixture
def run_dir(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def write(run_dir, text="seed: 0\n", own=True):
    (run_dir / "config.yaml").write_text(marked(text) if own else text)


def test_what_this_account_wrote_is_its_own_wherever_it_lies(run_dir, tmp_path):
    write(run_dir)
    assert is_own(run_dir)
    shutil.copytree(run_dir, tmp_path / "moved")
    assert is_own(tmp_path / "moved")
    assert confined(CONFIG, run_dir, ()) is CONFIG


@pytest.mark.slow
@given(place=st.integers(0, 10**4), bit=st.integers(0, 7))
def test_any_change_makes_it_somebody_elses(tmp_path_factory, place, bit):
    folder = tmp_path_factory.mktemp("run")
    content = bytearray(marked("data: {manifest: /data/a.csv}\nseed: 0\n").encode())
    assert content.count(b"\n") == 3
    content[place % (len(content) - 1)] ^= 1 << bit  # the line's end alone is no part
    (folder / "config.yaml").write_bytes(content)
    assert not is_own(folder)


@pytest.mark.parametrize("text", ["", "seed: 0\n", "seed: 0\n\n\n", f"a: '{ownership.MARK}0'\n", "ä: [1, 2]\n"])
def test_the_mark_is_a_comment_at_the_end(run_dir, text):
    write(run_dir, text)
    assert is_own(run_dir)
    content = (run_dir / "config.yaml").read_text()
    assert unmarked(content) == f"{text.rstrip()}\n"
    assert content.splitlines()[-1].startswith("# ")
    assert unmarked("seed: 0\n") == "seed: 0\n"


def test_the_mark_of_another_account_is_none(run_dir, key_folder, monkeypatch, tmp_path):
    write(run_dir)
    monkeypatch.setenv("BINDSPACE_CACHE", str(tmp_path / "other"))
    assert not is_own(run_dir), "an account without a key"
    marked("seed: 0\n")
    assert not is_own(run_dir), "an account with another key"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622])
def test_a_key_that_others_can_read_or_write_is_none(run_dir, key_folder, mode):
    write(run_dir)
    (key,) = key_folder.iterdir()
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(mode)
    assert not is_own(run_dir)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "short"])
def test_what_is_no_key_is_none(run_dir, key_folder, kind, tmp_path):
    write(run_dir)
    (key,) = key_folder.iterdir()
    content = key.read_bytes()
    key.unlink()
    if kind == "link":
        (tmp_path / "elsewhere").write_bytes(content)
        key.symlink_to(tmp_path / "elsewhere")
    elif kind == "pipe":
        os.mkfifo(key, 0o600)
    elif kind == "folder":
        key.mkdir(0o700)
    else:
        key.write_bytes(content[:5])
        key.chmod(0o600)
    assert not is_own(run_dir)


def test_where_no_key_can_be_kept_that_is_said_and_the_training_goes_on(run_dir, key_folder, caplog):
    key_folder.write_text("a file where the folder should be")
    write(run_dir)
    assert "commands will take this run for somebody else's" in caplog.text
    assert (run_dir / "config.yaml").read_text() == "seed: 0\n"
    assert not is_own(run_dir)


def test_two_trainings_at_once_have_one_key(run_dir, key_folder, monkeypatch):
    """The second one looks before the first has made the key, and makes its own afterwards."""
    write(run_dir)
    monkeypatch.setattr(ownership.Path, "exists", lambda path: False)
    marked("seed: 1\n")
    assert is_own(run_dir)
    assert len(list(key_folder.iterdir())) == 1


def test_places_that_another_run_names_are_refused_until_they_are_trusted(run_dir):
    write(run_dir, own=False)
    with pytest.raises(ValueError, match=r"config\.yaml: not written by a training of this account.*trust=\['/data/a"):
        confined(CONFIG, run_dir, ["mypackage"])
    for trust in (["/data/a.csv"], ["/data"], ["mypackage", "/data/"], ["/"]):
        assert confined(CONFIG, run_dir, trust)["data"] == CONFIG["data"]
    assert confined(CONFIG, run_dir, ["/data"])["cache"] == {"dir": None, "views": 1}
    assert confined(CONFIG, run_dir, ["/data", "/home/somebody"])["cache"] == CONFIG["cache"]
    assert confined(CONFIG, run_dir, ["*"]) is CONFIG


SOURCES = {
    "index folder": {"shards": "/data/a", "cache_dir": "/home/somebody/.ssh"},
    "per split": {"shards": {"train": "/data/a", "val": ["/data/b", "https://evil.example/c.tar"]}},
    "climbing": {"manifest": "/data/../etc/passwd"},
    "braces": {"shards": "/data/{a,../../etc}/b.tar"},
    "relative": {"manifest": "a.csv"},
    "home": {"manifest": "~/a.csv"},
    "of a name that is not known": {"folder_of_tomorrow": "/etc"},
}


@pytest.mark.parametrize("options", SOURCES.values(), ids=SOURCES.keys())
def test_all_places_of_a_source_count(run_dir, options):
    write(run_dir, own=False)
    data = {"sources": {"a": {"_target_": "bind.data.sources.manifest.ManifestSource", **options}}}
    with pytest.raises(ValueError, match="name these places"):
        confined({**CONFIG, "data": data}, run_dir, ["/data"])


def test_tables_of_a_mixture_count(run_dir):
    write(run_dir, own=False)
    with pytest.raises(ValueError, match=r"trust=\['/etc/b\.csv'\]"):
        confined({**CONFIG, "data": {"manifests": {"a": "/data/a.csv", "b": "/etc/b.csv"}}}, run_dir, ["/data"])


def test_generated_worlds_name_no_places(run_dir):
    write(run_dir, own=False)
    toy = {"_target_": "bind.data.sources.toy.world.ToySource", "num_train": 8000, "fresh": ["audio"], "seed": 2**32}
    data = {"sources": {"toy": {**toy, "carries": {"audio": ["motion"]}, "name": "toy"}, "none": None}}
    assert confined({**CONFIG, "data": data}, run_dir, ())["data"] == data


@pytest.mark.parametrize(
    "data",
    [{"num_workers": 65}, {"evaluation_batch_size": 10**9}, {"sources": {"toy": {"num_train": 10**12}}}],
    ids=str,
)
def test_absurd_numbers_of_another_run_are_refused(run_dir, data):
    write(run_dir, own=False)
    with pytest.raises(ValueError, match=r"config\.yaml: data\.\S+=\d+, more than \d+"):
        confined({**CONFIG, "data": data}, run_dir, ())


@pytest.mark.parametrize(
    ("place", "trust", "is_trusted"),
    [
        ("/data/a", "/data", True),
        ("/database/a", "/data", False),
        ("s3://bucket/a", "s3://bucket", True),
        ("s3://bucket2/a", "s3://bucket", False),
        ("https://host/../a", "https://host", False),
        ("file:///data/a", "/data", False),
        ("mypackage/a", "mypackage", False),
        ("mypackage", "mypackage", True),
        ("~/a", "~/", True),
    ],
)
def test_a_place_lies_in_a_trusted_one(place, trust, is_trusted):
    assert is_trusted_place(place, [trust]) is is_trusted


@pytest.mark.parametrize("name", ownership.FOLDERS_OF_A_RUN)
def test_links_in_another_run_are_not_written_through(run_dir, tmp_path, name):
    (run_dir / name).symlink_to(tmp_path)
    refuse_links(run_dir)  # no run yet
    write(run_dir)
    refuse_links(run_dir)
    write(run_dir, own=False)
    with pytest.raises(ValueError, match=rf"{name}: a link, in a run that this account has not written"):
        refuse_links(run_dir)


def test_a_lock_is_no_link(run_dir, tmp_path):
    (tmp_path / "precious").write_text("precious")
    (run_dir / LOCK).symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match=LOCK), lock_folder(run_dir, "wait"):
        pass
    assert (tmp_path / "precious").read_text() == "precious"
