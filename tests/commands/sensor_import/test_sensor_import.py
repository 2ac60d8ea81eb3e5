import zipfile

import numpy as np
import pyarrow.parquet as pq
import pytest

from bind.commands.sensor_import.command import main
from bind.data.transforms.imu import ImuTransform
from bind.media.sensor import open_sensor
from bind.types import Clip

SECONDS = np.arange(500) / 50
ACC = np.stack([0.5 * np.sin(SECONDS), 0.3 * np.cos(SECONDS), 9.8 + 0.1 * np.sin(3 * SECONDS)], axis=1)
GYRO = np.stack([np.cos(SECONDS), np.sin(2 * SECONDS), 0.2 * SECONDS], axis=1)


def rows(*columns, separator=","):
    return "\n".join(separator.join(f"{x:.9g}" if x == x else "NaN" for x in row) for row in zip(*columns, strict=True))


def sensor_logger(folder, files, metadata=None):
    """`files`: name → times in seconds and values; the app writes z, y, x."""
    folder.mkdir()
    for name, (time, values) in files.items():
        stamps = (1_714_000_000 + time) * 1e9
        lines = rows(stamps, time, *values.T[::-1])
        (folder / f"{name}.csv").write_text("time,seconds_elapsed,z,y,x\n" + lines + "\n")
    if metadata:
        (folder / "metadata.csv").write_text(metadata)
    return folder


def run(tmp_path, layout, *exports, options=()):
    out = tmp_path / "out"
    status = main([layout, *map(str, exports), "--out", str(out), *options])
    return status, {path.stem: path for path in sorted(out.glob("*.parquet"))}


def values(path, channels, start=None, end=None):
    recording = open_sensor(Clip(path, start, end))
    columns = [recording.channels.index(channel) for channel in channels]
    return recording, recording.read(0, recording.num_frames)[:, columns]


TRIADS = ["acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"]


@pytest.mark.slow
def test_sensor_logger_adds_gravity_and_lays_the_gyroscope_on_the_accelerometers_times(tmp_path, capsys):
    gravity = np.tile([0.0, 0.0, 9.8], (500, 1))
    late = SECONDS + 0.013  # its own times, as phones have them
    gyro = np.stack([np.cos(late), np.sin(2 * late), 0.2 * late], axis=1)
    export = sensor_logger(
        tmp_path / "walk",
        {"Accelerometer": (SECONDS, ACC - gravity), "Gravity": (SECONDS, gravity), "Gyroscope": (late, gyro)},
    )
    status, files = run(tmp_path, "sensor-logger", export)
    assert status == 0
    recording, seen = values(files["walk"], TRIADS, 2.0, 4.0)
    assert recording.sample_rate_hz == pytest.approx(50)
    assert (recording.units[0], recording.units[3]) == ("m/s^2", "rad/s")
    np.testing.assert_allclose(seen, np.concatenate([ACC, GYRO], axis=1)[100:200], atol=1e-3)
    assert "Accelerometer.csv plus Gravity.csv" in capsys.readouterr().out
    assert ImuTransform()(Clip(files["walk"]), None).shape == (6, 200)


@pytest.mark.parametrize(("standardised", "sign"), [("true", 1), ("false", -1)])
def test_an_iphones_acceleration_gets_androids_sign(tmp_path, standardised, sign):
    gravity = np.tile([0.0, 0.0, 9.8], (500, 1))
    files = {"Accelerometer": (SECONDS, ACC - gravity), "Gravity": (SECONDS, gravity)}
    export = sensor_logger(tmp_path / "walk", files, f"version,platform,standardisation\n3,ios,{standardised}\n")
    _, written = run(tmp_path, "sensor-logger", export)
    np.testing.assert_allclose(values(written["walk"], TRIADS[:3])[1], sign * ACC, atol=1e-4)


def test_a_zip_with_total_acceleration_needs_no_gravity(tmp_path):
    folder = sensor_logger(tmp_path / "walk", {"TotalAcceleration": (SECONDS, ACC), "Gyroscope": (SECONDS, GYRO)})
    with zipfile.ZipFile(tmp_path / "ride.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"ride/{file.name}")
    _, files = run(tmp_path, "sensor-logger", tmp_path / "ride.zip")
    np.testing.assert_allclose(values(files["ride"], TRIADS)[1], np.concatenate([ACC, GYRO], axis=1), atol=1e-4)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_phyphox_in_any_of_its_dialects(tmp_path, separator):
    head = ["Time (s)", *(f"Acceleration {a} (m/s^2)" for a in "xyz"), *(f"Gyroscope {a} (rad/s)" for a in "xyz")]
    text = separator.join(f'"{name}"' for name in head) + "\n" + rows(SECONDS, *ACC.T, *GYRO.T, separator=separator)
    (tmp_path / "Raw Data.csv").write_text(text.replace(".", ",") if separator == ";" else text)
    _, files = run(tmp_path, "phyphox", tmp_path / "Raw Data.csv")
    np.testing.assert_allclose(values(files["Raw Data"], TRIADS)[1], np.concatenate([ACC, GYRO], axis=1), atol=1e-4)


def xsens(path, head, names, columns, separator):
    path.write_text(head + separator.join(names) + "\n" + rows(*columns, separator=separator) + "\n")
    return path


XSENS = ["PacketCounter", "SampleTimeFine", "Acc_X", "Acc_Y", "Acc_Z", "Gyr_X", "Gyr_Y", "Gyr_Z"]


@pytest.mark.slow
def test_xsens_of_mt_manager_counts_packets_over_their_wrap(tmp_path):
    counter = (65_300 + np.arange(500)) % 65_536
    head = "// Start Time: Unknown\n// Update Rate: 50.0Hz\n// Firmware Version: 4.4.0\n"
    path = xsens(tmp_path / "MT_1.txt", head, XSENS, [counter, np.full(500, np.nan), *ACC.T, *GYRO.T], "\t")
    _, files = run(tmp_path, "xsens", path)
    recording, seen = values(files["MT_1"], TRIADS)
    assert recording.sample_rate_hz == pytest.approx(50)
    assert recording.units[3] == "rad/s"
    np.testing.assert_allclose(seen, np.concatenate([ACC, GYRO], axis=1), atol=1e-4)
    path.write_text(path.read_text().replace("Update Rate", "Rate"))
    assert run(tmp_path / "again", "xsens", path)[0] == 1
    assert run(tmp_path / "third", "xsens", path, options=["--rate-hz", "50"])[0] == 0


def test_xsens_dot_has_microseconds_and_degrees(tmp_path):
    ticks = (2**32 - 3_000_000 + np.arange(500) * 20_000) % 2**32
    columns = [np.arange(500), ticks, *ACC.T, *np.rad2deg(GYRO).T]
    path = tmp_path / "dot.csv"
    lines = "\n".join(",".join(f"{x:.12g}" for x in row) for row in zip(*columns, strict=True))
    path.write_text("sep=,\nDeviceTag:,left\n" + ",".join(XSENS) + "\n" + lines + "\n")
    _, files = run(tmp_path, "xsens", path, options=["--from-first-row"])
    recording, seen = values(files["dot"], TRIADS, 1.0, 2.0)
    assert (recording.sample_rate_hz, recording.units[3]) == (pytest.approx(50), "deg/s")
    np.testing.assert_allclose(seen[:, 3:], np.rad2deg(GYRO)[50:100], atol=1e-2)


def test_ego4d_rows_hold_one_sensor_each_on_the_videos_clock(tmp_path):
    nothing = np.full(500, np.nan)
    time = 1000 * (SECONDS + 7)
    order = np.argsort(np.concatenate([time, time + 1]), kind="stable")
    columns = [
        np.concatenate([a, b])[order]
        for a, b in [(time, time + 1), *((nothing, g) for g in GYRO.T), *((a, nothing) for a in ACC.T)]
    ]
    names = ["canonical_timestamp_ms", *(f"gyro_{a}" for a in "xyz"), *(f"accl_{a}" for a in "xyz")]
    (tmp_path / "video.csv").write_text(",".join(names) + "\n" + rows(*columns).replace("NaN", "") + "\n")
    _, files = run(tmp_path, "ego4d", tmp_path / "video.csv")
    recording, seen = values(files["video"], TRIADS, 8.0, 9.0)
    assert recording.sample_rate_hz == pytest.approx(50)
    np.testing.assert_allclose(seen, np.concatenate([ACC, GYRO], axis=1)[50:100], atol=3e-3)


@pytest.mark.slow
def test_pamap2_gives_a_recording_per_part_with_the_activity(tmp_path):
    numbers = np.full((500, 54), np.nan)
    numbers[:, 0], numbers[:, 1] = 5 + SECONDS, np.where(np.arange(500) < 250, 1, 4)
    for part, first in enumerate((3, 20, 37)):
        numbers[:, first + 1 : first + 4] = ACC + part
        numbers[:, first + 4 : first + 7] = 77.0
        numbers[:, first + 7 : first + 10] = GYRO
        numbers[:, first + 10 : first + 13] = 40.0
    numbers[200:300, 20:37] = np.nan  # the chest's radio was silent for 2 s
    (tmp_path / "subject101.dat").write_text(rows(*numbers.T, separator=" ") + "\n")
    _, files = run(tmp_path, "pamap2", tmp_path / "subject101.dat")
    assert set(files) == {f"subject101-{part}" for part in ("hand", "chest", "ankle")}
    np.testing.assert_allclose(
        values(files["subject101-ankle"], TRIADS, 6.0, 7.0)[1],
        np.concatenate([ACC + 2, GYRO], axis=1)[50:100],
        atol=1e-3,
    )
    assert set(pq.read_table(files["subject101-hand"])["activity"].to_pylist()) == {"1", "4"}
    assert values(files["subject101-chest"], TRIADS, 5.0, 8.5)[1].shape == (175, 6)
    with pytest.raises(ValueError, match=r"subject101-chest\.parquet .*a gap of 2 s after 9\.\d+ s"):
        values(files["subject101-chest"], TRIADS, 8.0, 10.0)


def wisdm(path, person, values_TC, start=252_207_666_810_782, label="A"):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        f"{person},{label},{start + 20_000_000 * i},{x:.6f},{y:.6f},{z:.6f};" for i, (x, y, z) in enumerate(values_TC)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_wisdm_takes_the_gyroscope_of_the_same_device_along(tmp_path):
    path = wisdm(tmp_path / "raw/phone/accel/data_1600_accel_phone.txt", 1600, ACC)
    wisdm(tmp_path / "raw/phone/gyro/data_1600_gyro_phone.txt", 1600, GYRO, start=252_207_666_810_782 + 5_000_000)
    _, files = run(tmp_path, "wisdm", path, options=["--from-first-row"])
    recording, seen = values(files["data_1600_accel_phone"], TRIADS)
    assert recording.sample_rate_hz == pytest.approx(50)
    np.testing.assert_allclose(seen, np.concatenate([ACC, GYRO], axis=1)[1 : 1 + len(seen)], atol=0.02)


def test_wisdm_of_all_people_in_one_file_is_a_recording_each(tmp_path, capsys):
    one, two = (wisdm(tmp_path / f"{person}.txt", person, ACC, label="Walking").read_text() for person in (3, 17))
    broken = "17,Walking,,1,2,;\n" + one.splitlines()[0] + "\n3,Jogging,0,1,2,3;\n"
    (tmp_path / "WISDM.txt").write_text(one + two + broken)
    status, files = run(tmp_path, "wisdm", tmp_path / "WISDM.txt")
    assert (status, set(files)) == (0, {"WISDM-3", "WISDM-17"})
    np.testing.assert_allclose(values(files["WISDM-3"], TRIADS[:3])[1], ACC, atol=1e-4)
    said = capsys.readouterr().out
    assert "1 lines of the file are no records" in said
    assert "1 rows of acc_x [m/s^2] … dropped with a time seen before" in said


def test_a_clock_that_was_set_back_is_refused_and_the_rest_is_imported(tmp_path, capsys):
    good = wisdm(tmp_path / "good.txt", 1, ACC)
    bad = wisdm(tmp_path / "bad.txt", 2, ACC)
    bad.write_text(bad.read_text() + wisdm(tmp_path / "more.txt", 2, 2 * ACC).read_text())
    status, files = run(tmp_path, "wisdm", good, bad)
    assert (status, set(files)) == (1, {"good"})
    assert "bad.txt (bad): not imported: its clock was set back" in capsys.readouterr().out


def test_acceleration_that_is_not_gravitys_is_said(tmp_path, capsys):
    run(tmp_path, "wisdm", wisdm(tmp_path / "a.txt", 1, ACC / 9.8))
    assert "WARNING: its usual acceleration is" in capsys.readouterr().out


def test_what_is_no_export_is_named(tmp_path, capsys):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    for layout in ("sensor-logger", "phyphox", "xsens", "ego4d", "pamap2", "wisdm"):
        assert run(tmp_path, layout, tmp_path / "a.csv") == (1, {})
        assert "a.csv: not imported: " in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"none\.csv: no such file"):
        run(tmp_path, "wisdm", tmp_path / "none.csv")


def test_a_file_that_is_there_is_not_replaced(tmp_path):
    path = wisdm(tmp_path / "a.txt", 1, ACC)
    assert run(tmp_path, "wisdm", path)[0] == 0
    assert run(tmp_path, "wisdm", path)[0] == 1
