import json

import numpy as np
import pytest
from support import videos
from support.planted import COLUMNS, write_motion, write_rows

from bind.studies.doctor.diagnose import diagnose
from bind.studies.doctor.doors import training_transforms

FIRST, SECOND, IN_TEST = 0, 1, 24


def problems_of(diagnosis):
    """(problem, modality, error or warning) → names."""
    return {
        (p.kind.name, p.modality, "error" if p.is_error else "warning"): [
            f"{f.name} {f.part}".strip() for f in p.findings
        ]
        for p in diagnosis.problems()
    }


@pytest.mark.slow
def test_clean_data_raises_nothing(clean_world):
    diagnosis = diagnose(clean_world)
    assert problems_of(diagnosis) == {}
    assert diagnosis.overview["audio"] == {
        "samples": 30,
        "splits": {"train": 18, "val": 6, "test": 6},
        "values": 30,
        "files": 30,
        "seconds": {"total": 30.0, "min": 1.0, "median": 1.0, "max": 1.0},
        "rates_hz": {"16000": 30},
    }
    assert diagnosis.overview["imu"]["rates_hz"] == {"100": 30}
    assert diagnosis.overview["image"]["sizes"] == {"64×64": 30}
    assert diagnosis.overview["text"] == {"samples": 30, "splits": {"train": 18, "val": 6, "test": 6}, "values": 30}


def clip_motion(values):
    """Strong shaking that the sensor's range cuts off."""
    t = np.arange(len(values))
    return np.clip(values + 3 * np.sin(t / 3)[:, None] * np.array([1, 0, 0, 0, 0, 0]), -1.5, 1.5 + 8 * (values > 8))


def flat_channel(values):
    values[:, 4] = 0.25
    return values


def not_a_number(x):
    x[50:60] = np.nan
    return x


def swap_columns(*order):
    return lambda values: values[:, order]


RATIO_DEGREES = 180 / np.pi

# What is planted, and exactly what has to be said: problem, modality, severity, the name it goes by.
FILE_FAULTS = {
    "silent": (
        lambda w: w.edit_sound(FIRST, lambda x: x * 1e-4),
        ("silent", "audio", "warning", "audio"),
    ),
    "silent: zeros": (
        lambda w: w.edit_sound(FIRST, np.zeros_like, "PCM_16"),
        ("silent", "audio", "warning", "audio"),
    ),
    "constant sound": (
        lambda w: w.edit_sound(FIRST, lambda x: np.full_like(x, 0.25)),
        ("constant sound", "audio", "warning", "audio"),
    ),
    "clipped sound": (
        lambda w: w.edit_sound(FIRST, lambda x: np.clip(8 * x, -1, 1), "PCM_16"),
        ("clipped", "audio", "warning", "audio"),
    ),
    "sound clipped, then made quieter": (
        lambda w: w.edit_sound(FIRST, lambda x: 0.6 * np.clip(8 * x, -1, 1), "PCM_16"),
        ("clipped", "audio", "warning", "audio"),
    ),
    "NaN in a sound": (
        lambda w: w.edit_sound(FIRST, not_a_number),
        ("NaN or infinite values", "audio", "error", "audio"),
    ),
    "a sound that is none": (
        lambda w: w.path(FIRST, "audio").write_bytes(b"RIFFnonsense"),
        ("unreadable file", "audio", "error", "audio"),
    ),
    "an empty sound": (
        lambda w: w.edit_sound(FIRST, lambda x: x[:0]),
        ("unreadable file", "audio", "error", "audio"),
    ),
    "channels that cancel out": (
        lambda w: w.edit_sound(FIRST, lambda x: np.stack([x, -0.99 * x], axis=1)),
        ("channels that cancel out", "audio", "warning", "audio"),
    ),
    "integers called floats": (
        lambda w: w.edit_sound(FIRST, lambda x: 32768 * x),
        ("unreadable file", "audio", "error", "audio"),
    ),
    "a sound that is too loud": (
        lambda w: w.edit_sound(FIRST, lambda x: 5 * x / np.abs(x).max()),
        ("beyond full scale", "audio", "error", "audio"),
    ),
    "a sound that is cut short": (
        lambda w: w.path(FIRST, "audio").write_bytes(w.path(FIRST, "audio").read_bytes()[:-2000]),
        ("unreadable file", "audio", "error", "audio"),
    ),
    "constant picture": (
        lambda w: w.edit_picture(FIRST, lambda x: np.full_like(x, 200)),
        ("constant picture", "image", "warning", "image"),
    ),
    "half a picture": (
        lambda w: w.path(FIRST, "image").write_bytes(w.path(FIRST, "image").read_bytes()[:900]),
        ("unreadable file", "image", "error", "image"),
    ),
    "depth in metres": (
        lambda w: w.edit_picture(FIRST, lambda x: (x // 1000).astype(np.uint16), "depth"),
        ("depth not in millimetres", "depth", "error", "depth"),
    ),
    "depth as a grey picture": (
        lambda w: w.edit_picture(FIRST, lambda x: (x >> 8).astype(np.uint8), "depth"),
        ("refused by the transform", "depth", "error", "depth"),
    ),
    "depth without a measurement": (
        lambda w: w.edit_picture(FIRST, np.zeros_like, "depth"),
        ("depth map without a measurement", "depth", "error", "depth"),
    ),
    "depth hardly measured": (
        lambda w: w.edit_picture(FIRST, lambda x: x * (np.arange(64) < 20).astype(np.uint16), "depth"),
        ("depth map mostly unmeasured", "depth", "warning", "depth"),
    ),
    "depth at its limit": (
        lambda w: w.edit_picture(FIRST, lambda x: np.where(np.arange(64) < 20, 65535, x).astype(np.uint16), "depth"),
        ("clipped", "depth", "warning", "depth"),
    ),
    "flat motion": (
        lambda w: w.edit_motion(FIRST, lambda x: np.broadcast_to(x[0], x.shape)),
        ("flat recording", "imu", "error", "imu"),
    ),
    "flat channel": (
        lambda w: w.edit_motion(FIRST, flat_channel),
        ("flat channel", "imu", "warning", "imu"),
    ),
    "NaN in a motion": (
        lambda w: w.edit_motion(FIRST, not_a_number),
        ("NaN or infinite values", "imu", "error", "imu"),
    ),
    "clipped motion": (
        lambda w: w.edit_motion(FIRST, clip_motion),
        ("clipped", "imu", "warning", "imu"),
    ),
    "held frames": (
        lambda w: w.edit_motion(FIRST, lambda x: np.repeat(x[::4], 4, axis=0)),
        ("repeated frames", "imu", "warning", "imu"),
    ),
    "a gap": (
        lambda w: w.edit_motion(FIRST, lambda x: x, time=lambda t: t + 0.5 * (np.arange(len(t)) > 90)),
        ("gaps or steps back in time", "imu", "error", "imu"),
    ),
    "time that steps back": (
        lambda w: w.edit_motion(FIRST, lambda x: x, time=lambda t: np.concatenate([t[100:], t[:100]])),
        ("gaps or steps back in time", "imu", "error", "imu"),
    ),
    "jitter": (
        lambda w: w.edit_motion(
            FIRST, lambda x: x, time=lambda t: t + np.random.default_rng(0).uniform(-0.0015, 0.0015, len(t))
        ),
        ("irregular sampling", "imu", "warning", "imu"),
    ),
    "another rate": (
        lambda w: w.edit_motion(FIRST, lambda x: x, time=lambda t: 2 * t),
        ("rate unlike the rest", "imu", "warning", "imu"),
    ),
    "time in milliseconds": (
        lambda w: w.edit_motion(FIRST, lambda x: x, time=lambda t: 1000 * t),
        ("unreadable file", "imu", "error", "imu"),
    ),
    "m/s² called g": (
        lambda w: w.edit_motion(FIRST, lambda x: x * ([9.80665] * 3 + [1] * 3)),
        ("unit of acceleration contradicts gravity", "imu", "error", "imu"),
    ),
    "g called m/s²": (
        lambda w: w.edit_motion(FIRST, lambda x: x, [c.replace("[g]", "[m/s^2]") for c in COLUMNS]),
        ("unit of acceleration contradicts gravity", "imu", "error", "imu"),
    ),
    "mg called g": (
        lambda w: w.edit_motion(FIRST, lambda x: x * ([1000] * 3 + [1] * 3)),
        ("unit of acceleration contradicts gravity, refused by the transform", "imu", "error", "imu"),
    ),
    "deg/s called rad/s": (
        lambda w: w.edit_motion(FIRST, lambda x: x * ([1] * 3 + [RATIO_DEGREES] * 3)),
        ("unit of turn rate contradicts the motion, refused by the transform", "imu", "error", "imu"),
    ),
    "accelerometer and gyroscope exchanged": (
        lambda w: w.edit_motion(FIRST, swap_columns(3, 4, 5, 0, 1, 2)),
        ("accelerometer and gyroscope exchanged", "imu", "error", "imu"),
    ),
    "x and z exchanged": (
        lambda w: w.edit_motion(FIRST, swap_columns(2, 1, 0, 5, 4, 3)),
        ("axes unlike the rest", "imu", "warning", "imu"),
    ),
    "z upside down": (
        lambda w: w.edit_motion(FIRST, lambda x: x * [1, 1, -1, 1, 1, 1]),
        ("axes unlike the rest", "imu", "warning", "imu"),
    ),
    "gravity taken out": (
        lambda w: w.edit_motion(FIRST, lambda x: x - ([0, 0, 1, 0, 0, 0] * x.mean(axis=0))),
        ("gravity missing or out of scale", "imu", "warning", "imu"),
    ),
    "a channel without its unit": (
        lambda w: w.edit_motion(FIRST, lambda x: x, [c.split()[0] for c in COLUMNS]),
        ("unreadable file", "imu", "error", "imu"),
    ),
    "a missing file": (
        lambda w: w.path(FIRST, "imu").unlink(),
        ("missing file", "imu", "error", "imu"),
    ),
    "a copy in the same split": (
        lambda w: w.path(FIRST, "image").write_bytes(w.path(SECOND, "image").read_bytes()),
        ("same content twice in a split", "image", "warning", "image"),
    ),
    "a copy in another split": (
        lambda w: w.path(IN_TEST, "audio").write_bytes(w.path(FIRST, "audio").read_bytes()),
        ("same content in two splits", "audio", "error", "audio"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FILE_FAULTS)
def test_a_planted_fault_is_found_by_its_name_and_file_and_nothing_else(world, name):
    plant, (problems, modality, severity, column) = FILE_FAULTS[name]
    plant(world)
    files = [world.rows[FIRST][column]]
    assert problems_of(diagnose(world.manifest)) == {(p, modality, severity): files for p in problems.split(", ")}


def span(rows, index, start, end):
    rows[index] |= {"audio": rows[FIRST]["audio"], "audio_start_seconds": start, "audio_end_seconds": end}


def shared_caption(rows):
    for row in rows[:6]:
        row["text"] = ["The sound of a thing. "]
        del row["group"]


ROW_FAULTS = {
    "repeated key": (
        lambda rows: rows[SECOND].update(key=rows[FIRST]["key"]),
        ("repeated key", "", "error"),
        lambda rows: [rows[FIRST]["key"]],
    ),
    "a row that can't be read": (
        lambda rows: rows[FIRST].update(key=None),
        ("row that can't be read", "", "error"),
        lambda rows: ["line 1"],
    ),
    "a row without any modality": (
        lambda rows: rows.append({"key": "empty", "split": "train"}),
        ("row without any modality", "", "error"),
        lambda rows: ["empty"],
    ),
    "a split that is never loaded": (
        lambda rows: rows[FIRST].update(split="validation"),
        ("split that is never loaded", "", "warning"),
        lambda rows: ["validation"],
    ),
    "an owner in two splits": (
        lambda rows: rows[IN_TEST].update(owner=rows[FIRST]["owner"]),
        ("owner in two splits", "", "error"),
        lambda rows: [rows[FIRST]["owner"]],
    ),
    "a picture that two splits use": (
        lambda rows: rows[IN_TEST].update(image=rows[FIRST]["image"]),
        ("file that two splits use", "", "error"),
        lambda rows: [rows[FIRST]["image"]],
    ),
    "one person in the test split": (
        lambda rows: [row.update(owner=["ann", row["key"]]) for row in rows if row["split"] == "test"],
        ("split of a single owner", "", "warning"),
        lambda rows: ["test"],
    ),
    "captions shared by many": (
        shared_caption,
        ("caption shared without a group", "text", "warning"),
        lambda rows: ["'The sound of a thing.'"],
    ),
    "one group only": (
        lambda rows: [row.update(group="thing") for row in rows],
        ("all samples in one group", "", "error"),
        lambda rows: ["thing"],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ROW_FAULTS)
def test_a_planted_row_is_found_by_its_name_and_nothing_else(world, name):
    plant, problem, names = ROW_FAULTS[name]
    world.edit_rows(plant)
    assert problems_of(diagnose(world.manifest)) == {problem: names(world.rows)}


@pytest.mark.slow
def test_overlapping_spans_of_one_file_in_two_splits(world):
    world.edit_rows(lambda rows: (span(rows, FIRST, 0.0, 0.6), span(rows, IN_TEST, 0.5, 1.0)))
    (problem,) = diagnose(world.manifest).problems()
    assert (problem.kind.name, problem.is_error) == ("overlap in time between splits", True)
    assert problem.findings[0].name.endswith(world.rows[FIRST]["audio"])
    assert set(problem.findings[0].keys) == {world.key(FIRST), world.key(IN_TEST)}


@pytest.mark.slow
def test_spans_that_only_touch_are_fine_and_a_silent_one_is_named_with_its_span(world):
    def quiet_end(x):
        x[len(x) // 2 :] = 0
        return x

    world.edit_sound(FIRST, quiet_end)
    world.edit_rows(lambda rows: (span(rows, FIRST, 0.0, 0.5), span(rows, SECOND, 0.5, 1.0)))
    name = f"{world.rows[FIRST]['audio']} [0.5-1.0 s]"
    assert problems_of(diagnose(world.manifest)) == {("silent", "audio", "warning"): [name]}


@pytest.mark.slow
def test_a_span_beyond_the_end_is_an_error_of_that_span_alone(world):
    world.edit_rows(lambda rows: (span(rows, FIRST, 0.0, 0.5), span(rows, SECOND, 0.5, 9.0)))
    name = f"{world.rows[FIRST]['audio']} [0.5-9.0 s]"
    assert problems_of(diagnose(world.manifest)) == {("unreadable file", "audio", "error"): [name]}


@pytest.mark.slow
def test_all_faults_at_once_are_all_named(world):
    world.edit_sound(0, np.zeros_like)
    world.edit_motion(1, not_a_number)
    world.path(2, "depth").unlink()
    world.path(3, "image").write_bytes(b"")
    world.edit_rows(lambda rows: (rows[4].update(key=rows[5]["key"]), rows[IN_TEST].update(owner=rows[6]["owner"])))
    problems = {problem.kind.name for problem in diagnose(world.manifest).problems()}
    assert problems == {
        "silent",
        "NaN or infinite values",
        "missing file",
        "unreadable file",
        "repeated key",
        "owner in two splits",
    }


@pytest.mark.slow
def test_what_is_forgiven_in_one_is_an_error_in_many(world):
    for index in range(4):
        world.edit_sound(index, lambda x: x * 1e-4)
    names = [world.rows[index]["audio"] for index in range(4)]
    assert problems_of(diagnose(world.manifest)) == {("silent", "audio", "error"): names}


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_table_need_not_have_every_split(split, world):
    world.edit_rows(lambda rows: rows.__setitem__(slice(None), [row for row in rows if row["split"] == split]))
    diagnosis = diagnose(world.manifest)
    assert problems_of(diagnosis) == {}
    assert [*diagnosis.overview["audio"]["splits"]] == [split]


@pytest.mark.slow
def test_a_file_that_several_rows_use_is_no_duplicate_and_is_counted_once(world):
    world.edit_picture(FIRST, lambda x: np.full_like(x, 9))
    world.edit_rows(lambda rows: [rows[row].update(image=rows[FIRST]["image"], group="one") for row in (FIRST, SECOND)])
    (problem,) = diagnose(world.manifest).problems()
    (finding,) = problem.findings
    assert (problem.kind.name, finding.keys) == ("constant picture", (world.key(FIRST), world.key(SECOND)))


@pytest.mark.slow
def test_processes_find_the_same(world):
    world.edit_sound(FIRST, np.zeros_like)
    world.edit_motion(SECOND, not_a_number)
    alone, together = (diagnose(world.manifest, num_workers=n).as_json() for n in (0, 1))
    assert alone == together


@pytest.mark.slow
def test_everything_is_in_the_json(world):
    world.edit_sound(FIRST, lambda x: x * 1e-4)
    told = json.loads(json.dumps(diagnose(world.manifest).as_json()))
    assert (told["errors"], told["warnings"], told["manifest"]) == (0, 1, str(world.manifest))
    (problem,) = told["problems"]
    assert problem["advice"]
    assert problem["items"] == [
        {
            "name": world.rows[FIRST]["audio"],
            "part": "",
            "detail": problem["items"][0]["detail"],
            "keys": [world.key(FIRST)],
        }
    ]
    assert "dBFS" in problem["items"][0]["detail"]
    assert list(told["overview"]) == ["image", "depth", "audio", "imu", "text"]


@pytest.mark.slow
def test_a_sort_of_file_that_is_not_opened_is_said(tmp_path):
    (tmp_path / "a.las").write_bytes(b"0")
    manifest = write_rows(tmp_path, [{"key": "a", "split": "train", "lidar": "a.las"}])
    assert "lidar: 1 files are only counted" in diagnose(manifest).notes[0]


@pytest.mark.slow
def test_sound_tracks_and_arrays_of_ones_own_are_no_faults(tmp_path):
    rows = []
    for index, name in enumerate(("a.m4a", "b.mp4")):
        videos.write_video(tmp_path / name, None, videos.tones([300.0 + 100 * index]))
        np.save(tmp_path / f"{index}.npy", np.random.default_rng(index).normal(size=(16, 16)))
        rows.append({"key": name, "split": "train", "audio": name, "pressure": f"{index}.npy"})
    diagnosis = diagnose(write_rows(tmp_path, rows))
    assert problems_of(diagnosis) == {}
    assert diagnosis.notes[0].startswith("pressure: 2 files are only counted")


@pytest.mark.slow
def test_a_gap_outside_of_the_spans_in_use_is_no_fault(tmp_path):
    values = np.random.default_rng(0).normal(size=(400, 6))
    write_motion(tmp_path / "a.csv", values, 100.0, time=np.arange(400) / 100 + 5 * (np.arange(400) >= 300))
    span = {"key": "a", "split": "train", "imu": "a.csv", "imu_start_seconds": 0.0, "imu_end_seconds": 2.5}
    assert not any(
        name == "gaps or steps back in time" for name, *_ in problems_of(diagnose(write_rows(tmp_path, [span])))
    )
    whole = write_rows(tmp_path, [{"key": "a", "split": "train", "imu": "a.csv"}])
    assert ("gaps or steps back in time", "imu", "error") in problems_of(diagnose(whole))


@pytest.mark.slow
def test_a_parquet_recording_is_read_as_a_csv(tmp_path):
    import pyarrow.csv
    import pyarrow.parquet

    values = np.random.default_rng(0).normal(size=(200, 6))
    write_motion(tmp_path / "a.csv", values, 100.0, time=np.arange(200) / 100 + (np.arange(200) > 7))
    pyarrow.parquet.write_table(pyarrow.csv.read_csv(tmp_path / "a.csv"), tmp_path / "a.parquet")
    rows = [{"key": n, "split": "train", "group": "g", "imu": f"a.{n}"} for n in ("csv", "parquet")]
    manifest = write_rows(tmp_path, [*rows, {"key": "z", "split": "train", "text": "z"}])
    assert problems_of(diagnose(manifest)) == {("gaps or steps back in time", "imu", "error"): ["a.csv", "a.parquet"]}


@pytest.mark.slow
def test_equal_files_are_one_finding_however_many_stretches_of_them_are_used(world):
    world.path(IN_TEST, "imu").write_bytes(world.path(FIRST, "imu").read_bytes())

    def cut(rows):
        for index, start in ((FIRST, 0.0), (IN_TEST, 0.5)):
            rows[index] |= {"imu_start_seconds": start, "imu_end_seconds": start + 1}
        rows.append(rows[IN_TEST] | {"key": "same span", "imu_start_seconds": 0.0, "imu_end_seconds": 1.0})

    world.edit_rows(cut)
    (problem,) = diagnose(world.manifest, transforms=training_transforms(["transform.imu.window_seconds=1"])).problems()
    (finding,) = problem.findings
    assert (problem.kind.name, finding.name) == ("same content in two splits", world.rows[FIRST]["imu"])
    assert finding.detail == f"equals {world.rows[IN_TEST]['imu']}"
    assert finding.keys == (world.key(FIRST), world.key(IN_TEST), "same span")


@pytest.mark.slow
def test_copies_of_files_that_are_not_opened_are_found_by_their_bytes(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.las").write_bytes(b"0" if name == "c" else b"1")
    splits = {"a": "train", "b": "test", "c": "train"}
    manifest = write_rows(tmp_path, [{"key": k, "split": s, "lidar": f"{k}.las"} for k, s in splits.items()])
    assert problems_of(diagnose(manifest)) == {("same content in two splits", "lidar", "error"): ["a.las"]}
