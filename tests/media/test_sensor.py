import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bind.media.sensor import open_sensor
from bind.types import Clip, PackedFile, SensorRecording

VALUES = np.random.default_rng(0).standard_normal((100, 2)).astype(np.float32)
ABOUT = {"channels": ["acc_x", "gyro_x"], "units": ["g", "rad/s"], "sample_rate_hz": 50}


def write_npy(path, values=VALUES, about=ABOUT):
    np.save(path, values)
    if about is not None:
        path.with_suffix(".json").write_text(json.dumps(about))
    return path


def write_csv(path, time=None, header="time_seconds,acc_x [g],gyro_x [rad/s]"):
    time = np.arange(100) / 50 if time is None else time
    lines = [f"{t!r},{a!r},{g!r}" for t, (a, g) in zip(time.tolist(), VALUES[: len(time)].tolist(), strict=True)]
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_the_three_sensor_formats_hold_the_same(tmp_path):
    columns = {"time_seconds": np.arange(100) / 50, "acc_x [g]": VALUES[:, 0], "gyro_x [rad/s]": VALUES[:, 1]}
    pq.write_table(pa.table(columns), tmp_path / "c.parquet")
    paths = [write_npy(tmp_path / "a.npy"), write_csv(tmp_path / "b.csv"), tmp_path / "c.parquet"]
    for path in paths:
        recording = open_sensor(Clip(path, 0.5, 1.5))
        assert (recording.channels, recording.units) == (("acc_x", "gyro_x"), ("g", "rad/s"))
        assert (recording.num_frames, recording.sample_rate_hz) == (50, pytest.approx(50))
        np.testing.assert_array_equal(recording.read(10, 20), VALUES[35:45])


def test_a_packed_file_is_read_like_one_on_disk(tmp_path):
    path = write_npy(tmp_path / "a.npy")
    packed = PackedFile("shard.tar: k.imu.npy", path.read_bytes(), path.with_suffix(".json").read_bytes())
    recording, loose = open_sensor(Clip(packed, 0.5, 1.0)), open_sensor(Clip(path, 0.5, 1.0))
    assert (recording.channels, recording.units) == (loose.channels, loose.units)
    np.testing.assert_array_equal(recording.read(0, 25), loose.read(0, 25))


def test_a_sensor_file_that_was_written_again_is_read_again(tmp_path):
    path = write_npy(tmp_path / "a.npy")
    open_sensor(Clip(path))
    write_npy(path, VALUES + 1)
    os.utime(path, ns=(0, 1))
    np.testing.assert_array_equal(open_sensor(Clip(path)).read(0, 100), VALUES + 1)


def jump(time):
    time[60:] += 1.0
    return time


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda p: p / "none.npy", r"none\.npy: not readable \(No such file"),
        (lambda p: write_npy(p / "a.npy", about=None), r"a\.npy: it needs a\.json beside it"),
        (
            lambda p: write_npy(p / "a.npy", about={"channels": ["x"]}),
            r"a\.json beside it .*KeyError: 'sample_rate_hz'",
        ),
        (lambda p: write_npy(p / "a.npy", VALUES.T), r"a\.npy: values \(2, 100\).*looks transposed"),
        (lambda p: write_npy(p / "a.npy", VALUES[:, :1]), r"a\.npy: values \(100, 1\) are not \(time, 2 channels\)"),
        (lambda p: write_npy(p / "a.npy", about=ABOUT | {"units": ["g"]}), r"a\.npy: 1 unit\(s\) for 2 channels"),
        (lambda p: write_npy(p / "a.npy", about=ABOUT | {"sample_rate_hz": 0}), r"a\.npy: sample_rate_hz is 0"),
        (lambda p: write_npy(p / "a.npy", np.array([{}], dtype=object)), r"a\.npy: not readable as \.npy"),
        (lambda p: write_csv(p / "b.csv", header="time,acc_x [g],gyro_x [g]"), r"b\.csv: there is no column 'time_sec"),
        (lambda p: write_csv(p / "b.csv", header="time_seconds,acc_x,gyro_x"), r"b\.csv: write each channel's unit"),
        (
            lambda p: write_csv(p / "b.csv", jump(np.arange(100) / 50)),
            r"b\.csv: time_seconds jumps 1 time.*from 1\.18 to",
        ),
        (lambda p: write_csv(p / "b.csv", np.arange(100)[::-1] / 50), r"b\.csv: time_seconds jumps"),
        (lambda p: write_csv(p / "b.csv", np.zeros(1)), r"b\.csv: 1 row\(s\) are no recording"),
        (lambda p: write_npy(p / "a.npy").rename(p / "a.bin"), r"a\.bin: a sensor file ends in"),
    ],
)
def test_a_malformed_sensor_file_is_named(tmp_path, write, message):
    with pytest.raises(ValueError, match=message):
        open_sensor(Clip(write(tmp_path)))


def test_nan_is_named_where_it_is_read(tmp_path):
    values = VALUES.copy()
    values[70, 1] = np.nan
    path = write_npy(tmp_path / "a.npy", values)
    open_sensor(Clip(path, 0.0, 1.0)).read(0, 50)
    with pytest.raises(ValueError, match=r"a\.npy \[1-2\.0 s\]: 1 of 100 values are NaN"):
        open_sensor(Clip(path, 1.0, 2.0)).read(0, 50)


def test_values_of_another_kind_and_recordings_without_frames_are_refused():
    with pytest.raises(ValueError, match=r"a sensor's value is a Clip .* not ndarray"):
        open_sensor(np.zeros(3))
    with pytest.raises(ValueError, match="in memory: there are no samples"):
        open_sensor(SensorRecording(np.zeros((0, 1)), 50.0, ("a",), ("g",)))
