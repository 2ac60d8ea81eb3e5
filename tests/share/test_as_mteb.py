"""MTEB and `metrics.json` agree on the same data, to the five decimals that MTEB keeps."""

import json
import shutil

import pytest
from support import runs
from support.finished import metrics_of

from bind.commands.mteb import mteb
from bind.model.binder import Binder
from bind.runs.jobs import evaluate

pytest.importorskip("mteb", reason="the extra mteb is not installed: some 300 MB, so not in dev")
from support import mteb_tasks

from bind.share.as_mteb import find_tasks

pytestmark = pytest.mark.slow
TASKS = ["support.mteb_tasks:SoundToPicture", "support.mteb_tasks:SoundsByWords"]
MODALITY_OF_METRICS = {"R@1": "hit_rate_at_1", "R@5": "hit_rate_at_5", "mrr": "mrr_at_1000", "ndcg": "ndcg_at_1000"}


@pytest.fixture
def run(recorded_run, recordings, tmp_path, no_pictures):
    """A run that was evaluated on words of one template, which is what MTEB ranks."""
    mteb_tasks.MANIFEST["path"] = recordings
    moved = shutil.copytree(recorded_run, tmp_path / "run")
    words = {"modalities": ["audio"], "templates": [mteb_tasks.TEMPLATE], "classes": list(mteb_tasks.CLASSES)}
    evaluate(runs.config(name="evaluate", run=str(moved), **{"data.zero_shot": {"words": words}}))
    return moved


def test_mteb_and_the_figures_of_the_run_agree(run, capsys):
    mteb(runs.config(name="mteb", run=str(run), tasks=TASKS))
    assert "SoundsByWords" in capsys.readouterr().out
    scores, metrics = json.loads((run / "mteb.json").read_text()), metrics_of(run)
    assert scores["model"] == "bindspace/run"
    [of_retrieval], [of_words] = (scores["tasks"][task.partition(":")[2]]["test"] for task in TASKS)
    figures = metrics["retrieval"]["audio_to_image"]
    assert 0 < figures["mrr"] < 1
    for ours, theirs in MODALITY_OF_METRICS.items():
        assert of_retrieval[theirs] == pytest.approx(figures[ours], abs=1e-5), ours
    assert of_words["accuracy"] == pytest.approx(metrics["zero_shot"]["audio"]["top1"], abs=1e-5)


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([], "name at least one of MTEB's"),
        (["ESC50_Zeroshto"], "MTEB has no ESC50_Zeroshto.*ESC50_Zeroshot"),
        (["support.mteb_tasks:Nothing"], "support.mteb_tasks:Nothing can't be imported"),
        (["nowhere.tasks:Task"], "nowhere.tasks:Task can't be imported"),
    ],
)
def test_tasks_that_can_not_be_are_named(recorded_run, tasks, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        mteb(runs.config(name="mteb", run=str(recorded_run), tasks=tasks, out=str(tmp_path / "out.json")))
    assert not (tmp_path / "out.json").exists()


def test_a_task_with_a_modality_that_the_binder_lacks_is_named():
    config = {
        "anchor": {"_target_": "bind.anchors.dual_encoder.PretrainedAnchor", "pretrained": "toy"},
        "modalities": ["depth"],
        "encoder": {"depth": {"_target_": "bind.encoders.map_cnn.MapCNN", "width": 8, "num_layers": 2}},
        "head": {"_target_": "bind.encoders.heads.ProjectionHead"},
        "transform": {"depth": {"_target_": "bind.data.transforms.depth.DepthTransform"}},
    }
    with pytest.raises(ValueError, match="SoundToPicture has audio, which this binder does not embed"):
        find_tasks(TASKS, Binder.from_config(config))
