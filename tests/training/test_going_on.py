"""Runs that go on with other batches, another end, other settings of the optimizer or other data."""

import json
import logging

import lightning as L
import pytest
import torch
from support import runs

from bind.runs.jobs import train

pytestmark = pytest.mark.slow

EVERY_STEP = {"callbacks.last.every_n_train_steps": 1}
QUIET = {"trainer.limit_val_batches": 0, "callbacks.collapse": None}


class Steps(L.Callback):
    """Notes what every step is made of."""

    def __init__(self):
        self.rates, self.keys, self.epochs = [], [], []

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        self.keys.append(list(batch.keys))
        self.epochs.append(trainer.current_epoch)
        self.group = dict(trainer.optimizers[0].param_groups[0])


def config(recordings, run_dir, **values):
    return runs.fused_config(recordings, run_dir, **QUIET | values)


def started(recordings, run_dir, step, **values):
    """A run that was killed in the step after `step`."""
    plug = {
        "callbacks.at": {
            "_target_": "support.mishaps.At",
            "act": "kill",
            "hook": "on_train_batch_end",
            "time": step + 1,
        }
    }
    with pytest.raises(runs.PulledPlugError):
        train(config(recordings, run_dir, **EVERY_STEP | values | plug))


def gone_on(recordings, run_dir, **values):
    steps = Steps()
    train(config(recordings, run_dir, ckpt="last", **values), callbacks=[steps])
    return steps, torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.mark.parametrize(
    ("step", "values", "num_batches", "epochs"),
    [
        (3, {"data.batch_size": 2}, 6, [1] * 6),  # an epoch is over
        (1, {"data.batch_size": 2}, 10, [0] * 4 + [1] * 6),  # in mid-epoch: 4 of 12 samples are behind
        (2, {"data.batch_size": 12}, 2, [0, 1]),  # the rest of the epoch is less than one batch
        (2, {"data.batch_size": 2, "trainer.accumulate_grad_batches": 2}, 8, [0] * 2 + [1] * 6),
        (3, {"trainer.max_epochs": 3}, 6, [1] * 3 + [2] * 3),
        (3, {"data.batch_size": 6, "trainer.max_epochs": 4}, 6, [1, 1, 2, 2, 3, 3]),
    ],
)
def test_what_is_left_is_trained_on_and_the_rate_ends_where_it_should(
    step, values, num_batches, epochs, recordings, tmp_path, no_pictures
):
    started(recordings, tmp_path, step)
    steps, last = gone_on(recordings, tmp_path, **values)
    assert (len(steps.rates), steps.epochs) == (num_batches, epochs)
    assert steps.rates[0] > 0
    assert steps.rates == sorted(steps.rates, reverse=True)
    assert last["lr_schedulers"][0]["_last_lr"][0] == pytest.approx(0, abs=1e-9)
    seen = [key for keys, epoch in zip(steps.keys, steps.epochs, strict=True) if epoch == epochs[-1] for key in keys]
    assert len(seen) == len(set(seen)) == 12, "every sample once in an epoch"


def test_an_interruption_after_other_batches_changes_nothing(recordings, tmp_path, no_pictures):
    finals = []
    for name, is_killed in (("alone", False), ("killed", True)):
        started(recordings, tmp_path / name, 1)
        if is_killed:
            plug = {"callbacks.at": {"_target_": "support.mishaps.At", "act": "kill", "time": 5}}
            with pytest.raises(runs.PulledPlugError):
                gone_on(recordings, tmp_path / name, **{"data.batch_size": 2, **EVERY_STEP, **plug})
        _, last = gone_on(recordings, tmp_path / name, **{"data.batch_size": 2, **EVERY_STEP})
        finals.append(last)
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "num_samples"):
        assert str(finals[0][part]) == str(finals[1][part])


def test_a_checkpoint_that_counts_no_samples_goes_on_to_the_end(recordings, tmp_path, no_pictures):
    started(recordings, tmp_path, 3)
    path = tmp_path / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint["num_samples"]
    checkpoint["BindDataModule"] = {"step": 3}
    torch.save(checkpoint, path)
    steps, last = gone_on(recordings, tmp_path)
    assert (steps.epochs, last["num_samples"]) == ([1] * 3, 24)


def test_settings_of_the_optimizer_are_those_of_the_command(recordings, tmp_path, no_pictures):
    started(recordings, tmp_path, 3)
    steps, _ = gone_on(recordings, tmp_path, **{"optimizer.lr": 1e-4, "optimizer.weight_decay": 0.2})
    assert max(steps.rates) <= 1e-4
    assert (steps.group["initial_lr"], steps.group["weight_decay"]) == (1e-4, 0.2)


def test_changed_data_is_named_and_refused_unless_allowed(recordings, tmp_path, caplog, no_pictures):
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [json.loads(line) for line in recordings.read_text().splitlines()]
    for row in rows:
        row |= {m: str(recordings.parent / row[m]) for m in ("audio", "imu", "image") if m in row}
    manifest = runs.write_manifest(folder / "manifest.jsonl", rows)
    started(manifest, tmp_path / "run", 3)
    fewer = [row for row in rows if row["key"] != "train0"]
    runs.write_manifest(manifest, fewer)
    with pytest.raises(ValueError, match=r"train of source \S+ has 11 samples instead of 12.*allow_changed_data=true"):
        gone_on(manifest, tmp_path / "run")
    with caplog.at_level(logging.WARNING, "bind"):
        steps, last = gone_on(manifest, tmp_path / "run", allow_changed_data=True)
    assert "has 11 samples instead of 12" in caplog.text
    assert steps.epochs == [1, 1]
    assert last["lr_schedulers"][0]["_last_lr"][0] == pytest.approx(0, abs=1e-9)
