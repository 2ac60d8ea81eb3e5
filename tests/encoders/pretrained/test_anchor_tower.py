"""The anchor's image tower as an encoder: it begins as that tower, takes other pictures, and is saved whole."""

import csv
import json

import numpy as np
import pytest
import torch
from support import runs, tiny

from bind.anchors.dual_encoder import PretrainedAnchor
from bind.encoders.heads import ProjectionHead
from bind.encoders.pretrained.anchor_tower import AudioTower, ImuTower, MapTower, adapt_kernels, resize_positions
from bind.encoders.pretrained.video_tower import VideoTower
from bind.losses import info_nce
from bind.model.binder import Binder
from bind.runs.jobs import train

FAMILIES = ["clip", "siglip", "altclip", "chinese_clip", "toy"]
MODULE = "bind.encoders.pretrained.anchor_tower"
TOWERS = {
    "audio": {"_target_": f"{MODULE}.AudioTower", "window_seconds": 0.5, "num_mels": 32},
    "imu": {"_target_": f"{MODULE}.ImuTower", "fft_steps": 16, "size_px": 32},
    "depth": {"_target_": f"{MODULE}.MapTower", "size_px": 64},
    "thermal": {"_target_": f"{MODULE}.MapTower", "size_px": 64, "share": "depth"},
}
INPUTS = {"audio": (8000,), "imu": (6, 100), "depth": (1, 64, 64), "thermal": (1, 64, 64)}


@pytest.fixture(scope="module")
def anchors(tmp_path_factory):
    """Family → an anchor of it."""
    folder = tmp_path_factory.mktemp("anchors")
    names = {f: "toy" if f == "toy" else str(tiny.write_anchor(folder / f, f)) for f in FAMILIES}
    return {family: PretrainedAnchor(name) for family, name in names.items()}


def binder_config(anchor="toy"):
    transform = "bind.data.transforms"
    return {
        "anchor": {"_target_": "bind.anchors.dual_encoder.PretrainedAnchor", "pretrained": anchor},
        "modalities": list(TOWERS),
        "encoder": {m: options | {"head": {"norm": False}} for m, options in TOWERS.items()},
        "head": {"_target_": "bind.encoders.heads.ProjectionHead"},
        "transform": {
            "audio": {"_target_": f"{transform}.audio.AudioTransform", "window_seconds": 0.5},
            "imu": {"_target_": f"{transform}.imu.ImuTransform"},
            "depth": {"_target_": f"{transform}.depth.DepthTransform"},
            "thermal": {"_target_": f"{transform}.thermal.ThermalTransform"},
        },
        "fusion": None,
    }


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_it_begins_as_the_image_tower(anchors, family):
    anchor = anchors[family]
    size_px = 64 if family == "toy" else tiny.IMAGE_SIZE_PX
    encoder = MapTower(size_px=size_px, tower=anchor.image_tower()).eval()
    head = ProjectionHead(num_features=encoder.num_features, dim=anchor.dim, norm=False)
    encoder.start_head(head)
    x_B1HW = torch.randn(3, 1, size_px, size_px)
    with torch.no_grad():
        z = head(encoder(x_B1HW)) if family != "siglip" else torch.nn.functional.normalize(encoder(x_B1HW), dim=-1)
    expected = anchor.embed("image", {"pixel_values": x_B1HW.expand(-1, 3, -1, -1)})
    torch.testing.assert_close(z, expected, atol=2e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_weight_learns_and_the_anchor_stays_as_it_was(anchors, family):
    anchor = anchors[family]
    before = anchor.fingerprint
    encoder = AudioTower(window_seconds=0.5, num_mels=40, tower=anchor.image_tower())
    features = encoder(0.1 * torch.randn(2, 8000))
    assert features.shape == (2, encoder.num_features)
    (features * torch.randn_like(features)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(1.0)
    assert anchor.fingerprint == before
    assert len(encoder.layers()) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("modality", ["audio", "imu"])
def test_a_few_steps_bind_sounds_and_motion(anchors, modality):
    torch.manual_seed(0)
    tower = anchors["clip"].image_tower()
    if modality == "audio":
        encoder = AudioTower(window_seconds=0.5, num_mels=32, num_time_masks=0, num_mel_masks=0, tower=tower)
    else:
        encoder = ImuTower(fft_steps=16, size_px=32, tower=tower)
    head = ProjectionHead(num_features=encoder.num_features, dim=tiny.DIM, norm=False)
    encoder.start_head(head)
    time_T, pitches_B1 = torch.linspace(0, 1, INPUTS[modality][-1]), torch.tensor([[6.0], [12.0], [24.0], [40.0]])
    waves_BT = torch.sin(6.28 * pitches_B1 * (20 if modality == "audio" else 1) * time_T)
    x = waves_BT if modality == "audio" else waves_BT[:, None].repeat(1, 6, 1)
    z = torch.nn.functional.normalize(torch.randn(4, tiny.DIM), dim=-1)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=3e-3)
    losses = []
    for _ in range(12):
        loss = info_nce(head(encoder(x)), z, torch.tensor(10.0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.slow
def test_a_run_trains_sounds_and_motion_on_copies_of_the_anchor(recordings, tmp_path, no_pictures):
    choices = ("data=manifest", "encoder/audio=anchor_tower", "encoder/imu=anchor_tower")
    quick = {name: value for name, value in runs.RECORDED.items() if not name.startswith("encoder.")}
    own = {"data.manifest": str(recordings), "run_dir": str(tmp_path), "trainer.max_epochs": 6, "optimizer.lr": 1e-3}
    own |= {
        "encoder.imu.fft_steps": 16,
        "encoder.imu.size_px": 32,
        "transform.audio.window_seconds": 0.5,
        "encoder.audio.num_mels": 32,
    }
    train(runs.config(*choices, **quick | own))
    with (tmp_path / "logs" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for pair in ("audio-image", "imu-image"):
        losses = [float(row[f"train/loss/{pair}"]) for row in rows if row[f"train/loss/{pair}"]]
        assert sum(losses[-3:]) < 0.7 * sum(losses[:3]), losses
    z_BD = Binder.load(tmp_path / "binder").embed("audio", [recordings.parent / "train0.wav"])
    assert np.isclose(np.linalg.norm(z_BD), 1.0, atol=1e-5)


@pytest.mark.slow
def test_a_tower_over_videos_begins_as_the_mean_over_frames(anchors):
    anchor = anchors["clip"]
    tower = {"tower": anchor.image_tower(), "size_px": tiny.IMAGE_SIZE_PX, "num_frames": 3}
    x_BTCHW = torch.randn(2, 3, 3, tiny.IMAGE_SIZE_PX, tiny.IMAGE_SIZE_PX)
    with torch.no_grad():
        expected = anchor.model.vision_model(pixel_values=x_BTCHW.flatten(0, 1)).pooler_output.view(2, 3, -1).mean(1)
        for per_frame in (False, True):
            encoder = VideoTower(**tower, class_token_per_frame=per_frame).eval()
            torch.testing.assert_close(encoder(x_BTCHW), expected, atol=2e-5, rtol=0)
            assert encoder.stem.class_token_W.shape == ((3, 16) if per_frame else (16,))
            again = VideoTower(**tower, class_token_per_frame=per_frame).state_dict()
            assert all(torch.equal(x, again[name]) for name, x in encoder.state_dict().items()), "nothing is random"
    (encoder(x_BTCHW) * torch.randn(16)).sum().backward()
    assert all(layer.temporal_attn.out_proj.weight.grad.any() for layer in encoder.layers())
    with pytest.raises(ValueError, match=r"expected clips \(B, 3, 3, 16, 16\), got \(2, 2, 3, 16, 16\)"):
        encoder(x_BTCHW[:, :2])
    with pytest.raises(ValueError, match=r"layers of CLIP's tower, and this is a ConvNextModel: .*anchor=clip"):
        VideoTower(tower=anchors["toy"].image_tower(), size_px=64)


@pytest.mark.slow
def test_it_is_saved_whole_and_shares_its_trunk(tmp_path):
    binder = Binder.from_config(binder_config())
    assert binder.encoders["thermal"].trunk is binder.encoders["depth"].trunk
    loaded = Binder.load(binder.save(tmp_path))
    described = json.loads((tmp_path / "binder.json").read_text())["encoder"]
    assert all(options["architecture"]["model_type"] == "convnext" for options in described.values())
    binder.eval()
    for modality, shape in INPUTS.items():
        x = 0.1 * torch.randn(2, *shape)
        with torch.no_grad():
            z = binder.encode(modality, x)
            torch.testing.assert_close(loaded.encode(modality, x), z, atol=1e-6, rtol=0)


def test_a_head_of_another_kind_is_left_as_it_is(anchors):
    encoder = MapTower(size_px=64, tower=anchors["toy"].image_tower())
    for options in ({"norm": True}, {"norm": False, "hidden_width": 4}, {"norm": False, "dim": 3}):
        head = ProjectionHead(**{"num_features": encoder.num_features, "dim": 64} | options)
        before = {name: x.clone() for name, x in head.state_dict().items()}
        encoder.start_head(head)
        assert all(torch.equal(x, before[name]) for name, x in head.state_dict().items())


def test_positions_of_a_resized_grid_keep_their_places():
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
    resized = resize_positions(torch.stack([rows, columns], dim=-1).flatten(0, 1), (8, 2))
    assert resized.shape == (16, 2)
    grid = resized.unflatten(0, (8, 2))
    assert (grid[1:, :, 0] > grid[:-1, :, 0]).all()
    torch.testing.assert_close(grid[:, 0, 0], grid[:, 1, 0])


@pytest.mark.parametrize("num_channels", [1, 2, 6])
def test_a_picture_of_equal_channels_gives_the_same_patches(num_channels):
    patches = torch.nn.Conv2d(3, 5, 4, stride=4)
    x_B1HW = torch.randn(2, 1, 8, 8)
    adapted = adapt_kernels(patches, num_channels)(x_B1HW.expand(-1, num_channels, -1, -1))
    torch.testing.assert_close(adapted, patches(x_B1HW.expand(-1, 3, -1, -1)), atol=1e-5, rtol=0)


@pytest.mark.slow
def test_what_can_not_be_copied_is_refused(tmp_path):
    anchor = PretrainedAnchor(str(tiny.write_anchor(tmp_path / "vit", "vision_text_dual_encoder")))
    with pytest.raises(ValueError, match=r"can't copy a ViTModel: it knows the image towers of CLIP"):
        MapTower(size_px=16, tower=anchor.image_tower())
    with pytest.raises(ValueError, match="build it within a Binder, or give it an architecture"):
        MapTower(size_px=16)


@pytest.mark.slow
def test_wrong_inputs_are_refused(anchors):
    tower = anchors["toy"].image_tower()
    with pytest.raises(ValueError, match=r"pictures of 16 × 16 are smaller"):
        MapTower(size_px=16, tower=tower)
    with pytest.raises(ValueError, match=r"expected pictures \(B, 1, 64, 64\)"):
        MapTower(size_px=64, tower=tower)(torch.zeros(1, 3, 64, 64))
    with pytest.raises(ValueError, match=r"expected sensor windows \(B, 6, T\)"):
        ImuTower(size_px=64, tower=tower)(torch.zeros(1, 6, 30))


@pytest.mark.slow
@pytest.mark.parametrize("part", ["lora", "last_1", "head"])
def test_less_than_all_of_it_can_train(tmp_path, part):
    config = binder_config(str(tiny.write_anchor(tmp_path / "anchor"))) | {"modalities": ["depth"]}
    options = TOWERS["depth"] | {"size_px": tiny.IMAGE_SIZE_PX, "head": {"norm": False}, "train": part}
    binder = Binder.from_config(config | {"encoder": {"depth": options}})
    parameters = dict(binder.encoders["depth"].named_parameters())
    trained = [name for name, p in parameters.items() if p.requires_grad]
    assert len(trained) < len(parameters)
    assert part != "lora" or all("lora" in name for name in trained)
    assert part != "head" or not trained
    binder.eval()
    x = torch.randn(2, 1, tiny.IMAGE_SIZE_PX, tiny.IMAGE_SIZE_PX)
    loaded = Binder.load(binder.save(tmp_path / "saved"))
    with torch.no_grad():
        torch.testing.assert_close(loaded.encode("depth", x), binder.encode("depth", x), atol=1e-6, rtol=0)
