"""What is said to be taken of a recording is what the transform gives of it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bind.data.transforms.audio import AudioTransform
from bind.data.transforms.channels import ChannelsTransform
from bind.data.transforms.imagebind import ImageBindAudioTransform
from bind.data.transforms.imu import ImuTransform
from bind.data.transforms.taken import find_taken_part
from bind.types import Clip, SensorRecording, Waveform

RATE_HZ = 50


def ramp_file(folder: Path, seconds: float) -> Path:
    """A sensor's file whose value is the time in seconds."""
    values_TC = (np.arange(round(seconds * RATE_HZ)) / RATE_HZ).astype(np.float32)[:, None]
    np.save(folder / "ramp.npy", values_TC)
    header = {"channels": ["time"], "units": ["s"], "sample_rate_hz": RATE_HZ}
    (folder / "ramp.json").write_text(json.dumps(header))
    return folder / "ramp.npy"


def imu(seconds):
    return ImuTransform(channels=["time"], units=["s"], sample_rate_hz=RATE_HZ, window_seconds=seconds)


@pytest.mark.parametrize("span", [(None, None), (20.0, 90.0)])
def test_of_a_sensor_it_begins_where_the_window_does_in_the_clock_of_the_file(tmp_path, span):
    clip = Clip(ramp_file(tmp_path, 100.0), *span)
    part = find_taken_part(clip, imu(2.5))
    window = imu(2.5)(clip, None)
    assert part.starts_seconds[0] == pytest.approx(float(window[0, 0]), abs=1 / RATE_HZ)
    assert part.is_cut
    assert str(part) == (
        "the middle 2.5 s of 100.0 s, from 48.7 s on"
        if span[0] is None
        else "the middle 2.5 s of 70.0 s, from 53.7 s on"
    )


def test_a_clock_that_does_not_begin_at_0(tmp_path):
    rows = "".join(f"{1000 + n / RATE_HZ},{1000 + n / RATE_HZ}\n" for n in range(500))
    (tmp_path / "late.csv").write_text("time_seconds,time [s]\n" + rows)
    part = find_taken_part(Clip(tmp_path / "late.csv"), imu(2.0))
    assert part.first_seconds == pytest.approx(1000)
    assert part.starts_seconds[0] == pytest.approx(1004)


def test_a_span_that_is_the_window_is_not_cut(tmp_path):
    clip = Clip(ramp_file(tmp_path, 10.0), 4.0, 6.56)
    part = find_taken_part(clip, imu(2.56))
    assert not part.is_cut
    assert part.starts_seconds == (4.0,)
    motion = SensorRecording(np.zeros((130, 1), np.float32), RATE_HZ, ("time",), ("s",))
    assert not find_taken_part(motion, imu(2.56)).is_cut
    assert find_taken_part(motion, ChannelsTransform()).of_seconds == 2.6


@pytest.mark.parametrize("num_clips", [1, 3, None])
def test_of_a_sound_there_is_a_start_for_each_window(num_clips):
    sound = Waveform((np.arange(80_000) / 80_000).astype(np.float32), 8000)
    transform = AudioTransform(sample_rate_hz=8000, window_seconds=2.0, num_clips=num_clips)
    part, clips = find_taken_part(sound, transform), transform(sound, None)
    clips = clips if isinstance(clips, list) else [clips]
    assert [float(clip[0]) * 10 for clip in clips] == pytest.approx(part.starts_seconds, abs=1e-3)
    assert part.is_cut == (num_clips is not None)
    assert find_taken_part(Waveform(sound.samples[:8000], 8000), transform).is_cut is False


def test_of_several_windows_the_first_is_named():
    sound = Waveform(np.zeros(160_000, np.float32), 16_000)
    part = find_taken_part(sound, ImageBindAudioTransform())
    assert str(part) == "3 windows of 2 s, from 0.0 s on, out of 10.0 s"
    part = find_taken_part(sound, ImageBindAudioTransform(num_clips=1))
    assert str(part) == "the first 2 s of 10.0 s, from 0.0 s on"


def test_what_is_no_recording_has_none():
    assert find_taken_part("a dog", str) is None
    assert find_taken_part(torch.zeros(3), AudioTransform()) is None
