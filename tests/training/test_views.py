"""Pairs of a modality with itself: two views of each sample, for data that has nothing else beside it."""

import pytest
import torch
from support import runs, tiny
from support.batches import attention, make_batch

from bind.losses import info_nce
from bind.model.binder import Binder
from bind.runs.jobs import train
from bind.training.module import BindingModule
from bind.types import Pair

IMU_IMU = Pair("imu", "imu", temperature=0.1)
IMU_IMAGE = Pair("imu", "image", temperature=0.1)


@pytest.fixture(scope="module")
def anchor_folder(tmp_path_factory):
    return tiny.write_anchor(tmp_path_factory.mktemp("anchor"))


@pytest.fixture
def binder(anchor_folder):
    return Binder.from_config(tiny.binder_config(anchor_folder))


def with_views(batch):
    batch.inputs["imu@2"] = batch.inputs["imu"] + 0.1
    batch.rows["imu@2"] = batch.rows["imu"]
    batch.modalities = (*batch.modalities, "imu@2")
    return batch


@pytest.mark.slow
def test_the_loss_pulls_the_two_views_together(binder):
    module = BindingModule(binder.eval(), [IMU_IMU])
    batch = with_views(make_batch(binder))
    embeddings = module(batch)
    rows = batch.rows["imu"]
    expected = info_nce(embeddings.z["imu"], embeddings.z["imu@2"], 10.0, groups=batch.group_ids_B[rows])
    losses = module.losses(batch, embeddings)
    torch.testing.assert_close(losses["imu-imu"], expected)
    losses["imu-imu"].backward()
    assert all(p.grad is not None for name, p in module.named_parameters() if ".encoders.imu." in name)
    alone = make_batch(binder)
    assert module.losses(alone, module(alone)) == {}, "a batch without views has no loss of them"


@pytest.mark.slow
@pytest.mark.parametrize("pairs", [[IMU_IMU], [IMU_IMU, IMU_IMAGE]])
def test_how_well_samples_find_themselves_is_monitored_where_nothing_else_is(binder, pairs):
    module = BindingModule(binder.eval(), pairs)
    figures = {}
    module.log = lambda name, value, **_: figures.update({name: value})
    with torch.no_grad():
        module.validation_step(with_views(make_batch(binder)), 0)
    module.on_validation_epoch_end()
    names = ["imu_to_imu"] if len(pairs) == 1 else ["imu_to_image", "image_to_imu"]
    assert figures["val/mean_R@1"] == pytest.approx(sum(figures[f"val/{name}/R@1"] for name in names) / len(names))
    assert "val/imu_to_imu/R@1" in figures
    assert not any("@2" in name for name in figures)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (Pair("text", "text"), "pairs.text-text: both sides are frozen, nothing could be learned from it"),
        (Pair("imu_and_depth", "imu_and_depth"), "a fusion is seen once; pair one of its inputs with itself"),
    ],
)
def test_what_has_no_second_view_is_said(anchor_folder, pair, message):
    fused = Binder.from_config(tiny.binder_config(anchor_folder, fusion=attention("imu", "depth")))
    with pytest.raises(ValueError, match=message):
        BindingModule(fused, [pair])


ITSELF = {"pairs.imu-imu": {"weight": 0.5, "temperature": 0.07, "learn_temperature": True}}


@pytest.mark.slow
def test_features_that_are_kept_have_one_view(recordings, tmp_path):
    frozen = {"encoder.imu.train": "head"}
    with pytest.raises(
        ValueError, match=r"pairs\.imu-imu: the features of the frozen encoder are kept.*cache.features=fal"
    ):
        train(runs.fused_config(recordings, tmp_path / "run", **ITSELF | frozen))


@pytest.mark.slow
def test_a_run_with_views_that_is_killed_goes_on_as_if_it_had_not_been(recordings, tmp_path, no_pictures):
    whole = runs.train_whole_and_in_parts(recordings, tmp_path, **ITSELF)
    assert {"train/loss/imu-imu", "train/scale/imu-imu", "val/imu_to_imu/R@1"} <= runs.logged_columns(whole)


@pytest.mark.slow
def test_a_source_of_motion_alone_trains_beside_a_paired_one(recordings, tmp_path, no_pictures, capsys):
    rows = [row for row in runs.read_manifest(recordings) if row["split"] == "train" and "imu" in row]
    alone = [{name: row[name] for name in ("split", "owner", "imu")} | {"key": f"alone/{row['key']}"} for row in rows]
    unpaired = runs.write_manifest(recordings.with_name("alone.jsonl"), alone)
    values = {
        "data.manifests": {"paired": str(recordings), "alone": str(unpaired)},
        "data.weights": {"alone": 2.0},
        "data.steps_per_epoch": 6,
        "modalities": ["imu"],
        "run_dir": str(tmp_path / "run"),
    }
    train(runs.config("data=mixture", **runs.RECORDED | ITSELF | values))
    assert {"train/loss/imu-image", "train/loss/imu-imu"} <= runs.logged_columns(tmp_path / "run")
    assert "imu-imu" in capsys.readouterr().out
