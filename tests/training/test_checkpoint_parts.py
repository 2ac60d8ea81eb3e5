"""Trainings that go on with other pairs, objectives or modalities than before are refused in words."""

import pytest
import torch
from support import runs, tiny

from bind.model.binder import Binder
from bind.runs.jobs import train
from bind.training.checkpoint_parts import refuse_other_optimizer
from bind.training.checkpoints import init_weights
from bind.training.module import BindingModule, parameter_groups
from bind.types import MaskedPatches, Pair

pytestmark = pytest.mark.slow

TOY = tiny.binder_config("toy")
WITH_TOKENS = {
    "_target_": "bind.encoders.imu_transformer.ImuTransformer",
    "num_steps": 50,
    "kernel": 5,
    "width": 8,
    "num_layers": 1,
    "num_heads": 2,
}


def make(pairs, modalities=("imu",), masked=(), **options):
    torch.manual_seed(0)
    config = TOY | {"modalities": list(modalities), "encoder": TOY["encoder"] | {"imu": WITH_TOKENS}}
    made = [Pair(*pair.split("-"), **options) for pair in pairs]
    return BindingModule(Binder.from_config(config), made, masked=[MaskedPatches(m) for m in masked])


def save(module, path):
    checkpoint = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    checkpoint["optimizer_states"] = [torch.optim.AdamW(parameter_groups(module, 0.1)).state_dict()]
    torch.save(checkpoint, path)
    return path


ONE, TWO = {"pairs": ["imu-image"]}, {"pairs": ["imu-image", "imu-text"]}
BOTH = {"pairs": ["imu-image", "depth-image"], "modalities": ["imu", "depth"]}


@pytest.mark.parametrize(
    ("before", "now", "change"),
    [
        (ONE, TWO, r"changed since: pairs\.imu-text added\. "),
        (TWO, ONE, r"changed since: pairs\.imu-text removed\. "),
        (ONE, ONE | {"masked": ["imu"]}, r"changed since: objective\.masked\.imu added\. "),
        (ONE | {"masked": ["imu"]}, ONE, r"changed since: objective\.masked\.imu removed\. "),
        (ONE, BOTH, r"changed since: pairs\.depth-image, the modality depth added\. "),
        (BOTH, ONE, r"changed since: pairs\.depth-image, the modality depth removed\. "),
        (ONE, {"pairs": ["imu-text"]}, r"changed since: pairs\.imu-text added; pairs\.imu-image removed\. "),
    ],
)
def test_what_was_added_or_removed_is_named_with_the_file_and_the_fix(before, now, change, tmp_path):
    last = save(make(**before), tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match=change) as refused:
        init_weights(make(**now), last, exact=True)
    assert str(refused.value).startswith(f"{last}: ")
    assert f"init_from={last} in another run_dir, without ckpt=" in str(refused.value)
    if set(before.get("modalities", ["imu"])) >= set(now.get("modalities", ["imu"])):
        init_weights(make(**now), last)  # the fix


@pytest.mark.parametrize("parts", [ONE, TWO, BOTH, ONE | {"masked": ["imu"]}])
def test_the_same_parts_go_on(parts, tmp_path):
    init_weights(make(**parts), save(make(**parts), tmp_path / "last.ckpt"), exact=True)


def test_a_temperature_that_is_fixed_now_is_refused_too(tmp_path):
    last = save(make(**ONE), tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match=r"other weights train now than before, \d+ instead of \d+ of them: set what"):
        init_weights(make(**ONE, learn_temperature=False), last, exact=True)


def test_another_part_of_an_encoder_is_left_to_the_module_which_names_it(tmp_path):
    module = make(**ONE)
    checkpoint = torch.load(save(module, tmp_path / "last.ckpt"), weights_only=True)
    refuse_other_optimizer(module, checkpoint | {"trained_parts": {"imu": "head"}}, tmp_path)


@pytest.mark.parametrize("ckpt", ["last", "auto"])
def test_a_run_goes_on_with_its_pairs_alone(recordings, tmp_path, no_pictures, ckpt):
    train(runs.fused_config(recordings, tmp_path, **{"trainer.max_epochs": 1}))
    more = {"trainer.max_epochs": 2, "ckpt": ckpt, "pairs.imu-text.weight": 1.0}
    with pytest.raises(ValueError, match=r"last\.ckpt: the training has changed since: pairs\.imu-text added\."):
        train(runs.fused_config(recordings, tmp_path, **more))
