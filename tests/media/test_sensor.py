import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bind.media import notices
from bind.media.sensor import open_sensor
from bind.media.sensor_time import lay_on_grid
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


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda p: p / "none.npy", r"none\.npy: no such file"),
        (lambda p: write_npy(p / "a.npy", about=None), r"a\.npy: it needs a\.json beside it"),
        (
            lambda p: write_npy(p / "a.npy", about={"channels": ["x"]}),
            r"it needs a\.json beside it .*a\.json: has no units",
        ),
        (lambda p: write_npy(p / "a.npy", VALUES.T), r"a\.npy: values \(2, 100\).*looks transposed"),
        (lambda p: write_npy(p / "a.npy", VALUES[:, :1]), r"a\.npy: values \(100, 1\) are not \(time, 2 channels\)"),
        (lambda p: write_npy(p / "a.npy", about=ABOUT | {"units": ["g"]}), r"a\.npy: 1 unit\(s\) for 2 channels"),
        (lambda p: write_npy(p / "a.npy", about=ABOUT | {"sample_rate_hz": 0}), r"a\.npy: sample_rate_hz is 0"),
        (lambda p: write_npy(p / "a.npy", np.array([{}], dtype=object)), r"a\.npy: not readable as \.npy"),
        (lambda p: write_csv(p / "b.csv", header="time,acc_x [g],gyro_x [g]"), r"b\.csv: there is no column 'time_sec"),
        (lambda p: write_csv(p / "b.csv", header="time_seconds,acc_x,gyro_x"), r"b\.csv: write each channel's unit"),
        (lambda p: write_csv(p / "b.csv", np.repeat(np.arange(50) / 50, 2)), r"b\.csv: time_seconds jumps back or st"),
        (lambda p: write_csv(p / "b.csv", 20 * np.arange(100)), r"b\.csv: by time_seconds .* looks like milliseconds"),
        (lambda p: write_csv(p / "b.csv", 20_000 * np.arange(100)), r"looks like microseconds: .* time_microseconds"),
        (lambda p: write_csv(p / "b.csv", 20_000_000 * np.arange(100)), r"b\.csv.* looks like nanoseconds"),
        (lambda p: write_csv(p / "b.csv", np.arange(100) / 50 / 86400), r"b\.csv.*Write the time in seconds"),
        (
            lambda p: write_csv(p / "b.csv", header="time_seconds,acc_x [g],acc_x [g]"),
            r"b\.csv: there are several columns acc_x",
        ),
        (
            lambda p: write_csv(p / "b.csv", header="time_seconds,acc_x [g],acc_x [m/s^2]"),
            r"b\.csv: there are several columns acc_x",
        ),
        (
            lambda p: write_csv(p / "b.csv", header="time_seconds,time_milliseconds,acc_x [g]"),
            r"b\.csv: there are several columns of time",
        ),
        (
            lambda p: write_npy(p / "a.npy", about=ABOUT | {"channels": ["x", "x"]}),
            r"a\.npy: there are several channels x",
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


def write_table(path, time, values=VALUES, **others):
    """`time` may be any Arrow array; `others` are further columns."""
    columns = {"time_seconds": time, "acc_x [g]": values[:, 0], "gyro_x [rad/s]": values[:, 1], **others}
    pq.write_table(pa.table(columns), path)
    return path


EVEN_MILLISECONDS = 1000 * np.arange(100) // 50


@pytest.mark.parametrize(
    "time",
    [
        pa.array(EVEN_MILLISECONDS, pa.timestamp("ms")),
        pa.array(1000 * EVEN_MILLISECONDS, pa.timestamp("us")),
        pa.array(10**6 * EVEN_MILLISECONDS, pa.timestamp("ns", "UTC")),
        pa.array(EVEN_MILLISECONDS, pa.duration("ms")),
        pa.array(10**6 * EVEN_MILLISECONDS, pa.duration("ns")),
        pa.array(EVEN_MILLISECONDS.astype(np.int32), pa.time32("ms")),
        pa.array([f"1970-01-01T00:00:0{t / 1000:.3f}" for t in EVEN_MILLISECONDS]),
        pa.array([f"1970-01-01 00:00:0{t / 1000:.3f}Z" for t in EVEN_MILLISECONDS]),
        pa.array(EVEN_MILLISECONDS / 1000, pa.float32()),
    ],
    ids=str,
)
def test_times_of_any_type_are_seconds(tmp_path, time):
    recording = open_sensor(Clip(write_table(tmp_path / "a.parquet", time), 0.5, 1.5))
    assert (recording.num_frames, recording.sample_rate_hz) == (50, pytest.approx(50))
    np.testing.assert_array_equal(recording.read(0, 50), VALUES[25:75])


@pytest.mark.parametrize(
    ("column", "times_per_second"),
    [("time_milliseconds", 10**3), ("time_microseconds", 10**6), ("time_nanoseconds", 10**9)],
)
def test_a_time_column_may_name_its_unit(tmp_path, column, times_per_second):
    since_1970 = 1_714_564_800 * times_per_second + np.arange(100) * (times_per_second // 50)
    path = write_csv(tmp_path / "a.csv", since_1970, header=f"{column},acc_x [g],gyro_x [rad/s]")
    recording = open_sensor(Clip(path, 1_714_564_800.5, 1_714_564_801.5))
    assert recording.sample_rate_hz == pytest.approx(50)
    np.testing.assert_array_equal(recording.read(0, 50), VALUES[25:75])


def test_iso_times_in_a_csv_are_read(tmp_path):
    path = write_csv(tmp_path / "a.csv")
    head, *lines = path.read_text().splitlines()
    lines = [f"2024-05-01T12:00:0{float(t):.3f},{rest}" for t, rest in (line.split(",", 1) for line in lines)]
    path.write_text("\n".join([head, *lines]))
    recording = open_sensor(Clip(path))
    assert recording.sample_rate_hz == pytest.approx(50)
    np.testing.assert_array_equal(recording.read(0, 100), VALUES)


@pytest.mark.parametrize("time", [["noon"] * 100, [None] + [0.1] * 99, [True] * 100], ids=["words", "empty", "flags"])
def test_times_that_are_none_are_named(tmp_path, time):
    with pytest.raises(ValueError, match=r"a\.parquet: time_seconds"):
        open_sensor(Clip(write_table(tmp_path / "a.parquet", time)))


def test_a_span_is_in_the_clock_of_its_file_or_counts_from_the_first_row(tmp_path):
    time = 5 + np.arange(100) / 50
    path = write_table(tmp_path / "a.parquet", time, np.stack([time, time], axis=1))
    assert open_sensor(Clip(path, 5.5, 6.5)).read(0, 50)[0, 0] == pytest.approx(5.5)
    assert open_sensor(Clip(path, 0.5, 1.5, from_first_row=True)).read(0, 50)[0, 0] == pytest.approx(5.5)
    assert open_sensor(Clip(path, None, 6.0)).num_frames == 50
    assert open_sensor(Clip(path, 4.95, 6.0)).num_frames == 50
    for start, end in ((0.5, 1.5), (4.0, 6.0), (6.0, 7.1)):
        with pytest.raises(ValueError, match=r"a\.parquet \[.*clock runs from 5 to 7 s.* first_row"):
            open_sensor(Clip(path, start, end))


@pytest.mark.parametrize("seed", range(5))
def test_rows_that_come_unevenly_are_laid_on_an_even_grid(tmp_path, seed):
    rng = np.random.default_rng(seed)
    time = np.sort(np.arange(1000) / 100 + rng.uniform(0, 0.009, 1000))  # a phone's 100 Hz
    values = np.stack([np.sin(2 * np.pi * time), np.cos(2 * np.pi * time)], axis=1)
    recording = open_sensor(Clip(write_table(tmp_path / "a.parquet", time, values), 2.0, 8.0))
    assert recording.sample_rate_hz == pytest.approx(100, rel=0.01)
    seen = recording.read(0, recording.num_frames)[:, 0]
    expected = np.sin(2 * np.pi * (2.0 + np.arange(len(seen)) / recording.sample_rate_hz))
    assert np.abs(seen - expected).max() < 0.04  # half a step of the grid is 0.03


def test_times_that_are_only_rounded_leave_the_rows_as_they_are(tmp_path):
    path = write_table(tmp_path / "a.parquet", np.round(np.arange(100) / 64, 2))
    np.testing.assert_array_equal(open_sensor(Clip(path)).read(0, 100), VALUES)


def test_a_gap_matters_only_where_a_window_touches_it(tmp_path):
    time = np.arange(100) / 50
    time[60:] += 1000.0
    path = write_table(tmp_path / "a.parquet", time)
    np.testing.assert_array_equal(open_sensor(Clip(path, 0.0, 1.0)).read(0, 50), VALUES[:50])
    np.testing.assert_allclose(open_sensor(Clip(path, 1001.4, 1002.0)).read(0, 30), VALUES[70:], atol=1e-5)
    whole = open_sensor(Clip(path))
    np.testing.assert_array_equal(whole.read(10, 60), VALUES[10:60])
    with pytest.raises(ValueError, match=r"a\.parquet: a gap of 1e\+03 s after 1\.200 s"):
        whole.read(50, 61)


def test_a_table_without_a_usual_rate_is_refused(tmp_path):
    time = np.cumsum(np.where(np.arange(100) % 5 == 0, 2.0, 0.02))
    with pytest.raises(ValueError, match=r"a\.parquet: time_seconds has no usual rate: \d+ of 99 steps"):
        open_sensor(Clip(write_table(tmp_path / "a.parquet", time)))


def test_columns_without_a_unit_are_left_out_and_named(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(notices, "_warned", set())
    path = write_table(tmp_path / "a.parquet", np.arange(100) / 50, label=["walk"] * 100, index=np.arange(100))
    recording = open_sensor(Clip(path))
    assert recording.channels == ("acc_x", "gyro_x")
    assert "label, index" in caplog.text
    assert "a.parquet" in caplog.text


def test_semicolons_and_decimal_commas_are_read(tmp_path):
    path = write_csv(tmp_path / "a.csv")
    path.write_text(path.read_text().replace(",", ";").replace(".", ","))
    np.testing.assert_array_equal(open_sensor(Clip(path)).read(0, 100), VALUES)


@pytest.mark.slow
@given(
    rate_hz=st.floats(5.0, 500.0),
    start=st.floats(-1e4, 2e9),
    jitter=st.floats(0.0, 0.45),
    data=st.data(),
)
def test_a_ramp_that_holds_its_own_time_keeps_it_on_the_grid(rate_hz, start, jitter, data):
    seed = data.draw(st.integers(0, 100))
    rng = np.random.default_rng(seed)
    time = start + (np.arange(60) + rng.uniform(-jitter, jitter, 60)) / rate_hz
    time[data.draw(st.integers(10, 50)) :] += data.draw(st.sampled_from([0.0, 10.0 / rate_hz, 1e6]))
    even = lay_on_grid(time, (time - time[0])[:, None])
    for first, values_TC in even.stretches:
        grid = (first + np.arange(len(values_TC))) / even.sample_rate_hz
        assert np.abs(values_TC[:, 0] - grid).max() < 0.11 / rate_hz + 1e-6 * grid[-1] + 1e-6
    assert even.num_frames >= sum(len(values_TC) for _, values_TC in even.stretches) - 1


def test_names_of_columns_that_are_no_text_are_refused_by_the_file(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"time_seconds,acc_\xe9 [g]\n0.0,1\n0.1,2\n")
    with pytest.raises(ValueError, match=r"a\.csv line 1: not UTF-8 \(byte 0xe9\), perhaps Latin-1"):
        open_sensor(Clip(tmp_path / "a.csv"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_tables_in_utf_16_are_read(tmp_path, encoding):
    rows = "".join(f"{n / 100},{n % 7}\n" for n in range(50))
    (tmp_path / "a.csv").write_text("time_seconds,acc_x [g]\n" + rows, encoding=encoding)
    recording = open_sensor(Clip(tmp_path / "a.csv"))
    assert recording.sample_rate_hz == pytest.approx(100)
    assert recording.read(0, 8)[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 0]


@pytest.mark.parametrize("first", ["0;0;0", "0;0,5;-1", "0,0;1,5e-3;2"])
@pytest.mark.parametrize("separator", [";", "\t"])
def test_decimal_commas_are_seen_wherever_they_begin(tmp_path, first, separator):
    rows = [first, *(f"{i / 50:.2f};{i % 7 / 2};{-i}".replace(".", ",") for i in range(1, 60))]
    text = "\n".join(["time_seconds;acc_x [g];acc_y [g]", *rows]).replace(";", separator)
    (tmp_path / "a.csv").write_text(text + "\n")
    values_TC = open_sensor(Clip(tmp_path / "a.csv")).read(0, 60)
    np.testing.assert_allclose(values_TC[1:, 0], np.arange(1, 60) % 7 / 2)


def test_the_text_among_the_times_is_named(tmp_path):
    rows = [f"{i / 50:.2f},{i % 7}" for i in range(60)]
    (tmp_path / "a.csv").write_text("\n".join(["time_seconds,acc_x [g]", *rows, "time_seconds,acc_x [g]", *rows]))
    with pytest.raises(ValueError, match=r"a\.csv: time_seconds holds texts such as 'time_seconds'"):
        open_sensor(Clip(tmp_path / "a.csv"))
