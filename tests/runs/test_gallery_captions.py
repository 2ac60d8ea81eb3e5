"""The report of a run with a bridge: captions of the gallery's queries."""

import re
import shutil

import pytest
from support import runs

from bind.bridge.bridge import Bridge
from bind.bridge.language_model import LanguageModel
from bind.model.binder import Binder
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
