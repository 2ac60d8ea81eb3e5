import numpy as np
import pytest
import torch
from PIL import Image

from bind.data.transforms.thermal import ThermalTransform
from bind.types import Clip

RAMP = np.linspace(0, 1, 64 * 64).reshape(64, 64)


def test_eight_and_sixteen_bits_are_between_0_and_1_and_not_normalised(tmp_path):
    Image.fromarray((RAMP * 255).round().astype(np.uint8)).save(tmp_path / "a.png")
    Image.fromarray((RAMP * 65535).round().astype(np.uint16)).save(tmp_path / "b.png")
    for name, steps in (("a.png", 255), ("b.png", 65535)):
        y = ThermalTransform()(Clip(tmp_path / name), None)
        assert (y.shape, y.dtype) == ((1, 64, 64), torch.float32)
        np.testing.assert_allclose(y[0], RAMP, atol=0.51 / steps)


def test_the_range_of_a_sensor_and_its_statistics():
    counts = np.full((8, 8), 7500, dtype=np.uint16)
    counts[:4] = 9000
    y = ThermalTransform(size_px=8, low=7000, high=8000, mean=0.5, std=0.25)(counts, None)
    np.testing.assert_allclose(y[0, 7], 0.0, atol=1e-6)
    np.testing.assert_allclose(y[0, 0], 2.0, atol=1e-6)


def test_floats_need_their_range(tmp_path):
    np.save(tmp_path / "a.npy", np.full((8, 8), 20.0, dtype=np.float32))
    y = ThermalTransform(size_px=8, low=0.0, high=40.0)(Clip(tmp_path / "a.npy"), None)
    np.testing.assert_allclose(y, 0.5)
    with pytest.raises(ValueError, match=r"a\.npy: float32 has no full scale; set transform\.thermal\.low"):
        ThermalTransform()(Clip(tmp_path / "a.npy"), None)


def test_grey_in_colours_is_grey_and_false_colours_are_refused(tmp_path):
    grey = (RAMP * 255).astype(np.uint8)
    Image.fromarray(np.repeat(grey[..., None], 3, axis=2)).save(tmp_path / "a.jpg", quality=95)
    y = ThermalTransform()(Clip(tmp_path / "a.jpg"), None)
    np.testing.assert_allclose(y[0], RAMP, atol=0.02)
    Image.fromarray(np.stack([grey, grey // 2, 255 - grey], axis=2)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"b\.png: its colours are false"):
        ThermalTransform()(Clip(tmp_path / "b.png"), None)


def test_a_bad_file_is_named(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"bad\.png: not readable as a picture"):
        ThermalTransform()(Clip(tmp_path / "bad.png"), None)
    with pytest.raises(ValueError, match="1 of 16 values are NaN"):
        ThermalTransform(high=1.0)(np.array([[np.nan] + [0.0] * 15]), None)


def test_collate_stacks_and_options_are_checked():
    assert ThermalTransform().collate([torch.zeros(1, 8, 8)] * 2).shape == (2, 1, 8, 8)
    with pytest.raises(ValueError, match="low < high"):
        ThermalTransform(low=3.0, high=2.0)
