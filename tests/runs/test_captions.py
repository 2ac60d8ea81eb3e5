import json
import logging

import pytest

from bind.anchors.dual_encoder import PretrainedAnchor
from bind.data.datamodule import BindDataModule
from bind.data.sources.manifest import ManifestSource
from bind.data.sources.shards.source import IndexedShardSource
from bind.data.sources.shards.writer import plan_shards, write_listing, write_shard
from bind.media import notices
from bind.runs.captions import warn_of_cut_captions

LONG = "a long caption of a street with many cars and people talking while the wind blows and "


@pytest.fixture(scope="module")
def anchor():
    return PretrainedAnchor("toy")


@pytest.fixture
def manifest(tmp_path, monkeypatch):
    monkeypatch.setattr(notices, "_warned", set())
    captions = {"train": [["a dog", LONG + "rain falls"], "a cat", LONG + "a dog barks"], "val": ["a bird"]}
    rows = [
        {"key": f"{split}{i}", "split": split, "text": text}
        for split, texts in captions.items()
        for i, text in enumerate(texts)
    ]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ManifestSource(tmp_path / "m.jsonl")


def packed(source, folder):
    plans = plan_shards(source.samples("train"), "train", 10**6, seed=None)
    folder.mkdir()
    for plan in plans:
        write_shard(plan, folder)
    write_listing(plans, folder)
    return IndexedShardSource(str(folder))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["manifest", "shards"])
def test_cut_captions_are_counted_and_said_once_with_an_example(manifest, tmp_path, anchor, caplog, kind):
    source = manifest if kind == "manifest" else packed(manifest, tmp_path / "shards")
    data = BindDataModule({"data": source}, anchor.transforms, ["text"], ["text"])
    with caplog.at_level(logging.WARNING):
        warn_of_cut_captions(data, ["train"])
        anchor.text_transform.collate([LONG + "a dog barks"])
    (record,) = caplog.records
    assert "2 of 4 captions (50 %) are cut: they are longer than the 24 tokens" in record.getMessage()
    assert "key 'train0': 'a long caption of a street" in record.getMessage()


@pytest.mark.slow
def test_nothing_is_said_where_nothing_is_cut_or_no_text_is_used(manifest, anchor, caplog):
    warn_of_cut_captions(BindDataModule({"data": manifest}, anchor.transforms, ["text"], ["text"]), ["val", "test"])
    warn_of_cut_captions(BindDataModule({"data": manifest}, anchor.transforms, ["image"], ["image"]), ["train"])
    assert not caplog.records
