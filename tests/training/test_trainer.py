"""Trainings as the trainer's options shape them: without an end, or with several batches to a step."""

import csv
import time
from collections import defaultdict

import lightning as L
import pytest
import torch
from support import runs
from support.finished import weights_of

from bind.model.binder import Binder
from bind.runs.jobs import train

pytestmark = pytest.mark.slow


def rows_of(run_dir, name):
    with (run_dir / "logs" / "metrics.csv").open(newline="") as file:
        return {int(row["step"]): float(row[name]) for row in csv.DictReader(file) if row.get(name)}


def test_an_endless_training_ends_with_its_time_and_goes_on(recordings, tmp_path, no_pictures):
    choices = runs.RECORDED | {"data.manifest": str(recordings), "run_dir": str(tmp_path), "trainer.max_epochs": -1}
    began = time.monotonic()
    train(runs.config("data=manifest", **choices, **{"trainer.max_time": "00:00:00:05"}))
    assert 5 < time.monotonic() - began < 200
    assert (tmp_path / "metrics.json").is_file()
    assert (tmp_path / "report.html").is_file()
    last = tmp_path / "checkpoints" / "last.ckpt"
    num_steps = weights_of(last)["global_step"]
    assert num_steps > 3, "more than an epoch"
    assert Binder.load(tmp_path).embed("text", ["a door slams"]).shape[0] == 1

    train(runs.config("data=manifest", **choices, **{"trainer.max_time": "00:00:00:10", "ckpt": "last"}))
    assert weights_of(last)["global_step"] > num_steps
    assert sorted(rows_of(tmp_path, "train/loss")) == list(range(weights_of(last)["global_step"]))


class LossesByHand(L.Callback):
    """The losses of every batch, computed once more right before its step."""

    def __init__(self):
        self.losses = defaultdict(list)

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        with torch.no_grad():
            losses = module.losses(batch, module.binder(batch))
        self.losses[trainer.global_step].append({name: loss.item() for name, loss in losses.items()})


@pytest.mark.parametrize(("accumulated", "batches_of_steps"), [(3, [3, 3]), (4, [4, 2])])
def test_the_loss_of_a_step_is_the_mean_of_its_batches(
    accumulated, batches_of_steps, recordings, tmp_path, no_pictures
):
    by_hand = LossesByHand()
    choices = {"data.batch_size": 2, "trainer.accumulate_grad_batches": accumulated, "trainer.max_epochs": 1}
    values = runs.RECORDED | runs.UNMASKED | choices | {"data.manifest": str(recordings), "run_dir": str(tmp_path)}
    train(runs.config("data=manifest", **values), callbacks=[by_hand])
    assert [len(of_step) for of_step in by_hand.losses.values()] == batches_of_steps
    logged = rows_of(tmp_path, "train/loss")
    of_pair = rows_of(tmp_path, "train/loss/audio-image")
    for step, of_step in by_hand.losses.items():
        assert logged[step] == pytest.approx(sum(sum(losses.values()) for losses in of_step) / len(of_step), rel=1e-5)
        pair = [losses["audio-image"] for losses in of_step if "audio-image" in losses]
        assert of_pair[step] == pytest.approx(sum(pair) / len(pair), rel=1e-5)
