"""What a training says of itself while it goes on, into a file and on a terminal."""

import re
import time

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from bind.training.callbacks.progress import ProgressBar
from bind.training.forecast import format_seconds

NUM_BATCHES, BATCH_SIZE, NUM_EPOCHS = 4, 8, 2


class Module(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        loss = self.layer(batch).square().mean() + 6
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val/mean_R@1", 0.25, prog_bar=True)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def fit(tmp_path, bar, module=None, **options):
    data = DataLoader(torch.zeros(NUM_BATCHES * BATCH_SIZE, 1), batch_size=BATCH_SIZE)
    options = {"max_epochs": NUM_EPOCHS, "accelerator": "cpu", "enable_model_summary": False} | options
    trainer = L.Trainer(**options, callbacks=[bar], default_root_dir=tmp_path, logger=False, enable_checkpointing=False)
    trainer.fit(module or Module(), data, data)


def lines(text):
    return [line for line in text.splitlines() if line.startswith("step ")]


@pytest.mark.slow
def test_into_a_file_there_is_a_line_for_every_validation_and_no_bar(tmp_path, capsys):
    fit(tmp_path, ProgressBar("val/mean_R@1"))
    out = capsys.readouterr().out
    first, second = lines(out)
    said = r"step 4/8, epoch 1/2, train/loss 6\.\d{3}, val/mean_R@1 0\.250, [\d,]+ samples/s, \d+ s left"
    assert re.fullmatch(said, first)
    assert re.fullmatch(r"step 8/8, epoch 2/2, train/loss 6\.\d{3}, val/mean_R@1 0\.250, [\d,]+ samples/s", second)
    assert "━" not in out


@pytest.mark.slow
def test_a_long_epoch_is_not_silent(tmp_path, capsys):
    fit(tmp_path, ProgressBar("val/mean_R@1", seconds_between_lines=0.0), limit_val_batches=0, max_steps=5)
    told = lines(capsys.readouterr().out)
    assert [line.split(",")[0] for line in told] == [f"step {step}/5" for step in range(1, 6)]
    assert not any("val/" in line for line in told)


@pytest.mark.slow
def test_a_training_without_an_end_tells_no_time_left_but_that_of_its_clock(tmp_path, capsys):
    bar = ProgressBar("val/mean_R@1", seconds_between_lines=0.0)
    fit(tmp_path, bar, max_epochs=-1, max_time={"seconds": 1})
    told = lines(capsys.readouterr().out)
    assert re.fullmatch(r"step 1, epoch 1, train/loss [\d.]+, [\d,]+ samples/s, [01] s left", told[0])


class SlowStart(Module):
    """Its first step takes half a second, as where workers start."""

    def on_train_batch_start(self, batch, batch_idx):
        if self.trainer.global_step == 0:
            time.sleep(0.5)


@pytest.mark.slow
def test_a_slow_first_step_is_not_taken_for_the_rate_of_all(tmp_path, capsys):
    bar = ProgressBar("val/mean_R@1", seconds_between_lines=0.0)
    fit(tmp_path, bar, SlowStart(), max_epochs=25, limit_val_batches=0)
    told = lines(capsys.readouterr().out)
    assert not any("left" in line for line in told[:3])
    assert re.search(r", [0-2] s left$", told[3]), "half a second for each of 96 steps would be 48 s"


@pytest.mark.slow
def test_on_a_terminal_there_is_a_bar_and_no_version_number(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    fit(tmp_path, ProgressBar("val/mean_R@1"))
    out = capsys.readouterr().out
    assert lines(out) == []
    assert "val/mean_R@1: 0.250" in out
    assert "v_num" not in out


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7300, "2 h 1 min"), (1e6, "277 h 46 min")],
)
def test_durations_are_readable(seconds, said):
    assert format_seconds(seconds) == said
