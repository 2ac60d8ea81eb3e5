"""Shards that others wrote: indexed once, or streamed."""

import gzip
import io
import json
import logging
import os
import tarfile
from functools import partial

import pytest
from support import shard_cases

from bind.data.datamodule import BindDataModule
from bind.data.sources.shards import kept_index
from bind.data.sources.shards.source import IndexedShardSource
from bind.data.sources.shards.stream import StreamingShardSource


@pytest.fixture
def foreign(tmp_path):
    folder = tmp_path / "foreign"
    folder.mkdir()
    for number in range(3):
        shard_cases.foreign_tar(folder / f"{number:03d}.tar", first=4 * number)
    return folder


def texts(source, split="train"):
    return [row["text"] for row in source.fetch(split, range(len(source.samples(split))), ["text"], None)]


CAPTIONS = [[f"caption {n}"] for n in range(12)]


@pytest.mark.slow
def test_usual_extensions_are_known_and_others_named(foreign, caplog):
    source = IndexedShardSource(str(foreign))
    assert set(source.modalities()) == {"image", "text", "audio"}
    assert texts(source) == CAPTIONS
    assert source.fetch("train", [5], ["audio"], None)[0]["audio"][0].path.suffix == ".wav"
    assert "members .cls are of no known modality" in caplog.text


@pytest.mark.slow
def test_extensions_can_be_named(foreign):
    source = IndexedShardSource(str(foreign), extensions={"cls": "label_text", "wav": "sound"})
    assert set(source.modalities()) == {"image", "text", "sound", "label_text"}


@pytest.mark.slow
def test_splits_can_be_given(foreign):
    source = IndexedShardSource({"train": f"{foreign}/{{000..001}}.tar", "val": f"{foreign}/002.tar"})
    assert (texts(source), texts(source, "val")) == (CAPTIONS[:8], CAPTIONS[8:])


@pytest.mark.slow
@pytest.mark.parametrize("max_bytes_in_memory", [2**22, 0])
def test_it_is_indexed_once_and_again_when_it_changes(foreign, caplog, monkeypatch, tmp_path, max_bytes_in_memory):
    monkeypatch.setattr(kept_index, "MAX_BYTES_IN_MEMORY", max_bytes_in_memory)
    open_shards = partial(IndexedShardSource, str(foreign), cache_dir=tmp_path / "cache")
    open_shards()
    assert len(list(foreign.glob("*.index.parquet"))) == 3
    assert "3 shard(s) have no index" in caplog.text
    caplog.clear()
    open_shards()
    assert "no index" not in caplog.text
    shard_cases.foreign_tar(foreign / "001.tar", first=40)
    later = (foreign / "001.index.parquet").stat().st_mtime_ns + 10**9
    os.utime(foreign / "001.tar", ns=(later, later))
    assert texts(open_shards())[4] == ["caption 40"]
    assert "001.tar: changed since it was indexed" in caplog.text


@pytest.mark.slow
def test_the_index_of_a_remote_shard_lies_in_the_cache(foreign, tmp_path):
    with shard_cases.Server(foreign) as server:
        pattern = server.url + "/{000..002}.tar"
        server.mishaps = [404, 403, 404, "drop", 503]
        source = IndexedShardSource(pattern, cache_dir=tmp_path / "cache")
        assert texts(source) == CAPTIONS
        assert len(list((tmp_path / "cache").iterdir())) == 3
        server.requests.clear()
        again = IndexedShardSource(pattern, cache_dir=tmp_path / "cache")
        # Only whether it is as large as it was.
        assert {asked for path, asked in server.requests if path.endswith(".tar")} == {"bytes=0-0"}
        assert again.content_hash("train", "audio") == source.content_hash("train", "audio")


def test_a_sample_of_no_modality_is_refused(tmp_path):
    shard_cases.write_tar(tmp_path / "a.tar", [("a.cls", b"1")])
    with pytest.raises(ValueError, match=r"a\.tar: no member of the sample 'a' is of a known modality"):
        IndexedShardSource(str(tmp_path))


def test_a_text_that_is_none_is_named(tmp_path):
    shard_cases.write_tar(tmp_path / "a.tar", [("k.txt", b"\xff\xfd")])
    with pytest.raises(ValueError, match=r"a\.tar: k\.txt line 1: not UTF-8"):
        IndexedShardSource(str(tmp_path)).fetch("train", [0], ["text"], None)


def test_keys_are_what_the_names_say(tmp_path):
    shard_cases.write_tar(tmp_path / "a.tar", [("a%41 b/c.txt", b"1"), ("aA b/c.txt", b"2")])
    assert [s.key for s in IndexedShardSource(str(tmp_path)).samples("train")] == ["a%41 b/c", "aA b/c"]


class TestStream:
    @pytest.fixture(autouse=True)
    def needs_webdataset(self):
        pytest.importorskip("webdataset")

    @pytest.mark.slow
    @pytest.mark.parametrize("remote", [False, True], ids=["local", "remote"])
    def test_it_gives_what_an_index_gives(self, foreign, caplog, remote):
        with shard_cases.Server(foreign) as server:
            source = StreamingShardSource(
                (server.url if remote else str(foreign)) + "/{000..002}.tar", samples_per_shard=4
            )
            assert texts(source) == CAPTIONS
            assert source.modalities() == ("image", "text", "audio")
        assert "is streamed: every loading process reads every shard" in caplog.text
        assert not list(foreign.glob("*.parquet"))

    def test_a_run_goes_on_with_the_batches_it_would_have_had(self, foreign):
        class Words:
            def __call__(self, value, rng):
                return value

            def collate(self, items):
                return items

        def batches(start_step):
            data = BindDataModule(
                {"s": StreamingShardSource(str(foreign), samples_per_shard=4)},
                {"text": Words()},
                ["text"],
                [],
                batch_size=3,
            )
            dataset = data.dataset("train", ["text"])
            return [dataset[request].inputs["text"] for request in data.train_plan(start_step)]

        whole = batches(0)
        assert sorted(text for batch in whole for text in batch) == sorted(text for (text,) in CAPTIONS)
        assert batches(2) == whole[2:]

    def test_shards_are_read_once_in_a_pass(self, foreign, monkeypatch):
        opened = []
        from bind.data.sources.shards import stream

        open_stream = stream.open_stream
        monkeypatch.setattr(stream, "open_stream", lambda path: opened.append(path) or open_stream(path))
        source = StreamingShardSource(str(foreign), samples_per_shard=4)
        opened.clear()
        order = [4, 5, 6, 7, 8, 9, 10, 11, 0, 1, 2, 3]
        for start in range(0, 12, 3):
            source.fetch("train", order[start : start + 3], ["text"], None)
        assert len(opened) == 3

    def test_too_few_samples_are_refused(self, foreign):
        source = StreamingShardSource(str(foreign), samples_per_shard=5)
        with pytest.raises(ValueError, match=r"000\.tar: has fewer than 5 samples; set data\.samples_per_shard"):
            texts(source)

    def test_a_cut_off_shard_is_refused(self, foreign):
        path = foreign / "001.tar"
        path.write_bytes(path.read_bytes()[:3000])
        with pytest.raises(ValueError, match=r"001\.tar: (not a whole tar|has fewer than)"):
            texts(StreamingShardSource(str(foreign), samples_per_shard=4))

    def test_a_split_without_shards_is_empty(self, foreign):
        assert len(StreamingShardSource(str(foreign), samples_per_shard=4).samples("val")) == 0


@pytest.mark.slow
def test_messages_of_loading_are_warnings(foreign, caplog):
    IndexedShardSource(str(foreign))
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


@pytest.mark.parametrize("kind", ["indexed", "streamed"])
def test_captions_are_what_they_look_like(tmp_path, caplog, kind):
    captions = [b"a dog", b"", b" \n", b"\xef\xbb\xbfa cat", "a bird".encode("utf-16"), b"nan", b"None\n"]
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number, caption in enumerate(captions):
            for name, content in ((f"{number}.cls", b"0"), (f"{number}.txt", caption)):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    if kind == "indexed":
        source = IndexedShardSource(str(tmp_path))
    else:
        source = StreamingShardSource(str(tmp_path), samples_per_shard=len(captions))
    rows = source.fetch("train", range(len(captions)), ["text"], None)
    assert rows == [{"text": ["a dog"]}, {}, {}, {"text": ["a cat"]}, {"text": ["a bird"]}, {}, {}]


def test_a_caption_in_another_encoding_is_named(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        info = tarfile.TarInfo("1.txt")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"\xe4"))
    source = IndexedShardSource(str(tmp_path))
    with pytest.raises(ValueError, match=r"a\.tar: 1\.txt line 1: not UTF-8"):
        source.fetch("train", [0], ["text"], None)


def test_a_packed_tar_is_called_what_it_is(tmp_path):
    shard_cases.write_tar(tmp_path / "plain.tar", [("k.txt", b"a cat")])
    content = (tmp_path / "plain.tar").read_bytes()
    (tmp_path / "plain.tar").unlink()
    for packed, what in ((gzip.compress(content), "packed by gzip"), (b"<html><body>404", "a web page")):
        (tmp_path / "a.tar").write_bytes(packed)
        with pytest.raises(ValueError, match=rf"a\.tar: not a whole tar \(it is {what}"):
            IndexedShardSource(str(tmp_path))


@pytest.mark.slow
def test_a_key_in_two_unicode_forms_is_one(tmp_path):
    composed, decomposed = "Zo\u00eb", "Zoe\u0308"
    meta = {"key": decomposed, "split": "train", "label": decomposed}
    members = {
        f"{composed}.jpg": b"x",
        f"{decomposed}.txt": b"a cat",
        f"{composed}.meta.json": json.dumps(meta).encode(),
    }
    shard_cases.write_tar(tmp_path / "a.tar", members.items())
    for _ in range(2):  # without its index, and with it
        (sample,) = IndexedShardSource(str(tmp_path)).samples("train")
        assert (sample.key, sample.label, set(sample.values)) == (composed, composed, {"image", "text"})
    shard_cases.write_tar(tmp_path / "b.tar", [(f"{decomposed}.txt", b"a dog")])
    with pytest.raises(ValueError, match=f"the key '{composed}' comes twice"):
        IndexedShardSource(str(tmp_path))
