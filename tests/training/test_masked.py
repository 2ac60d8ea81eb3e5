"""Hidden patches beside the pairs, and alone: what is seen, what is learned, what is refused."""

import numpy as np
import pytest
import torch
from lightning.pytorch.plugins.precision import Precision
from support import runs, tiny
from support.batches import attention, make_batch

from bind.data.transforms.channels import ChannelsTransform
from bind.encoders.channels import ChannelsTransformer
from bind.encoders.imu_transformer import ImuTransformer
from bind.encoders.map_vit import MapViT
from bind.losses.masked import masked_errors, mean_masked_error, standardise_patches
from bind.model.binder import Binder
from bind.runs.jobs import train
from bind.training.callbacks.finite import FiniteLoss
from bind.training.fitting import peak_of_step, repeat_rows
from bind.training.masked import active_objectives, draw_noise, names_of
from bind.training.module import BindingModule
from bind.types import Batch, MaskedEncoder, MaskedPatches, Pair, SensorRecording

IMU_IMAGE = Pair("imu", "image", temperature=0.1)
HIDDEN = MaskedPatches("imu", weight=2.0)
CHANNELS = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
UNITS = ("g",) * 3 + ("rad/s",) * 3
TRANSFORM = ChannelsTransform(window_seconds=1.0)
SMALL = {"width": 16, "num_layers": 1, "num_heads": 2, "drop_path": 0.0}
IMU = {
    "_target_": "bind.encoders.imu_transformer.ImuTransformer",
    **SMALL,
    "num_steps": 50,
    "kernel": 5,
    "feature_dropout": 0.0,
}
DEPTH = {"_target_": "bind.encoders.map_vit.MapViT", **SMALL, "size_px": 64, "patch": 16}


@pytest.fixture(scope="module")
def anchor_folder(tmp_path_factory):
    return tiny.write_anchor(tmp_path_factory.mktemp("anchor"))


def make_binder(anchor_folder, imu=IMU, depth=DEPTH, **more):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Binder.from_config(tiny.binder_config(anchor_folder, encoder={"imu": imu, "depth": depth}, **more))


def channel_inputs():
    """Two windows, the second without its gyroscope."""
    rows = []
    for seed, num in ((0, 6), (1, 3)):
        values = np.random.default_rng(seed).standard_normal((50, num)).astype(np.float32)
        rows.append(TRANSFORM(SensorRecording(values, 50.0, CHANNELS[:num], UNITS[:num]), None))
    return TRANSFORM.collate(rows)


def encoder_and_inputs(kind):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "channels":
            return ChannelsTransformer(window_seconds=1.0, **SMALL).eval(), channel_inputs()
        if kind == "imu":
            options = {name: value for name, value in IMU.items() if name != "_target_"}
            return ImuTransformer(**options).eval(), torch.randn(2, 6, 50)
        return MapViT(**SMALL, size_px=32, patch=8).eval(), torch.rand(2, 1, 32, 32)


def changed(kind, encoder, inputs, place):
    """The inputs with other values in the patch at `place` of every row."""
    if kind == "channels":
        other = {name: x.clone() for name, x in inputs.items()}
        other["coefficients"].flatten(1, 2)[:, place] += 5.0
        return other
    other = inputs.clone()
    if kind == "imu":
        other[:, :, place * encoder.kernel : (place + 1) * encoder.kernel] += torch.rand(6, encoder.kernel)
    else:
        row, column = (8 * x for x in divmod(place, 4))
        other[:, :, row : row + 8, column : column + 8] += torch.rand(8, 8)
    return other


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["imu", "channels", "map"])
def test_a_hidden_patch_tells_nothing_and_one_that_is_seen_does(kind):
    encoder, inputs = encoder_and_inputs(kind)
    assert isinstance(encoder, MaskedEncoder)
    patches, is_there = encoder.patches(inputs)
    assert patches.shape == (*is_there.shape, encoder.num_patch_values)
    is_masked = torch.zeros_like(is_there)
    is_masked[:, [1, 4]] = True
    mask_token = torch.full((encoder.num_token_features,), 0.3)
    other = changed(kind, encoder, inputs, place=4)
    after = encoder.patches(other)[0]
    assert [place for place in range(patches.shape[1]) if not torch.equal(after[:, place], patches[:, place])] == [4]
    tokens, there = encoder.masked_tokens(inputs, is_masked, mask_token)
    assert torch.equal(there, is_there)
    assert torch.equal(encoder.masked_tokens(other, is_masked, mask_token)[0], tokens)
    is_masked[:, 4] = False
    apart = (
        encoder.masked_tokens(other, is_masked, mask_token)[0] - encoder.masked_tokens(inputs, is_masked, mask_token)[0]
    )
    assert apart[is_there].abs().max() > 1e-3
    nothing_hidden = encoder.masked_tokens(inputs, torch.zeros_like(is_there), mask_token)[0]
    torch.testing.assert_close(nothing_hidden, encoder.tokens(inputs)[0])
    assert not torch.equal(tokens[:, 1], encoder.masked_tokens(inputs, is_masked, 2 * mask_token)[0][:, 1])


@pytest.mark.slow
@pytest.mark.parametrize("chunk_size", [None, 2])
def test_a_step_adds_the_error_of_the_hidden_patches(anchor_folder, chunk_size):
    binder = make_binder(anchor_folder)
    module = BindingModule(binder, [IMU_IMAGE], masked=[HIDDEN], chunk_size=chunk_size, seed=3)
    module.log = lambda *_, **__: None
    batch = make_batch(binder)
    module._batch_number = 7
    total = module.training_step(batch, 0)
    encoder, inputs = binder.encoders["imu"], batch.inputs["imu"]
    names = [f"\n{batch.keys[row]}\n0" for row in batch.rows["imu"].tolist()]
    assert names_of(batch, "imu") == names
    lowest = draw_noise(names, 3, 7, num_patches=10).argsort(dim=1)[:, :5]
    is_masked = torch.zeros(3, 10, dtype=torch.bool).scatter(1, lowest, True)
    tokens, _ = encoder.masked_tokens(inputs, is_masked, module.masked.mask_tokens["imu"])
    patches = encoder.patches(inputs)[0]
    errors = masked_errors(module.masked.decoders["imu"](tokens), standardise_patches(patches), is_masked)
    torch.testing.assert_close(module.last_losses["masked/imu"], mean_masked_error(errors).detach())
    torch.testing.assert_close(total.detach(), module.last_losses["imu-image"] + 2 * module.last_losses["masked/imu"])
    total.backward()
    own = {name for name, p in module.named_parameters() if p.grad is not None and name.startswith("masked.")}
    assert own == {"masked.mask_tokens.imu", "masked.decoders.imu.weight", "masked.decoders.imu.bias"}
    assert not any("masked" in name for name in binder.own_state_dict()), "it is no part of what is saved"


def test_which_patches_are_hidden_depends_on_seed_step_and_sample_alone():
    noise = draw_noise(["a", "b"], 0, 5, num_patches=6)
    assert torch.equal(draw_noise(["b", "a"], 0, 5, num_patches=6), noise.flip(0))
    others = [draw_noise(["a", "b"], 1, 5, num_patches=6), draw_noise(["a", "b"], 0, 6, num_patches=6)]
    assert all((noise != other).all() for other in others)
    batch = Batch(["x", "y"], torch.tensor([0, 1]), {}, {"imu": torch.tensor([0, 1, 1])}, source="s")
    assert names_of(batch, "imu") == ["s\nx\n0", "s\ny\n0", "s\ny\n1"]
    batch.num_clips = {"imu": torch.tensor([2, 1, 1])}
    assert names_of(batch, "imu") == ["s\nx\n0", "s\nx\n1", "s\ny\n0", "s\ny\n1"]


@pytest.mark.slow
def test_a_batch_without_the_modality_costs_nothing_and_keeps_its_graph(anchor_folder):
    binder = make_binder(anchor_folder)
    module = BindingModule(binder, [], masked=[HIDDEN])
    total = module.training_step(make_batch(binder, imu=()), 0)
    assert total.item() == 0.0
    total.backward()
    assert all(parameter.grad is not None for parameter in module.masked.parameters())
    with pytest.raises(ValueError, match=r"leave it out of data\.sources"):
        module.training_step(make_batch(binder, imu=(), carried=("image", "depth")), 0)


@pytest.mark.slow
def test_patches_of_two_encoders_with_one_trunk_are_hidden(anchor_folder):
    binder = make_binder(anchor_folder, depth=DEPTH | {"share": "imu"})
    assert binder.encoders["depth"].trunk is binder.encoders["imu"].trunk
    module = BindingModule(binder, [IMU_IMAGE], masked=[HIDDEN, MaskedPatches("depth", share=0.75)])
    module.training_step(make_batch(binder), 0).backward()
    assert set(module.last_losses) == {"imu-image", "masked/imu", "masked/depth"}
    grads = [p.grad for name, p in module.named_parameters() if ".encoders." in name]
    assert all(grad is not None for grad in grads)


@pytest.mark.slow
def test_validation_says_what_share_is_explained_and_leaves_retrieval_alone(anchor_folder):
    binder = make_binder(anchor_folder)
    module = BindingModule(binder.eval(), [], masked=[HIDDEN]).eval()
    figures = {}
    module.log = lambda name, value, **_: figures.update({name: value})
    batch = make_batch(binder)
    errors = module.masked.errors(binder, batch, seed=0, step=0)["masked/imu"]
    for _ in range(2):  # the same patches are hidden every time
        with torch.no_grad():
            module.validation_step(batch, 0)
            module.validation_step(make_batch(binder, imu=()), 1)
        module.on_validation_epoch_end()
        expected = 1 - errors[:, 0].sum().item() / errors[:, 1].sum().item()
        assert figures["val/masked/imu/explained"] == pytest.approx(expected, rel=1e-5)
        assert not any("R@" in name for name in figures)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "encoder", "message"),
    [
        (MaskedPatches("audio"), IMU, r"objective\.masked\.audio: audio has no encoder; .*\['imu', 'depth'\]"),
        (MaskedPatches("imu_and_depth"), IMU, r"objective\.masked\.imu_and_depth: imu_and_depth has no encoder"),
        (MaskedPatches("imu", share=1.0), IMU, r"objective\.masked\.imu\.share=1\.0: give a share between 0 and 1"),
        (MaskedPatches("imu", share="half"), IMU, r"objective\.masked\.imu\.share=half"),
        (
            HIDDEN,
            {"_target_": "bind.encoders.imu_cnn.ImuCNN", "width": 8, "num_layers": 2},
            r"objective\.masked\.imu: ImuCNN has no tokens.*encoder/imu=transformer or channels",
        ),
        (HIDDEN, IMU | {"train": "head"}, r"objective\.masked\.imu: encoder\.imu\.train=head .*train=full"),
    ],
)
def test_what_can_not_be_hidden_is_said(anchor_folder, objective, encoder, message):
    binder = make_binder(anchor_folder, imu=encoder, fusion=attention("imu", "depth"))
    with pytest.raises(ValueError, match=message):
        BindingModule(binder, [Pair("depth", "image")], masked=[objective])


@pytest.mark.slow
def test_the_room_of_a_step_is_measured_with_its_hidden_patches(anchor_folder):
    binder = make_binder(anchor_folder)
    module = BindingModule(binder, [IMU_IMAGE], masked=[HIDDEN])
    peak_of_step(module, repeat_rows(make_batch(binder), 8), Precision(), torch.device("cpu"))
    assert all(parameter.grad is not None for parameter in module.masked.parameters())


@pytest.mark.slow
def test_shards_and_hidden_patches_exclude_each_other(anchor_folder):
    module = BindingModule(make_binder(anchor_folder), [IMU_IMAGE], masked=[HIDDEN])
    module._device_mesh = object()
    with pytest.raises(ValueError, match=r"objective\.masked does not go with trainer=fsdp: choose trainer=ddp"):
        module.configure_model()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wait": 1.0}, r"objective\.masked\.imu: give weight and share"),
        ({"weight": -1.0}, r"objective\.masked\.imu\.weight=-1\.0"),
        ({"weight": "much"}, r"objective\.masked\.imu\.weight=much"),
    ],
)
def test_options_that_can_not_be_name_their_key(options, message):
    with pytest.raises(ValueError, match=message):
        active_objectives({"objective": {"masked": {"imu": options}}})


def test_another_objective_is_refused():
    with pytest.raises(ValueError, match=r"objective\.maskd: there is objective\.masked only"):
        active_objectives({"objective": {"masked": None, "maskd": {"imu": {"weight": 1.0}}}})


def test_what_has_no_weight_is_left_out():
    assert active_objectives({}) == []
    masked = {"imu": {"weight": 1, "share": 0.4}, "depth": {"weight": 0, "share": 7}, "thermal": None}
    assert active_objectives({"objective": {"masked": masked}}) == [MaskedPatches("imu", 1, 0.4)]


def test_a_loss_that_is_not_finite_names_its_key():
    finite, module = FiniteLoss(), type("Module", (), {"last_losses": {"masked/imu": torch.tensor(float("nan"))}})
    finite.on_train_batch_end(None, module)
    with pytest.raises(ValueError, match=r"the loss of objective\.masked\.imu is nan"):
        finite._look()


TRANSFORMER = {
    "encoder.imu": {"_target_": IMU["_target_"], **SMALL, "drop_path": 0.3, "num_steps": 50, "kernel": 5},
    "transform.imu.sample_rate_hz": 100,
    "objective.masked.imu": {"weight": 0.5, "share": 0.5},
}
ALONE = {"modalities": ["imu"], "pairs.imu-image.weight": 0.0, "monitor": "val/masked/imu/explained"}


@pytest.mark.slow
def test_a_run_with_hidden_patches_that_is_killed_goes_on_as_if_it_had_not_been(recordings, tmp_path, no_pictures):
    whole = runs.train_whole_and_in_parts(recordings, tmp_path, **TRANSFORMER)
    assert {"train/loss/masked/imu", "train/loss/imu-image", "val/masked/imu/explained"} <= runs.logged_columns(whole)


@pytest.mark.slow
def test_motion_alone_trains_and_another_run_starts_from_its_weights(recordings, tmp_path, no_pictures):
    rows = [
        {k: row[k] for k in ("key", "split", "owner", "imu")} for row in runs.read_manifest(recordings) if "imu" in row
    ]
    alone = runs.write_manifest(recordings.with_name("motion.jsonl"), rows)
    values = runs.RECORDED | TRANSFORMER | ALONE | {"run_dir": str(tmp_path / "felt"), "data.manifest": str(alone)}
    with pytest.raises(ValueError, match=r"monitor=val/mean_R@1: .*monitor=val/masked/imu/explained"):
        train(runs.config("data=manifest", **values | {"monitor": "val/mean_R@1"}))
    score = train(runs.config("data=manifest", **values))
    assert np.isfinite(score)
    assert "val/mean_R@1" not in runs.logged_columns(tmp_path / "felt")
    told = {"pairs.imu-image.weight": 1.0, "monitor": "val/mean_R@1", "objective.masked.imu": None}
    more = {"run_dir": str(tmp_path / "told"), "data.manifest": str(recordings), "init_from": str(tmp_path / "felt")}
    train(runs.config("data=manifest", **values | told | more))
    assert "train/loss/masked/imu" not in runs.logged_columns(tmp_path / "told")


@pytest.mark.slow
def test_data_without_the_modality_are_named(recordings, tmp_path):
    rows = [row for row in runs.read_manifest(recordings) if row["split"] != "train" or row.pop("imu", 0) is not None]
    without = runs.write_manifest(recordings.with_name("no_motion.jsonl"), rows)
    values = runs.RECORDED | TRANSFORMER | ALONE | {"run_dir": str(tmp_path / "run"), "data.manifest": str(without)}
    with pytest.raises(ValueError, match=r"objective\.masked\.imu: no sample in split 'train'.* has imu"):
        train(runs.config("data=manifest", **values))
