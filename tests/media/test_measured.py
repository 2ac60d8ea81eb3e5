"""What is measured of a file: sensors in stretches, sounds and videos whole, and no pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from support.videos import RED, plain, tones, write_video

from bind.media.measured import measured_stretches, runs
from bind.media.sensor import open_sensor
from bind.types import Clip


def write_sensor(path: Path, values_TC: np.ndarray, rate_hz: float = 50) -> Path:
    np.save(path, values_TC)
    about = {"channels": ["acc_x", "acc_y"], "units": ["g", "g"], "sample_rate_hz": rate_hz}
    path.with_suffix(".json").write_text(json.dumps(about))
    return path


def noise(num_frames: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.5, (num_frames, 2)).astype(np.float32)


def test_nothing_that_a_stretch_holds_is_refused_by_the_reader(tmp_path: Path) -> None:
    values_TC = noise(1000)
    values_TC[100, 1] = np.nan
    values_TC[400:480] = values_TC[399]  # 81 equal rows, 1.62 s: off
    values_TC[700:720] = values_TC[699]  # 21 equal rows: still for a moment
    path = write_sensor(tmp_path / "a.npy", values_TC)
    stretches = measured_stretches("imu", Clip(path), flat_seconds=1.0)
    assert stretches.tolist() == [[0.0, 2.0], [2.02, 7.98], [9.6, 20.0]]
    for start, end in stretches.tolist():
        recording = open_sensor(Clip(path, start, end))
        assert recording.read(0, recording.num_frames).shape == (round((end - start) * 50), 2)
    assert measured_stretches("imu", Clip(path, 1.0, 9.0), 1.0).tolist() == [[1.0, 2.0], [2.02, 7.98]]
    assert not len(measured_stretches("imu", Clip(path, 8.0, 9.0), 1.0))


@pytest.mark.parametrize("zero", [0.0, 1000.0])
def test_a_gap_in_a_table_parts_its_stretches_in_the_clock_of_the_clip(tmp_path: Path, zero: float) -> None:
    time = np.delete(np.arange(500) / 50, np.arange(200, 250)) + zero
    rows = [f"{t:.3f},{x:.6f},{y:.6f}" for t, (x, y) in zip(time, noise(450).tolist(), strict=True)]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["time_seconds,acc_x [g],acc_y [g]", *rows]) + "\n")
    np.testing.assert_allclose(measured_stretches("imu", Clip(path), 1.0), [[zero, zero + 4], [zero + 5, zero + 10]])
    from_first_row = measured_stretches("imu", Clip(path, from_first_row=True), 1.0)
    np.testing.assert_allclose(from_first_row, [[0, 4], [5, 10]])


@pytest.mark.slow
def test_sounds_and_videos_are_one_stretch(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tones([200.0]), 16_000)
    film = write_video(tmp_path / "a.mp4", [plain(RED)] * 20, tones([200.0, 300.0]))
    assert measured_stretches("audio", Clip(tmp_path / "a.wav"), 1.0).tolist() == [[0.0, 1.0]]
    for modality in ("video", "image", "audio"):
        (stretch,) = measured_stretches(modality, Clip(film, start_seconds=0.5), 1.0).tolist()
        np.testing.assert_allclose(stretch, [0.5, 2.0], atol=0.1)


def test_what_has_no_time_is_refused(tmp_path: Path) -> None:
    Image.fromarray(plain(RED)).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", np.zeros((4, 4)))
    silent = write_video(tmp_path / "silent.mp4", [plain(RED)] * 5)
    for modality, name in (("image", "a.png"), ("depth", "a.npy"), ("thermal", "a.png")):
        with pytest.raises(ValueError, match=f"{name}: a {modality} has no time"):
            measured_stretches(modality, Clip(tmp_path / name), 1.0)
    with pytest.raises(ValueError, match="there is no sound in it"):
        measured_stretches("audio", Clip(silent), 1.0)
    with pytest.raises(ValueError, match="no such file"):
        measured_stretches("video", Clip(tmp_path / "gone.mp4"), 1.0)


def test_runs() -> None:
    assert not len(runs(np.zeros(3, bool)))
    assert runs(np.ones(3, bool)).tolist() == [[0, 3]]
