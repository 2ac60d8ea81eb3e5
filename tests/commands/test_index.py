"""The commands `bindspace index` and `bindspace search`: what they write, print, and refuse."""

import errno
import json
import os
import re

import pytest
from omegaconf import OmegaConf
from support import served

from bind.commands import search as search_command
from bind.commands.checkout import CONFIG_DIR
from bind.commands.index import index
from bind.search import embedding
from bind.search.index import Index

CONFIG = OmegaConf.load(CONFIG_DIR / "index.yaml")
del CONFIG["defaults"], CONFIG["hydra"]


def indexing(out, **options):
    index(OmegaConf.merge(CONFIG, {"out": str(out), "num_workers": 0}, options))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A saved binder, a table of seven samples, and queries."""
    folder = tmp_path_factory.mktemp("world")
    served.binder().save(folder / "binder")
    rows = []
    for n in range(7):
        (folder / f"{n}.wav").write_bytes(served.wav(n))
        (folder / f"{n}.png").write_bytes(served.png(n))
        split = "train" if n < 4 else "test"
        rows.append(
            {"key": f"k{n}", "split": split, "label": "odd" if n % 2 else "even", "text": [f"a red circle {n}", "b"]}
            | {"audio": f"{n}.wav", "image": f"{n}.png"}
        )
    (folder / "first.jsonl").write_text("\n".join(map(json.dumps, rows[:5])))
    (folder / "all.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "queries.txt").write_text("a red circle\n\na blue square\n")
    return folder


@pytest.fixture(scope="module")
def indexed(world):
    """An index of the table; do not change it."""
    indexing(world / "made", binder=str(world / "binder"), manifest=str(world / "all.jsonl"))
    return world / "made"


def searching(capsys, *arguments):
    capsys.readouterr()
    search_command.main([str(argument) for argument in arguments])
    return capsys.readouterr().out


@pytest.mark.slow
def test_all_splits_and_modalities_are_there_with_what_the_table_says(indexed, world):
    opened = Index.open(indexed)
    assert {m: opened.store.num_vectors(m) for m in opened.modalities} == {"image": 7, "text": 14, "audio": 7}
    row = opened.find_row("audio", "k5")
    expected = {"split": "test", "label": "odd", "caption": "a red circle 5", "path": str(world / "5.wav")}
    assert {name: row[name] for name in expected} == expected
    assert opened.find_row("text", "k5", number=1)["caption"] == "b"


@pytest.mark.slow
def test_a_second_table_adds_what_is_not_there(world, tmp_path, capsys):
    options = {"binder": str(world / "binder"), "modalities": ["audio"]}
    indexing(tmp_path / "index", manifest=str(world / "first.jsonl"), **options)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "index" / "parts").iterdir()}
    indexing(tmp_path / "index", manifest=str(world / "all.jsonl"), **options)
    assert "7 audio; " in capsys.readouterr().out
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())
    indexing(tmp_path / "index", delete=["k1", "k6"])
    assert "2 vectors deleted" in capsys.readouterr().out
    indexing(tmp_path / "index", manifest=str(world / "all.jsonl"), **options)
    assert sorted(Index.open(tmp_path / "index").store.keys_of("audio").to_pylist()) == [f"k{n}" for n in range(7)]


@pytest.mark.slow
def test_files_need_no_table(world, tmp_path, capsys):
    indexing(tmp_path / "index", binder=str(world / "binder"), files=str(world / "*.wav"))
    assert "7 audio; " in capsys.readouterr().out
    hits = json.loads(searching(capsys, tmp_path / "index", f"audio={world / '3.wav'}", "in=audio", "json=true"))
    assert hits[0]["key"] == hits[0]["path"] == str(world / "3.wav")
    assert hits[0]["score"] == pytest.approx(1.0, abs=1e-3)
    assert len(hits) == 7


@pytest.mark.slow
def test_hits_as_json_and_as_a_table(indexed, world, capsys):
    query = f"audio={world / '5.wav'}"
    hits = json.loads(searching(capsys, indexed, query, "in=audio", "top=3", "json=true"))
    assert [hit["rank"] for hit in hits] == [1, 2, 3]
    assert (hits[0]["key"], hits[0]["modality"], hits[0]["label"]) == ("k5", "audio", "odd")
    assert hits[0]["score"] > hits[1]["score"] >= hits[2]["score"]
    where = "where=split = 'train' and label = 'odd'"
    assert {hit["key"] for hit in json.loads(searching(capsys, indexed, query, "in=audio", where, "json=true"))} == {
        "k1",
        "k3",
    }
    table = searching(capsys, indexed, query, "in=audio", "top=2")
    assert re.search(r"1\s+k5\s+audio", table)
    assert "the best of 7 vectors" in " ".join(table.split())
    table = searching(capsys, indexed, query, "in=audio", where)
    assert "the best of 2 vectors with split" in " ".join(table.split()), "counted is what was searched"
    assert searching(capsys, indexed, query, "where=label = 'none'") == "no hits: none of 28 vectors meets where=\n"


@pytest.mark.slow
def test_several_queries_are_fused_with_their_weights(indexed, world, capsys):
    def keys(*options):
        return [hit["key"] for hit in json.loads(searching(capsys, indexed, *options, "in=audio", "json=true"))]

    files = [f"audio={world / '5.wav'}", f"image={world / '2.png'}"]
    assert keys(*files, "weights.audio=100")[:1] == keys(files[0])[:1]
    assert keys(*files, "weights.image=1000") == keys(files[1])
    assert sorted(keys(*files, "fusion=late")) == sorted(keys(files[0]))


@pytest.mark.slow
def test_an_approximation_is_built_measured_and_searched_by(indexed, world, capsys):
    pytest.importorskip("faiss")
    indexing(indexed, approximate="faiss", recall=1.0, queries=str(world / "queries.txt"), modalities=["audio"])
    assert re.search(r"faiss, audio: finds 100\.0% .*\(2 queries: given", capsys.readouterr().out)
    for options in (["in=audio"], ["in=audio", "where=split = 'test'"], []):
        arguments = [indexed, f"audio={world / '5.wav'}", "json=true", *options]
        assert json.loads(searching(capsys, *arguments, "approximate=faiss")) == json.loads(
            searching(capsys, *arguments)
        )
    table = searching(capsys, indexed, "a red circle", "approximate=faiss", "in=audio")
    assert "faiss, audio: finds 100.0%" in " ".join(table.split())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "pass either manifest=FILE or files="),
        ({"manifest": "a.csv", "files": "*.wav"}, "pass either manifest=FILE or files="),
        ({"manifest": "all.jsonl", "binder": None}, "pass either run=PATH"),
        ({"manifest": "no.csv"}, "no.csv"),
        ({"files": "*.flac"}, "files=*.flac: no such file"),
        ({"files": "0.png"}, "0.png may be image or depth: add modalities=[image]"),
        ({"manifest": "all.jsonl", "scan": "fp8"}, "scan=fp8: choose fp16, bf16, int8"),
        ({"manifest": "all.jsonl", "batch_size": 0}, "batch_size=0: give a whole number, at least 1"),
        ({"manifest": "all.jsonl", "num_workers": 1.5}, "num_workers=1.5: give a whole number, at least 0"),
        ({"manifest": "all.jsonl", "modalities": ["thermal"]}, "thermal unknown to"),
        ({"manifest": "all.jsonl", "modalities": ["imu"]}, "imu"),
        ({"manifest": "all.jsonl", "delete": ["k1"]}, "delete= changes what is in the index"),
        ({"delete": ["k1"]}, "no index.json there"),
        ({"approximate": "faiss"}, "no index.json there"),
    ],
)
def test_what_can_not_be_indexed_is_refused_and_leaves_nothing(options, message, world, tmp_path, monkeypatch):
    monkeypatch.chdir(world)
    with pytest.raises(ValueError, match=re.escape(message)):
        indexing(tmp_path / "index", **{"binder": str(world / "binder")} | options)
    assert not (tmp_path / "index" / "index.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"approximate": "hnsw"}, "approximate=hnsw: choose faiss or lancedb"),
        ({"approximate": "faiss", "recall": 2}, "recall=2: give a share from 0 to 1"),
        ({"approximate": "faiss", "recall": "most"}, "recall=most: give a share from 0 to 1"),
        ({"approximate": "faiss", "queries": "no.txt"}, "no.txt"),
        ({"approximate": "faiss", "queries": "blank.txt"}, "blank.txt"),
        ({"approximate": "faiss", "queries": "0.png"}, "0.png"),
        ({"approximate": "faiss", "modalities": ["imu"]}, "holds no imu; it has"),
        ({"delete": ["k9"]}, "holds no vector of key 'k9' (1 of 1 keys)"),
        ({"delete_where": "label ~ 'a'"}, "label ~"),
    ],
)
def test_what_can_not_be_changed_is_refused(options, message, indexed, world, monkeypatch):
    pytest.importorskip("faiss")
    monkeypatch.chdir(world)
    (world / "blank.txt").write_text("\n \n")
    before = (indexed / "index.json").read_bytes()
    with pytest.raises(ValueError, match=re.escape(message)):
        indexing(indexed, **options)
    assert (indexed / "index.json").read_bytes() == before


@pytest.mark.slow
def test_a_full_disk_is_named_what_was_made_stays_and_the_next_call_goes_on(world, tmp_path, monkeypatch):
    options = {"binder": str(world / "binder"), "manifest": str(world / "all.jsonl"), "batch_size": 2}
    options["modalities"] = ["audio"]
    monkeypatch.setattr(embedding, "COMMIT_SECONDS", -1.0)  # a part for each batch
    fsync = os.fsync

    def fail(descriptor):
        if "00000003.vectors" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=r"00000003\.vectors"):
        indexing(tmp_path / "index", **options)
    monkeypatch.setattr(os, "fsync", fsync)
    made = Index.open(tmp_path / "index").store
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "index" / "parts").iterdir()}
    assert (made.num_vectors("audio"), len(kept)) == (4, 4 + 2 * (made.listing.scan != "fp16"))
    indexing(tmp_path / "index", **options)
    assert Index.open(tmp_path / "index").store.num_vectors("audio") == 7
    assert all(path.stat().st_mtime_ns == at for path, at in kept.items())


@pytest.mark.slow
def test_a_second_writer_is_refused(indexed, world):
    options = {"binder": str(world / "binder"), "manifest": str(world / "all.jsonl")}
    with (
        Index.open(indexed).store.writing(),
        pytest.raises(ValueError, match=r"in use by this process.*searching goes on meanwhile"),
    ):
        indexing(indexed, **options)


@pytest.mark.slow
def test_an_index_of_another_binder_takes_nothing(indexed, world, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(served, "binder", served.binder.__wrapped__)
        other = served.binder()
    for parameter in other.encoders.parameters():
        parameter.data.add_(0.5)
    other.save(tmp_path / "other")
    with pytest.raises(ValueError, match="holds vectors of another binder"):
        indexing(indexed, binder=str(tmp_path / "other"), manifest=str(world / "all.jsonl"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["top=5"], "nothing to search for"),
        (["a", "dog"], "there is a text already ('a'); put a text of several words in quotes"),
        (["a dog", "top=many"], "top=many"),
        (["a dog", "top=0"], "top=0: give a whole number above 0"),
        (["a dog", "top=10001"], "top=10001: give a number from 1 to 10000"),
        (["a dog", "json=perhaps"], "json=perhaps"),
        (["a dog", "in=imu"], "holds no imu; it has image, text, audio"),
        (["a dog", "where=splt = 'test'"], "no column splt; did you mean split"),
        (["a dog", "fusion=middle"], "choose early or late"),
        (["a dog", "weights.audio=2"], "names audio"),
        (["a dog", "weights.text=much"], "weights.text=much: give a number above 0"),
        (["a dog", "approximate=lance"], "approximate=lance: choose faiss or lancedb"),
        (["thermal=a.png"], "no encoder for thermal"),
        (["audio=no.wav"], "no.wav"),
        (["audio=queries.txt"], "queries.txt"),
        (["a dog", "binder=no"], "no"),
    ],
)
def test_what_can_not_be_asked_says_why(words, message, indexed, world, monkeypatch):
    monkeypatch.chdir(world)
    with pytest.raises(ValueError, match=re.escape(message)):
        search_command.main([str(indexed), *words])
