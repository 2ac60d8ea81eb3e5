import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.runs import write_manifest
from support.shard_cases import pack, write_world

from bind.data.leakage.audit import exact_audit
from bind.data.leakage.leaks import SourceSplit
from bind.data.sources.manifest import ManifestSource
from bind.data.sources.shards.source import IndexedShardSource
from bind.data.sources.toy.world import ToySource


class Table:
    """Rows as (key, owners, file, start, end) of one split."""

    def __init__(self, folder, split, rows, name="table"):
        self.name, self.split = name, split
        rows = [
            {"key": key, "split": split, "owner": owners, "audio": str(folder / file)}
            | {"audio_start_seconds": start, "audio_end_seconds": end}
            for key, owners, file, start, end in rows
        ]
        self.source = ManifestSource(write_manifest(folder / f"{name}.{split}.jsonl", rows), name=name)

    @property
    def part(self):
        return SourceSplit(self.name, self.source, self.split, ("audio",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two recordings of one size, a copy and a link of the first, and a longer one."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    for name, size in {"a": 20_000, "b": 20_000, "c": 30_000}.items():
        (folder / name).write_bytes(rng.bytes(size))
    (folder / "copy of a").write_bytes((folder / "a").read_bytes())
    (folder / "link to a").symlink_to(folder / "a")
    almost = bytearray((folder / "a").read_bytes())
    almost[100] ^= 1  # outside of the 4 kB that are looked at first
    (folder / "almost a").write_bytes(almost)
    return folder


def audit(folder, evaluated, trained, max_bytes=float("inf")):
    return exact_audit([Table(folder, "test", evaluated).part], [Table(folder, "train", trained).part], max_bytes)


def leaks_in(result):
    return {kind: sorted(leaks) for kind, leaks in result.leaks.items()}


@pytest.mark.slow
def test_owners_in_both_are_found_with_the_first_that_was_trained_on(folder):
    trained = [("t0", ["p1"], "a", None, None), ("t1", ["p1", "p2"], "a", None, None)]
    result = audit(folder, [("e0", ["p2", "p9"], "b", None, None), ("e1", ["p3"], "c", None, None)], trained)
    assert leaks_in(result) == {"owners": ["e0"]}
    assert result.leaks["owners"]["e0"].trained_key == "t1"
    assert result.leaked == {"e0"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a", "copy of a", "link to a"])
def test_a_file_its_copy_and_its_link_are_one(folder, name):
    assert leaks_in(audit(folder, [("e", [], name, None, None)], [("t", [], "a", None, None)])) == {"files": ["e"]}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["b", "almost a", "c"])
def test_other_content_is_none(folder, name):
    result = audit(folder, [("e", ["p"], name, None, None)], [("t", ["q"], "a", None, None)])
    assert result.leaked == set()
    assert set(result.checked) == {"owners", "files"}
    assert result.not_checked == []


@pytest.mark.slow
def test_files_that_may_not_be_read_are_noted(folder):
    evaluated, trained = [("e", ["p"], "copy of a", None, None)], [("t", ["q"], "a", None, None)]
    for max_bytes in (0, 10_000):  # not even 4 kB of each; not all of it
        result = audit(folder, evaluated, trained, max_bytes)
        assert result.leaked == set()
        assert result.not_checked == ["copies of 1 files of audio: 0.0 GB of equal size would have to be read"]
    assert audit(folder, [("e", ["p"], "a", None, None)], trained, 0).leaked == {"e"}, "the same file needs no reading"


spans = st.lists(st.tuples(st.sampled_from(["a", "copy of a", "b"]), st.integers(0, 12), st.integers(1, 6)), max_size=6)


@pytest.mark.slow
@given(spans, spans)
def test_overlapping_stretches_are_those_that_comparing_all_pairs_finds(tmp_path_factory, folder, ours, theirs):
    if not ours or not theirs:
        return

    def rows(side, prefix):
        return [(f"{prefix}{i}", [], file, float(start), float(start + n)) for i, (file, start, n) in enumerate(side)]

    def overlap(x, y):
        return x[0][-1] == y[0][-1] and x[1] < y[1] + y[2] and y[1] < x[1] + x[2]

    result = audit(folder, rows(ours, "e"), rows(theirs, "t"))
    expected = sorted(f"e{i}" for i, x in enumerate(ours) if any(overlap(x, y) for y in theirs))
    assert leaks_in(result) == ({"windows": expected} if expected else {})


def test_captions_that_are_trained_on_too_are_noted_and_no_leakage(tmp_path):
    def part(split, text):
        rows = [{"key": split, "split": split, "text": text}]
        return SourceSplit("m", ManifestSource(write_manifest(tmp_path / f"{split}.jsonl", rows)), split, ("text",))

    result = exact_audit([part("test", ["a dog", "a bark"])], [part("train", ["a dog"])])
    assert result.leaked == set()
    assert "captions: 1 evaluated samples" in result.notes[0]


@pytest.mark.slow
def test_shards_and_the_files_that_they_were_packed_from_hold_the_same(tmp_path):
    manifest = write_world(tmp_path)
    pack(manifest, tmp_path / "packed")
    shards = IndexedShardSource(str(tmp_path / "packed"))
    table = ManifestSource(manifest)
    modalities = ("image", "audio", "imu")
    train = SourceSplit("table", table, "train", modalities)
    packed = SourceSplit("shards", shards, "train", modalities)
    result = exact_audit([packed], [train])
    with_files = {s.key for s in table.samples("train") if {"image"} & set(s.values)}
    assert set(result.leaks["files"]) >= with_files
    result = exact_audit(
        [SourceSplit("shards", shards, "val", modalities)], [SourceSplit("table", table, "train", ("image",))]
    )
    assert result.leaked == set()


def test_a_world_of_another_seed_holds_out_other_combinations():
    worlds = [ToySource(num_train=900, num_test_queries=1, seed=seed) for seed in (0, 1)]
    train, same, other = (
        SourceSplit("w", worlds[i], split, ("image",)) for i, split in ((0, "train"), (0, "test"), (1, "test"))
    )
    assert exact_audit([same], [train]).leaked == set()
    result = exact_audit([other], [train])
    seen = set(map(tuple, worlds[0].factor_table("train").tolist()))
    expected = sum(tuple(row) in seen for row in worlds[1].factor_table("test").tolist())
    assert len(result.leaks["combinations"]) == expected > 0
    assert any("generated" in note for note in result.not_checked)
