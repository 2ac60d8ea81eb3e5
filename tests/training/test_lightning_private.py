"""What bind takes from Lightning's insides is still there and still means the same."""

import logging
import os
import threading
import warnings
from types import SimpleNamespace

import lightning as L
import pytest
from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver, _SubprocessScriptLauncher
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from bind.training import lightning_private


class Watch(L.Callback):
    """Calls `look` at every training batch."""

    def __init__(self, look):
        self.look = look

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.look(trainer, batch_idx)


def fit(tmp_path, look, **options):
    trainer = L.Trainer(
        accelerator="cpu",
        callbacks=[Watch(look)],
        default_root_dir=tmp_path,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        limit_train_batches=3,
        limit_val_batches=1,
        logger=False,
        max_epochs=2,
        **options,
    )
    trainer.fit(BoringModel())
    return trainer


@pytest.mark.slow
def test_counters_go_back_before_the_batch_and_forward_again(tmp_path):
    seen = []

    def look(trainer, batch_idx):
        progress = trainer.fit_loop.epoch_loop.batch_progress
        before = progress.current.ready, progress.current.completed
        with lightning_private.before_the_batch(trainer):
            seen.append(
                (progress.current.ready, progress.current.completed, lightning_private.is_at_last_batch(trainer))
            )
        assert (progress.current.ready, progress.current.completed) == before == (batch_idx + 1, batch_idx)
        assert lightning_private.is_at_last_batch(trainer) == (batch_idx == 2)

    fit(tmp_path, look)
    assert seen == [(n, n, False) for n in (0, 1, 2)] * 2


@pytest.mark.slow
def test_the_validation_is_at_its_first_batch(tmp_path):
    trainer = fit(tmp_path, lambda trainer, batch_idx: None)
    with lightning_private.before_the_validation(trainer):
        current = trainer.fit_loop.epoch_loop.val_loop.batch_progress.current
        assert (current.ready, current.started, current.processed, current.completed) == (1, 1, 0, 0)


class OtherNamesByStep(BoringModel):
    """Logs `even` at even steps and `odd` at odd ones, as batches of different sources do."""

    def on_before_optimizer_step(self, optimizer):
        lightning_private.forget_logged_values(self.trainer, "on_before_optimizer_step")
        self.log("odd" if self.global_step % 2 else "even", float(self.global_step))


class Rows(L.pytorch.loggers.logger.DummyLogger):
    def __init__(self):
        super().__init__()
        self.rows = []

    def log_metrics(self, metrics, step=None):
        self.rows.append({name: value for name, value in metrics.items() if name != "epoch"})


@pytest.mark.slow
def test_a_row_of_the_log_repeats_no_value_of_an_earlier_step(tmp_path):
    logger = Rows()
    options = {"accelerator": "cpu", "enable_checkpointing": False, "enable_progress_bar": False, "barebones": False}
    trainer = L.Trainer(
        **options, default_root_dir=tmp_path, logger=logger, log_every_n_steps=1, max_steps=4, limit_val_batches=0
    )
    trainer.fit(OtherNamesByStep())
    assert logger.rows == [{"even": 0.0}, {"odd": 1.0}, {"even": 2.0}, {"odd": 3.0}]


def test_epochs_are_counted_the_same_with_max_steps(tmp_path):
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, max_steps=5, max_epochs=2)
    assert trainer.fit_loop._iteration_based_training()
    lightning_private.resume_after_whole_epochs(trainer)
    assert not trainer.fit_loop._iteration_based_training()


def test_the_watcher_of_processes_is_disarmed():
    """One whose thread never runs: it would end this process."""
    observer = _ChildProcessObserver(os.getpid(), [SimpleNamespace(poll=lambda: 3, pid=0)])
    observer.run = lambda: stop.wait(60)
    stop = threading.Event()
    observer.start()
    try:
        assert len(observer._child_processes) == 1
        lightning_private.stop_watching_children()
        assert observer._run() is True, "with no process to watch it is at its end"
    finally:
        stop.set()


def test_the_launcher_fills_the_list_of_processes():
    environment = SimpleNamespace(creates_processes_externally=True)
    launcher = _SubprocessScriptLauncher(environment, num_processes=2, num_nodes=1)
    assert lightning_private.other_processes(launcher) is launcher.procs
    assert lightning_private.other_processes(None) is None


def test_fsdp2_takes_the_number_of_processes():
    strategy = ModelParallelStrategy()
    assert strategy._data_parallel_size == "auto"
    lightning_private.set_data_parallel_size(strategy, 4)
    assert strategy._data_parallel_size == 4


def test_the_first_process_is_known_before_the_others(monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 0)
    assert lightning_private.is_first_process()
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    assert not lightning_private.is_first_process()


@pytest.mark.parametrize("name", lightning_private.QUIET_LOGGERS)
def test_remarks_are_left_out(name):
    level = logging.getLogger(name).level
    with warnings.catch_warnings():
        lightning_private.silence_remarks()
        assert logging.getLogger(name).getEffectiveLevel() == logging.WARNING
        assert len(warnings.filters) >= len(lightning_private.IGNORED_REMARKS)
    logging.getLogger(name).setLevel(level)
