"""Pictures of sides: what is measured in different units is apart, and a map has the seconds of what is above it."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from bind.data.transforms.imu import ImuTransform
from bind.explain import picture
from bind.explain.explanation import ExplainedSide
from bind.explain.occlusion import OcclusionMap


@pytest.fixture
def drawn(monkeypatch):
    """The figure that is drawn last, kept when it is done."""
    kept = []

    @contextmanager
    def keep(png, width_inches, height_inches, **options):
        kept.append(Figure(figsize=(width_inches, height_inches)))
        yield kept[-1]

    monkeypatch.setattr(picture, "figure", keep)
    return lambda: kept[-1]


def regions(num_rows, num_times):
    effects_RK = np.full((num_rows, num_times), 0.1)
    names = [f"channel {row}" for row in range(num_rows)], [f"time {k}" for k in range(num_times)]
    return OcclusionMap(*map(tuple, names), effects_RK, 1.0, np.full(num_times, 0.1))


@pytest.mark.slow
def test_channels_of_one_unit_share_an_axis_and_all_have_the_same_seconds(drawn, tmp_path):
    transform = ImuTransform(window_seconds=2.0)
    side = ExplainedSide("imu", "a walk", None, None, torch.rand(6, 100), torch.zeros(4))
    picture.draw_side(tmp_path / "a.png", side, regions(6, 10), transform)
    acc, gyro, times, heat, _ = drawn().axes
    assert [axes.get_ylabel() for axes in (acc, gyro)] == ["g", "rad/s"]
    assert [[line.get_label() for line in axes.lines] for axes in (acc, gyro)] == [
        ["acc_x", "acc_y", "acc_z"], ["gyro_x", "gyro_y", "gyro_z"],
    ]  # fmt: skip
    assert {axes.get_xlim() for axes in (acc, gyro, times, heat)} == {(0.0, 100 / transform.sample_rate_hz)}


@pytest.mark.slow
def test_a_map_of_several_clips_names_its_columns(drawn, tmp_path):
    """Its columns are of all clips, above it is the first."""
    side = ExplainedSide("imu", "a walk", None, None, [torch.rand(6, 100)] * 2, torch.zeros(4))
    picture.draw_side(tmp_path / "a.png", side, regions(6, 20), ImuTransform(window_seconds=2.0))
    heat = drawn().axes[3]
    assert heat.get_xlim() == (-0.5, 19.5)
    assert heat.get_xticklabels()[0].get_text() == "time 0"
