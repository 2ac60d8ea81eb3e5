import json

import ego4d
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.trees import converted, dropped, sizes, write_csv

from bind.data.sources.annotations.read import read_annotations
from bind.data.sources.manifest import ManifestSource
from bind.data.transforms.imu import ImuTransform

HEADER = ["component_idx", "component_timestamp_ms", "canonical_timestamp_ms"]
HEADER += ["gyro_x", "gyro_y", "gyro_z", "accl_x", "accl_y", "accl_z"]


def stream(seconds=20.0, rate_hz=201.0, frequency_hz=1.0):
    """Rows of an IMU file: gravity along z and a sine on every channel."""
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    wave = np.sin(2 * np.pi * frequency_hz * time)
    gyro, accl = np.stack([0.1 * wave] * 3, axis=1), np.stack([wave, wave, 9.81 + wave], axis=1)
    return [
        [0, 1000 * t, 1000 * t, *g, *a] for t, g, a in zip(time.tolist(), gyro.tolist(), accl.tolist(), strict=True)
    ]


def narration(seconds, text):
    return {"timestamp_sec": seconds, "timestamp_frame": 30 * seconds, "narration_text": text, "annotation_uid": "u"}


def write_ego4d(folder, num_persons=10, rows=None):
    videos, narrated = [], {}
    for person in range(num_persons):
        uid = f"0000{person:04d}-aaaa"
        videos.append(
            {
                "video_uid": uid,
                "duration_sec": 20.0,
                "scenarios": ["Cooking", "Cleaning"],
                "fb_participant_id": person if person else None,
                "has_imu": True,
            }
        )
        write_csv(folder / "v2" / "imu" / f"{uid}.csv", HEADER, rows or stream())
        (folder / "v2" / "video_540ss").mkdir(exist_ok=True)
        (folder / "v2" / "video_540ss" / f"{uid}.mp4").write_bytes(b"a film")
        narrated[uid] = {
            "narration_pass_1": {
                "narrations": [
                    narration(3.0, "#C C picks a toy on the stool. "),
                    narration(5.0, "#C C walks around"),
                    narration(9.0, "#O A man X waves"),
                    narration(10.0, "#c c Walks around"),
                    narration(19.0, "#C C sits"),
                ],
                "summaries": [],
            },
            "narration_pass_2": {"narrations": [narration(16.0, "#C C opens #unsure")], "summaries": []},
            "status": "complete",
        }
    (folder / "ego4d.json").write_text(json.dumps({"version": "v2", "videos": videos}))
    (folder / "v2" / "annotations").mkdir()
    (folder / "v2" / "annotations" / "narration.json").write_text(json.dumps(narrated))
    return folder / "v2"


@pytest.mark.slow
def test_windows_are_five_seconds_around_what_the_wearer_does(tmp_path, capsys):
    manifest = converted("ego4d", write_ego4d(tmp_path / "source"), tmp_path / "out")
    assert sizes(manifest) == {"train": 16, "val": 2, "test": 2}
    samples = [sample for split in manifest.splits for sample in manifest.samples(split)]
    assert {sample.values["text"][0] for sample in samples} == {
        "a person picks a toy on the stool",
        "a person Walks around",
    }
    assert {sample.label for sample in samples} == {"Cooking|Cleaning"}
    assert sum(owner.startswith("person:") for sample in samples for owner in sample.owners) == 18
    for sample in samples:
        clip, film = sample.values["imu"][0], sample.values["video"][0]
        assert (clip.start_seconds, clip.end_seconds) == (film.start_seconds, film.end_seconds)
        x_CT = ImuTransform(units=["m/s^2"] * 3 + ["rad/s"] * 3, sample_rate_hz=200, window_seconds=5.0)(clip, None)
        time = clip.start_seconds + np.arange(1000) / 200
        wave = np.sin(2 * np.pi * time)
        np.testing.assert_allclose(x_CT, np.stack([wave, wave, 9.81 + wave, *[0.1 * wave] * 3]), atol=2e-3)
    printed = capsys.readouterr().out
    assert "dropped 20: not about what the camera wearer does" in printed
    assert "dropped 10: overlaps the window before" in printed
    assert "dropped 10: outside the video" in printed


@pytest.mark.slow
def test_a_faster_sensor_is_filtered_before_it_is_thinned(tmp_path):
    rows = stream(rate_hz=800.0, frequency_hz=170.0)
    path = write_csv(tmp_path / "a.csv", HEADER, rows)
    motion_TC, backwards = ego4d.resample_motion(path, 20.0)
    assert motion_TC.shape == (4000, 6)
    assert backwards == 0
    assert np.abs(motion_TC[100:-100, 0]).max() < 0.05


@pytest.mark.slow
def test_gaps_missing_times_and_lost_acceleration_leave_windows_out(tmp_path):
    rows = stream()
    for row in rows[800:1200]:
        row[6:] = ["", "", ""]
    rows[100][2] = ""
    rows = rows[:2600] + rows[2700:]
    rows[3000:3000] = [rows.pop(3010)]
    source = write_ego4d(tmp_path / "source", rows=rows)
    manifest = converted("ego4d", source, tmp_path / "out")
    assert {sample.values["imu"][0].start_seconds for sample in manifest.samples("train")} == {7.5}
    reasons = set(dropped(tmp_path / "out").values())
    assert "no motion was recorded in part of the window" in reasons
    motion_TC, backwards = ego4d.resample_motion(next((source / "imu").glob("*.csv")), 20.0)
    assert backwards == 1
    missing = np.isnan(motion_TC).any(axis=1)
    assert missing[round(800 / 201 * 200) + 2 : round(1200 / 201 * 200) - 2].all()
    assert not missing[: round(795 / 201 * 200)].any()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda row: [*row[:6], *(value / 9.81 for value in row[6:])], "acceleration is not gravity in m/s²"),
        (lambda row: [*row[:6], "", "", ""], "acceleration and rotation are never there at once"),
    ],
)
def test_a_video_with_a_known_fault_is_left_out(tmp_path, damage, reason):
    source = write_ego4d(tmp_path / "source", num_persons=3)
    write_csv(source / "imu" / "00000001-aaaa.csv", HEADER, map(damage, stream()))
    assert sum(sizes(converted("ego4d", source, tmp_path / "out")).values()) == 4
    assert dropped(tmp_path / "out")["00000001-aaaa"].endswith(reason)


@pytest.mark.slow
@pytest.mark.parametrize("header", [HEADER, [*HEADER[:-1], "accel_z"]])
def test_a_broken_recording_is_named(tmp_path, header):
    source = write_ego4d(tmp_path / "source", num_persons=3)
    write_csv(source / "imu" / "00000001-aaaa.csv", header, [[*row[:8], "x"] for row in stream()])
    with pytest.raises(ValueError, match=r"1 of 3 files.*\n.*00000001-aaaa\.csv: not a table of numbers under"):
        converted("ego4d", source, tmp_path / "out")


@pytest.mark.slow
def test_a_recording_without_a_film_is_named(tmp_path):
    source = write_ego4d(tmp_path / "source", num_persons=3)
    (source / "video_540ss" / "00000002-aaaa.mp4").unlink()
    with pytest.raises(ValueError, match=r"00000002-aaaa\.csv: there is no 00000002-aaaa\.mp4 in full_scale or"):
        converted("ego4d", source, tmp_path / "out")


@pytest.mark.slow
@given(st.text())
def test_captions_never_keep_a_mark(text):
    caption = ego4d.caption_of("#C C " + text)
    assert caption is None or (caption.startswith("a person ") and "#" not in caption)


@pytest.mark.slow
def test_continuous_videos_have_narrations_as_moments(tmp_path):
    source = write_ego4d(tmp_path / "source", num_persons=2)
    ego4d.main(["--source", str(source), "--out", str(tmp_path), "--continuous"])
    manifest = ManifestSource(tmp_path / "recordings.jsonl")
    assert manifest.modalities() == ("imu", "video")
    keys = {sample.key for split in manifest.splits for sample in manifest.samples(split)}
    assert keys == {"00000000-aaaa", "00000001-aaaa"}
    annotations = list(read_annotations(tmp_path / "annotations.jsonl"))
    assert [str(annotation) for annotation in annotations if annotation.recording == "00000001-aaaa"] == [
        "00000001-aaaa 3-3 s: a person picks a toy on the stool (narration)",
        "00000001-aaaa 10-10 s: a person Walks around (narration)",
    ]
