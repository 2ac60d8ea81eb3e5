"""Small trainings that are healthy, or broken on purpose in one way each."""

import logging
import re

import lightning as L
import pytest
import torch
from support import runs, tiny
from torch.nn.functional import normalize
from torch.utils.data import DataLoader

from bind.model.binder import Binder
from bind.runs.jobs import train
from bind.training.callbacks.collapse import CollapseAlarm, is_at_chance, reference_spread, weight_norm
from bind.training.module import BindingModule
from bind.types import Batch, Pair

NUM_TRAIN, NUM_VAL, BATCH, NUM_EPOCHS = 512, 64, 32, 6
IMU_IMAGE = Pair("imu", "image")


@pytest.fixture(scope="module")
def anchor_folder(tmp_path_factory):
    return tiny.write_anchor(tmp_path_factory.mktemp("anchor"))


def world(num_samples, seed):
    """Motion whose channels swing as wide as the picture's vector says, (N, 6, 50) and (N, D)."""
    generator = torch.Generator().manual_seed(seed)
    z_image = normalize(torch.randn(num_samples, tiny.DIM, generator=generator), dim=1)
    time = torch.arange(50) / 50
    waves = torch.stack([torch.sin(2 * torch.pi * (1 + i % 3) * time + i) for i in range(6)])
    level = z_image[:, :6, None]
    return 3 * level * waves + level + 0.05 * torch.randn(num_samples, 6, 50, generator=generator), z_image


def batches(imu, z_image):
    made = []
    for start in range(0, len(imu), BATCH):
        rows = torch.arange(len(imu[start : start + BATCH]))
        of_both = {"imu": rows, "image": rows}
        keys = [f"k{start + i}" for i in rows.tolist()]
        cached = {"image": z_image[start : start + BATCH]}
        inputs = {"imu": imu[start : start + BATCH]}
        made.append(Batch(keys, rows + start, inputs, of_both, cached, modalities=("imu", "image")))
    return DataLoader(made, batch_size=None)


class Run:
    """A training of `world`, of which `spoil(imu, z_image)` may change the inputs, and what the alarm said."""

    def __init__(self, anchor_folder, caplog, spoil=lambda *both: both, pair=IMU_IMAGE, lr=3e-3, **trainer):
        torch.manual_seed(0)
        self.module = BindingModule(Binder.from_config(tiny.binder_config(anchor_folder)), [pair], lr=lr)
        self.alarm = CollapseAlarm(min_steps=8)
        train, val = spoil(*world(NUM_TRAIN, 1)), spoil(*world(NUM_VAL, 2))
        options = {"max_epochs": NUM_EPOCHS, "accelerator": "cpu", "gradient_clip_val": 1.0, **trainer}
        options |= dict.fromkeys(
            ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
        )
        with caplog.at_level(logging.WARNING, logger="bind"):
            self.trainer = L.Trainer(callbacks=[self.alarm], num_sanity_val_steps=0, **options)
            self.trainer.fit(self.module, batches(*train), batches(*val))
        self.warnings = [record.getMessage() for record in caplog.records if record.name == "bind"]


def shuffled(imu, z_image):
    return imu, z_image[torch.randperm(len(imu), generator=torch.Generator().manual_seed(5))]


@pytest.mark.slow
def test_a_healthy_run_is_quiet(anchor_folder, caplog):
    run = Run(anchor_folder, caplog)
    assert run.module.last_figures["retrieval"]["imu", "image"]["R@1"] > 0.3
    assert run.warnings == []
    assert weight_norm(run.module, "imu") < 1.5 * run.alarm.state_dict()["start_norm"]["imu"]
    assert run.alarm.state_dict()["alive"]["imu"][0] == run.trainer.global_step
    space = run.module.last_figures["space"]
    assert reference_spread(run.module) == 1 - space.pop("image")["mean_cosine"]
    assert reference_spread(run.module) == 1.0  # nothing frozen to compare with


@pytest.mark.slow
def test_a_healthy_run_is_quiet_from_its_first_steps_on(anchor_folder, caplog):
    run = Run(anchor_folder, caplog, max_epochs=3, val_check_interval=2)
    assert run.trainer.global_step > 2 * run.alarm.min_steps
    assert run.warnings == []


@pytest.mark.slow
def test_inputs_that_are_all_alike(anchor_folder, caplog):
    run = Run(anchor_folder, caplog, lambda imu, z_image: (torch.zeros_like(imu), z_image))
    (warning,) = run.warnings  # once, not at each of six validations
    assert warning.startswith("After 16 steps, imu has collapsed: every input gets the same vector.")
    assert "imu: 1.0000, 1.0, " in warning  # mean cosine and effective rank
    assert "R@1 imu to image 0.0" in warning
    assert "(chance 0.016)" in warning
    assert "likely (1): inputs that are all alike" in warning


@pytest.mark.slow
def test_shuffled_pairs(anchor_folder, caplog):
    run = Run(anchor_folder, caplog, shuffled, max_epochs=20)
    assert len(run.warnings) == 1
    assert "imu has collapsed: every input gets nearly" in run.warnings[0] or "imu finds nothing" in run.warnings[0]
    assert "likely (1): samples whose two sides do not belong together (imu-image" in run.warnings[0]


@pytest.mark.slow
def test_shuffled_pairs_that_are_learned_by_heart(anchor_folder, caplog):
    options = {"max_epochs": 150, "check_val_every_n_epoch": 150, "limit_train_batches": 2, "lr": 1e-2}
    (warning,) = Run(anchor_folder, caplog, shuffled, **options).warnings
    assert "imu finds nothing: its vectors differ, but retrieval is at chance" in warning
    assert "likely (1): samples whose two sides do not belong together" in warning
    assert "learned by heart" in warning


@pytest.mark.slow
@pytest.mark.parametrize("learn", [False, True])
def test_a_temperature_far_too_high(anchor_folder, caplog, learn):
    run = Run(anchor_folder, caplog, pair=Pair("imu", "image", temperature=1.0, learn_temperature=learn), max_epochs=3)
    (warning,) = run.warnings
    kind = r"0\.9\d \(learned" if learn else r"1 \(fixed"
    assert re.search(rf"the temperature of imu-image, {kind}\), is far too high for imu", warning)
    assert "pairs.imu-image.temperature=0.07" in warning
    assert run.module.last_figures["space"]["imu"]["effective_rank"] > 3


@pytest.mark.slow
def test_a_learning_rate_far_too_high(anchor_folder, caplog):
    run = Run(anchor_folder, caplog, lr=30.0, pair=Pair("imu", "image", learn_temperature=False))
    (warning,) = run.warnings
    assert "imu has collapsed" in warning
    assert "likely (1): a learning rate that is too high (optimizer.lr=30)" in warning


@pytest.mark.slow
def test_a_run_that_goes_on_does_not_warn_again(anchor_folder, caplog):
    run = Run(anchor_folder, caplog, lambda imu, z_image: (torch.zeros_like(imu), z_image), max_epochs=1)
    state = run.alarm.state_dict()
    assert state["told"] == ["imu: constant"]
    assert state["start_loss"]["imu-image"] > 3
    caplog.clear()
    again = CollapseAlarm()
    again.load_state_dict(state)
    with caplog.at_level(logging.WARNING, logger="bind"):
        again.on_validation_end(run.trainer, run.module)
    assert caplog.records == []
    assert again.state_dict() == state


TOY = {"data.num_train": 512, "data.batch_size": 32, "trainer.max_epochs": 2, "callbacks.collapse.min_steps": 10}
TOY |= {"data.num_test_queries": 1, "data.zero_shot": {}}
OF_RECORDINGS = {**runs.RECORDED, "callbacks.collapse.min_steps": 0}


def warnings_of(config, caplog):
    with caplog.at_level(logging.WARNING, logger="bind"):
        train(config)
    return [record.getMessage() for record in caplog.records if "After" in record.getMessage()]


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_the_toy_world_is_quiet(tmp_path, caplog):
    assert warnings_of(runs.config(**runs.QUICK | TOY | {"run_dir": str(tmp_path)}), caplog) == []
    header = (tmp_path / "logs" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"val/space/audio/effective_rank", "val/space/imu-image/gap", "val/space/image_to_audio/hubness"} <= set(
        header
    )


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_a_small_manifest_is_quiet_but_for_its_temperature(recordings, tmp_path, caplog):
    values = {**OF_RECORDINGS, "data.manifest": str(recordings), "run_dir": str(tmp_path)}
    assert warnings_of(runs.config("data=manifest", **values), caplog) == []  # six samples can't show chance
    hot = {"overwrite": True, "pairs.audio-image.temperature": 1.0, "pairs.audio-image.learn_temperature": False}
    (warning,) = warnings_of(runs.config("data=manifest", **values | hot), caplog)
    assert warning.startswith("After 3 steps, the temperature of audio-image, 1 (fixed), is far too high for audio")


def figures(recall_1, recall_10, *, queries=200, pool=100):
    return {"R@1": recall_1, "R@10": recall_10, "chance_R@1": 1 / pool, "chance_R@10": 10 / pool} | {
        "queries": queries,
        "pool": pool,
    }


def test_chance_is_within_three_deviations_for_both_depths():
    assert is_at_chance(figures(0.02, 0.12)) is True
    assert is_at_chance(figures(0.02, 0.25)) is False
    assert is_at_chance(figures(0.08, 0.12)) is False
    assert is_at_chance(figures(0.0, 0.0)) is True
    assert is_at_chance(figures(0.0, 0.0, pool=20)) is None
    assert is_at_chance(figures(0.0, 0.0, queries=20)) is None


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match=r"callbacks\.collapse: after_fraction=25"):
        CollapseAlarm(after_fraction=25)
