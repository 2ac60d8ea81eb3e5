"""What the doctor calls unreadable, training refuses, and the other way round: for every modality and format."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from support.planted import write_motion
from support.videos import BLUE, RED, plain, tones, write_video

from bind.studies.doctor.diagnose import diagnose
from bind.studies.doctor.doors import file_sort, refusal, training_transforms
from bind.studies.doctor.examine import STOPS_TRAINING, FileTask, examine
from bind.studies.doctor.reading import REFUSED, UNREADABLE
from bind.types import Clip

RNG = np.random.default_rng(0)


class Pressure:
    """A modality of a user's own: an array (16, 16) in .npy."""

    def __call__(self, value, rng):
        array = np.load(value.file)
        if array.shape != (16, 16):
            raise ValueError(f"{value}: {array.shape} is not (16, 16)")
        return array

    def collate(self, items):
        return np.stack(items)


TRANSFORMS = training_transforms() | {"pressure": Pressure()}


def write_sound(path):
    soundfile.write(path, RNG.normal(0, 0.1, 16_000), 16_000)


def write_map(path, scale=1000, dtype=np.uint16):
    values = (RNG.uniform(1, 4, (24, 32)) * scale).astype(dtype)
    np.save(path, values) if path.suffix == ".npy" else Image.fromarray(values).save(path)


def write_array(path):
    np.save(path, RNG.normal(size=(300, 6)).astype(np.float32) * 0.1 + [0, 0, 1, 0, 0, 0])
    header = {"channels": [f"{s}_{a}" for s in ("acc", "gyro") for a in "xyz"], "units": ["g"] * 3 + ["rad/s"] * 3}
    path.with_suffix(".json").write_text(json.dumps(header | {"sample_rate_hz": 100}))


WRITERS = {
    ("image", ".png"): lambda p: Image.fromarray(RNG.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(p),
    ("image", ".jpg"): lambda p: Image.fromarray(RNG.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(p),
    ("audio", ".wav"): write_sound,
    ("audio", ".flac"): write_sound,
    ("audio", ".ogg"): write_sound,
    ("audio", ".mp4"): lambda p: write_video(p, None, tones([300, 500])),
    ("video", ".mp4"): lambda p: write_video(p, [plain(RED)] * 10 + [plain(BLUE)] * 10),
    ("depth", ".png"): write_map,
    ("depth", ".npy"): lambda p: write_map(p, 1, np.float32),
    ("thermal", ".png"): write_map,
    ("thermal", ".npy"): write_map,
    ("imu", ".csv"): lambda p: write_motion(p, RNG.normal(size=(300, 6)), 100),
    ("imu", ".npy"): write_array,
    ("pressure", ".npy"): lambda p: np.save(p, RNG.normal(size=(16, 16))),
}
DAMAGES = {
    "none": lambda content, at: content,
    "cut": lambda content, at: content[: int(at * len(content))],
    "zeros": lambda content, at: content[: int(at * len(content))] + bytes(64) + content[int(at * len(content)) + 64 :],
    "empty": lambda content, at: b"",
    "text": lambda content, at: b"no such thing",
}


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """(modality, suffix) → a sound file of each format."""
    folder = tmp_path_factory.mktemp("originals")
    paths = {}
    for modality, suffix in WRITERS:
        paths[modality, suffix] = folder / f"{modality}{suffix}"
        WRITERS[modality, suffix](paths[modality, suffix])
    return paths


def is_refused(facts):
    return any(
        f.kind in STOPS_TRAINING for f in [*facts.faults, *(f for stretch in facts.stretches for f in stretch.faults)]
    )


@pytest.mark.slow
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(WRITERS)), st.sampled_from(sorted(DAMAGES)), st.floats(0.05, 0.95), st.data())
def test_the_doctor_and_training_agree(originals, tmp_path, case, damage, at, data):
    modality, _ = case
    # A file under another modality's column is what it is, or refused: never read as what its suffix says.
    column = data.draw(st.sampled_from([modality, modality, *TRANSFORMS]))
    source = originals[case]
    path = tmp_path / source.name
    path.write_bytes(DAMAGES[damage](source.read_bytes(), at))
    sidecar = source.with_suffix(".json")
    if case == ("imu", ".npy"):
        path.with_suffix(".json").write_bytes(sidecar.read_bytes())
    else:
        path.with_suffix(".json").unlink(missing_ok=True)
    clip = Clip(path)
    task = FileTask(column, path, (clip,), transform=TRANSFORMS[column])
    error = refusal(TRANSFORMS[column], clip)
    assert is_refused(examine(task)) == (error is not None), error


@pytest.mark.slow
def test_every_modality_of_bind_has_its_door():
    assert {m: file_sort(t) for m, t in training_transforms().items()} == {
        "image": "picture", "audio": "sound", "imu": "sensor", "depth": "map", "thermal": "map", "video": None,
    }  # fmt: skip
    assert training_transforms(["transform.audio.sample_rate_hz=8000"])["audio"].sample_rate_hz == 8000
    with pytest.raises(ValueError, match="transform"):
        training_transforms(["transform.audio.no_such_key=1"])


def write_table(folder, column, names):
    splits = ["train"] * (len(names) - 2) + ["val", "test"]
    lines = [f"k{i},{split},{name}" for i, (split, name) in enumerate(zip(splits, names, strict=True))]
    (folder / "m.csv").write_text("\n".join([f"key,split,{column}", *lines]) + "\n")
    return folder / "m.csv"


@pytest.mark.parametrize(("column", "stops"), [("depth", True), ("thermal", False)])
def test_a_map_of_zeros_is_an_error_only_where_training_refuses_it(tmp_path, column, stops):
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((24, 32), np.uint16)).save(path)
    task = FileTask(column, path, (Clip(path),), transform=TRANSFORMS[column])
    assert (refusal(TRANSFORMS[column], Clip(path)) is not None) == stops == is_refused(examine(task))


@pytest.mark.slow
@pytest.mark.parametrize("choice", ["default", "channels", "imagebind"])
def test_every_transform_of_sensors_reads_sensor_files(choice):
    assert file_sort(training_transforms([f"transform/imu={choice}"])["imu"]) == "sensor"


@pytest.mark.slow
@pytest.mark.parametrize("column", ["depth", "thermal"])
def test_maps_of_floats_are_no_sensor_recordings(tmp_path, column):
    for i in range(4):
        write_map(
            tmp_path / f"{i}.npy", 1 if column == "depth" else 1000, np.float32 if column == "depth" else np.uint16
        )
    assert diagnose(write_table(tmp_path, column, [f"{i}.npy" for i in range(4)])).problems() == []


@pytest.mark.slow
def test_a_modality_without_a_door_is_said_and_with_one_it_is_read(tmp_path):
    for i in range(4):
        np.save(tmp_path / f"{i}.npy", RNG.normal(size=(16, 16 + (i == 2))))
    table = write_table(tmp_path, "pressure", [f"{i}.npy" for i in range(4)])
    diagnosis = diagnose(table)
    assert diagnosis.problems() == []
    assert "pressure: 4 files are only counted" in diagnosis.notes[0]
    (problem,) = diagnose(table, transforms={"pressure": Pressure()}).problems()
    assert (problem.kind, problem.is_error, [f.name for f in problem.findings]) == (UNREADABLE, True, ["2.npy"])


@pytest.mark.slow
def test_what_only_the_transform_refuses_can_be_allowed_by_its_options(tmp_path):
    for i in range(4):
        write_motion(tmp_path / f"{i}.csv", RNG.normal(size=(150, 6)), 100)
    table = write_table(tmp_path, "imu", [f"{i}.csv" for i in range(4)])
    (problem,) = diagnose(table).problems()
    assert (problem.kind, len(problem.findings)) == (REFUSED, 4)
    assert "shorter than the window of 2 s" in problem.findings[0].detail
    assert diagnose(table, transforms=training_transforms(["transform.imu.window_seconds=1"])).problems() == []


@pytest.mark.slow
def test_sounds_that_spoil_a_run_are_named(tmp_path):
    for i in range(20):
        write_sound(tmp_path / f"{i}.wav")
    x, rate = soundfile.read(tmp_path / "0.wav")
    soundfile.write(tmp_path / "0.wav", np.stack([x, -x], 1), rate)
    soundfile.write(tmp_path / "1.wav", x * 32768, rate, subtype="FLOAT")
    diagnosis = diagnose(write_table(tmp_path, "audio", [f"{i}.wav" for i in range(20)]))
    found = {f.name: p.kind.name for p in diagnosis.problems() for f in p.findings}
    assert found["0.wav"] == "channels that cancel out"
    assert found["1.wav"] in ("beyond full scale", "unreadable file")
    assert set(found) == {"0.wav", "1.wav"}


@pytest.mark.slow
def test_what_is_known_on_purpose_is_no_problem(tmp_path):
    WRITERS["image", ".png"](Path(tmp_path, "a.png"))
    table = write_table(tmp_path, "image", ["a.png"] * 3)
    assert [p.kind.name for p in diagnose(table).problems()] == ["file that two splits use"]
    assert diagnose(table, known=["image"]).problems() == []
