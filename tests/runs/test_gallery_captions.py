"""The report of a run with a bridge: captions of the gallery's queries."""

import re
import shutil

import pytest
from support import runs
from support.bridges import token_binder

from bind.bridge.bridge import Bridge
from bind.bridge.language_model import LanguageModel
from bind.data.datamodule import BindDataModule
from bind.data.sources.toy.world import ToySource
from bind.evaluation.embed import embed_split
from bind.model.binder import Binder
from bind.report.nearest import Gallery, GalleryQuery
from bind.report.values import SplitValues
from bind.runs.gallery_captions import caption_queries
from bind.runs.jobs import evaluate


@pytest.mark.slow
def test_the_page_of_an_evaluation_says_its_queries_in_words(toy_run, tmp_path, no_pictures):
    run = tmp_path / "run"
    shutil.copytree(toy_run, run)
    bridge = Bridge(Binder.load(run), LanguageModel.load("toy"))
    bridge.save(tmp_path / "bridge")
    evaluate(runs.config(name="evaluate", run=str(run), split="val", bridge=str(tmp_path / "bridge")))
    assert re.search(r'"in words: [^"]', (run / "report_val.html").read_text())
    evaluate(runs.config(name="evaluate", run=str(run), split="val"))
    assert "in words: " not in (run / "report_val.html").read_text()
    with pytest.raises(ValueError, match=r"no bridge\.json there"):
        evaluate(runs.config(name="evaluate", run=str(run), split="val", bridge=str(tmp_path)))


@pytest.mark.slow
def test_a_bridge_of_tokens_captions_the_queries_that_it_reads(tmp_path):
    binder = token_binder()
    mapper = {"_target_": "bind.bridge.mappers.QFormerMapper", "modality": "imu", "num_tokens": 4, "width": 32}
    bridge = Bridge(binder, LanguageModel.load("toy"), mapper=mapper)
    toy = ToySource(num_train=8, modalities=["image", "imu"])
    datamodule = BindDataModule({"toy": toy}, binder.transforms, [], ["image", "imu"])
    split = embed_split(datamodule, binder, "val")
    shown = [Gallery(query, "image", [GalleryQuery(position, []) for position in (3, 1)]) for query in ("imu", "image")]
    captions = caption_queries(bridge, SplitValues(split, [toy], "val", binder.transforms), shown)
    motions = [toy.fetch("val", [int(split.rows["imu"][place])], ["imu"], None)[0]["imu"][0] for place in (3, 1)]
    expected = bridge.caption("imu", motions)
    assert captions == {("imu", 3): expected[0], ("imu", 1): expected[1]}
