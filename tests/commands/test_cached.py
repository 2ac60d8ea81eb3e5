"""The anchor cache as a table, and what is deleted of it."""

import json
import os
import re

import numpy as np
import pytest

from bind.cache.lookup import hash_keys
from bind.cache.origin import Origin
from bind.cache.store import CacheFolder
from bind.commands.cached import entries_in
from bind.commands.cli import main
from bind.types import Sample

FINGERPRINTS = {"one": "1" * 32, "two": "2" * 32}


def origin(anchor, modality):
    made_of = {"source": "mine", "content": "c" * 32, "split": "train", "num_samples": 2, "num_views": 1, "views": ""}
    return Origin(anchor=anchor, anchor_fingerprint=FINGERPRINTS[anchor], modality=modality, dim=4, **made_of)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Two folders of one anchor and one of another; the first was made last, ten days after the others."""
    monkeypatch.setenv("BINDSPACE_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "cache" / "anchors"
    for days, made_of in ((10, origin("one", "image")), (0, origin("one", "text")), (0, origin("two", "image"))):
        folder = CacheFolder(root, made_of)
        with folder.open_for_writing(100):
            folder.write_part(0, np.array([1, 1]), np.zeros((2, 1, 4)))
            folder.finish(hash_keys([Sample(key, "train", {}) for key in "ab"]))
        os.utime(folder.path / "about.json", (86400 * (20_000 + days),) * 2)
    return root


@pytest.mark.slow
def test_the_last_used_stand_first_and_a_use_is_noticed(cache):
    assert entries_in(cache)[0].folder.startswith("one-")
    [other] = [e for e in entries_in(cache) if e.folder.startswith("two")]
    before = (cache / other.folder / "about.json").read_bytes()
    CacheFolder(cache, origin("two", "image")).open()
    assert entries_in(cache)[0].folder == other.folder
    assert entries_in(cache)[0].last_used > other.last_used
    assert (cache / other.folder / "about.json").read_bytes() == before


@pytest.mark.slow
def test_it_is_listed_and_nothing_is_deleted_unless_named(cache, as_command, capsys):
    assert as_command(main, "cached") == 0
    out = capsys.readouterr().out
    assert re.search(r"train-image-[0-9a-f]{16} +mine +2 ", out)
    assert len(entries_in(cache)) == 3
    num_bytes = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
    assert f"{num_bytes / 1e6:,.1f} MB in {cache}" in out


@pytest.mark.slow
def test_what_is_named_is_deleted(cache, as_command, capsys):
    first, *others = [entry.folder for entry in entries_in(cache)]
    assert as_command(main, "cached", f"delete=[{first}]") == 0
    assert [entry.folder for entry in entries_in(cache)] == others
    assert f"deleted {first}: " in capsys.readouterr().out
    assert as_command(main, "cached", "delete=[two-222222222222]") == 0
    assert not (cache / "two-222222222222").exists()
    assert [entry.folder[:3] for entry in entries_in(cache)] == ["one"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gone", "..", "one", "one-111111111111/../two-222222222222", "/"])
def test_a_name_that_is_not_listed_deletes_nothing(name, cache, as_command, capsys):
    first = entries_in(cache)[0].folder
    assert as_command(main, "cached", f"delete=[{first},{name}]") == 1
    assert "not in " in capsys.readouterr().err
    assert len(entries_in(cache)) == 3


def test_a_damaged_folder_is_listed_too(cache):
    (entry, *_) = entries_in(cache)
    (cache / entry.folder / "about.json").write_text(json.dumps([]))
    assert "damaged" in {entry.source for entry in entries_in(cache)}
