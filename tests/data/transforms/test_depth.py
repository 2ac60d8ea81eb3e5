from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image

from bind.data.transforms.depth import DepthTransform
from bind.types import Clip

CONFIGS = Path(__file__).parents[3] / "configs" / "transform" / "depth"
PLAIN = {"mean": 0.0, "std": 1.0}


def test_inverse_depth_is_clipped_and_normalised():
    depth = np.array([[0.01, 2.0], [4.0, 100.0]], dtype=np.float32)
    y = DepthTransform(size_px=2, mean=0.5, std=0.25)(depth, None)
    assert (y.shape, y.dtype) == ((1, 2, 2), torch.float32)
    np.testing.assert_allclose(y[0], (1 / np.array([[0.1, 2.0], [4.0, 50.0]]) - 0.5) / 0.25, rtol=1e-5)


def test_millimetres_in_a_png_are_metres_in_memory(tmp_path):
    depth_mm = np.random.default_rng(0).integers(500, 9000, (64, 64)).astype(np.uint16)
    Image.fromarray(depth_mm).save(tmp_path / "d.png")
    transform = DepthTransform(size_px=32)
    from_file = transform(Clip(tmp_path / "d.png"), None)
    torch.testing.assert_close(from_file, transform(depth_mm.astype(np.float32) / 1000, None))


def test_what_was_not_measured_takes_no_part_in_resizing():
    depth = np.full((64, 64), 2.0, dtype=np.float32)
    depth[::2, ::3] = 0.0
    y = DepthTransform(size_px=16, **PLAIN)(depth, None)
    np.testing.assert_allclose(y, 0.5, rtol=1e-4)
    depth[:, :32] = 0.0
    y = DepthTransform(size_px=16, **PLAIN)(depth, None)
    assert y[0, 8, 2] == 0.0


def test_the_middle_of_a_wide_picture_is_kept():
    depth = np.full((32, 96), 1.0, dtype=np.float32)
    depth[:, 32:64] = 4.0
    y = DepthTransform(size_px=32, **PLAIN)(depth, None)
    np.testing.assert_allclose(y, 0.25)


@pytest.mark.parametrize(
    ("depth", "message"),
    [
        (np.full((4, 4), np.nan), "16 of 16 values are NaN or infinite"),
        (np.full((4, 4), -1.0), "depth is negative"),
        (np.zeros((4, 4)), "no pixel was measured"),
        (np.ones((4, 4, 3)), r"shape \(4, 4, 3\) is not"),
    ],
)
def test_a_bad_map_is_refused(depth, message):
    with pytest.raises(ValueError, match=message):
        DepthTransform()(depth, None)


def test_a_bad_file_is_named(tmp_path):
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(tmp_path / "grey.png")
    with pytest.raises(ValueError, match=r"grey\.png: uint8 is no depth map"):
        DepthTransform()(Clip(tmp_path / "grey.png"), None)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"bad\.png: not readable as a picture"):
        DepthTransform()(Clip(tmp_path / "bad.png"), None)


def test_collate_stacks():
    assert DepthTransform().collate([torch.zeros(1, 8, 8)] * 2).shape == (2, 1, 8, 8)


def test_disparity_of_a_kinect_is_baseline_times_focal_length_over_depth():
    depth = np.array([[0.005, 2.0], [4.0, 100.0]], dtype=np.float32)
    y = DepthTransform(size_px=2, min_metres=0.01, mean=0.0418, std=0.0295, baseline_metres=0.075, focal_px=518.857901)(
        depth, None
    )
    disparity = 0.075 * 518.857901 / np.array([[0.01, 2.0], [4.0, 50.0]])
    np.testing.assert_allclose(y[0], (disparity - 0.0418) / 0.0295, rtol=1e-5)
    kinect = {"baseline_metres": 0.075, "focal_px": 518.857901, "max_disparity": 75.0}
    capped = DepthTransform(size_px=2, min_metres=0.01, **kinect, **PLAIN)(depth, None)
    np.testing.assert_allclose(capped[0], np.minimum(disparity, 75.0) / 75.0, rtol=1e-5)


def test_the_raw_files_of_sun_rgbd_are_rotated_by_three_bits(tmp_path):
    depth_mm = np.array([[1, 800], [4001, 65535]], dtype=np.uint16)
    rotated = (depth_mm << 3) | (depth_mm >> 13)
    Image.fromarray(rotated).save(tmp_path / "d.png")
    transform = DepthTransform(size_px=2, min_metres=0.0001, max_metres=100.0, encoding="sun_rgbd", **PLAIN)
    np.testing.assert_allclose(transform(Clip(tmp_path / "d.png"), None)[0], 1000.0 / depth_mm, rtol=1e-5)
    farthest = DepthTransform(size_px=2, min_metres=0.0001, max_metres=8.0, encoding="sun_rgbd", **PLAIN)(
        Clip(tmp_path / "d.png"), None
    )
    assert float(farthest.min()) == pytest.approx(1 / 8)


@pytest.mark.parametrize(("name", "baseline"), [("kinect", 0.075), ("xtion", 0.095), ("sun_rgbd", 0.075)])
def test_configs_give_true_depth_the_values_that_published_code_gives_rotated_numbers(name, baseline):
    depth_mm = np.random.default_rng(0).integers(500, 8000, (8, 8)).astype(np.uint16)
    rotated = depth_mm << 3
    options = OmegaConf.load(CONFIGS / f"{name}.yaml")
    options.update(size_px=8, focal_px=518.857901)
    y = instantiate(options)(rotated if name == "sun_rgbd" else depth_mm, None)
    # As Omnivore and ViT-Lens read them: rotated numbers as millimetres, 0.01 to 50 m, a disparity of up to 75.
    metres = (rotated.astype(np.float32) / 1000).clip(0.01, 50)
    disparity = (baseline * 518.857901 / metres).clip(0.01, 75) / 75
    np.testing.assert_allclose(y[0], (disparity - 0.0418) / 0.0295, rtol=1e-4, atol=1e-4)
    assert y.abs().max() < 6


def test_units_of_a_file_and_metres_in_an_array(tmp_path):
    depth = np.random.default_rng(0).integers(1000, 20_000, (16, 16)).astype(np.uint16)
    Image.fromarray(depth).save(tmp_path / "d.png")
    np.save(tmp_path / "d.npy", depth.astype(np.float32) / 5000)
    transform = DepthTransform(size_px=16, unit_metres=1 / 5000)
    torch.testing.assert_close(transform(Clip(tmp_path / "d.png"), None), transform(Clip(tmp_path / "d.npy"), None))
    (tmp_path / "bad.npy").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"bad\.npy: not readable as \.npy"):
        transform(Clip(tmp_path / "bad.npy"), None)


@pytest.mark.parametrize("options", [{"focal_px": 0.0}, {"max_disparity": -1.0}, {"encoding": "sun"}, {"std": 0.0}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match=r"depth needs|encoding is"):
        DepthTransform(**options)


def test_floats_in_millimetres_are_no_metres(tmp_path):
    np.save(tmp_path / "a.npy", np.full((8, 8), 2500.0, np.float32))
    with pytest.raises(
        ValueError, match=r"a\.npy: its floats, 2500 in the middle, are too far for metres.*millimetres"
    ):
        DepthTransform()(Clip(tmp_path / "a.npy"), None)
    far_HW = np.where(np.eye(8) > 0, 60_000.0, 3.0).astype(np.float32)  # what some renderers write for the sky
    assert DepthTransform(size_px=8)(far_HW, None).shape == (1, 8, 8)
