import json

import numpy as np
import pytest

from bind.data.transforms.imu import ImuTransform
from bind.media.sensor import open_sensor
from bind.types import Clip, PackedFile, SensorRecording

RNG = np.random.default_rng(0)
CHANNELS = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
WALK_TC = np.concatenate([np.add(RNG.normal(0, 0.3, (400, 3)), [0, 0, 1]), RNG.normal(0, 1, (400, 3))], axis=1)
"""In g and rad/s."""
TRANSFORM = ImuTransform(sample_rate_hz=100, window_seconds=1.0)


def write(path, values_TC, units):
    if path.suffix == ".npy":
        np.save(path, values_TC.astype(np.float32))
        about = {"channels": CHANNELS, "units": units, "sample_rate_hz": 100}
        path.with_suffix(".json").write_text(json.dumps(about))
    else:
        header = ",".join(["time_seconds", *(f"{c} [{u}]" for c, u in zip(CHANNELS, units, strict=True))])
        np.savetxt(path, np.column_stack([np.arange(400) / 100, values_TC]), delimiter=",", header=header, comments="")
    return path


def doors(path):
    """Whole, as training reads it, and packed."""
    sidecar = path.with_suffix(".json")
    packed = PackedFile(f"a.tar: {path.name}", path.read_bytes(), sidecar.read_bytes() if sidecar.exists() else None)
    for clip in (Clip(path), Clip(packed)):
        yield lambda clip=clip: open_sensor(clip).read(0, 400)
        yield lambda clip=clip: TRANSFORM(clip, None)


def scaled(acc, gyro=1.0):
    return WALK_TC * np.repeat([acc, gyro], 3)


def with_sentinel(value, column):
    values_TC = WALK_TC.copy()
    values_TC[200, column] = value
    return values_TC


G, SI = ["g"] * 3, ["m/s^2"] * 3
RAD, DEG = ["rad/s"] * 3, ["deg/s"] * 3


@pytest.mark.parametrize("suffix", [".csv", ".npy"])
@pytest.mark.parametrize(
    ("values_TC", "units", "message"),
    [
        (scaled(9.81), G + RAD, r"acc is usually [\d.]+ g, which looks like m/s\^2"),
        (scaled(1000), G + RAD, r"acc is usually [\d.]+ g, which looks like mg"),
        (scaled(16_384), G + RAD, r"acc is usually [\de+.]+ g, which looks like raw counts"),
        (scaled(2048), SI + RAD, r"acc is usually [\d.]+ m/s\^2, which looks like raw counts"),
        (with_sentinel(-9999, 0), G + RAD, r"acc reaches 9999 g, more than such a sensor measures"),
        (with_sentinel(-32768, 1), SI + RAD, r"acc reaches 32768 m/s\^2, more than such a sensor measures"),
        (with_sentinel(9999, 5), G + RAD, r"gyro reaches 9999 rad/s, more than such a sensor measures"),
        (scaled(1, 57.3), G + RAD, r"gyro reaches [\d.]+ rad/s, more than such a sensor measures: deg/s"),
    ],
)
def test_values_that_cannot_be_in_their_unit_are_refused(tmp_path, suffix, values_TC, units, message):
    path = write(tmp_path / f"a{suffix}", values_TC, units)
    for read in doors(path):
        with pytest.raises(ValueError, match=rf"a\{suffix}: {message}.*If that is true"):
            read()


@pytest.mark.parametrize(
    ("values_TC", "units"),
    [
        (scaled(1), G + RAD),
        (scaled(9.81, 57.3), SI + DEG),
        (scaled(0.01), G + RAD),  # without gravity
        (scaled(9.81), ["rotor g"] * 3 + RAD),  # a name of its own
        (np.arange(400)[:, None] * np.ones(6) / 20, G + RAD),  # no gravity in it
        (np.where(np.arange(400)[:, None] % 10 == 0, 16 * WALK_TC, WALK_TC), G + RAD),  # blows
    ],
)
def test_values_that_may_be_in_their_unit_are_read(tmp_path, values_TC, units):
    transform = ImuTransform(channels=CHANNELS, units=units, sample_rate_hz=100, window_seconds=1.0)
    assert transform(Clip(write(tmp_path / "a.npy", values_TC, units)), None).shape == (6, 100)


def test_a_recording_in_memory_is_judged_as_well():
    with pytest.raises(ValueError, match="a sensor recording in memory: acc is usually"):
        TRANSFORM(SensorRecording(scaled(9.81).astype(np.float32), 100.0, CHANNELS, (*G, *RAD)), None)
