import numpy as np
import pytest
import torch
from PIL import Image

from bind.data.transforms.depth import DepthTransform
from bind.types import Clip

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
        (np.full((4, 4), np.nan), "NaN, infinite or negative"),
        (np.full((4, 4), -1.0), "NaN, infinite or negative"),
        (np.zeros((4, 4)), "no pixel was measured"),
        (np.ones((4, 4, 3)), r"shape \(4, 4, 3\) is not"),
    ],
)
def test_a_bad_map_is_refused(depth, message):
    with pytest.raises(ValueError, match=message):
        DepthTransform()(depth, None)


def test_a_bad_file_is_named(tmp_path):
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(tmp_path / "grey.png")
    with pytest.raises(ValueError, match=r"grey\.png: mode L is no depth map"):
        DepthTransform()(Clip(tmp_path / "grey.png"), None)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"bad\.png: not readable as a picture"):
        DepthTransform()(Clip(tmp_path / "bad.png"), None)


def test_collate_stacks():
    assert DepthTransform().collate([torch.zeros(1, 8, 8)] * 2).shape == (2, 1, 8, 8)
