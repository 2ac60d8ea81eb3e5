import json

import hapt
import numpy as np
import pytest

from bind.data.sources.manifest import ManifestSource
from bind.data.sources.recordings.source import RecordingSource
from bind.data.transforms.imu import ImuTransform

NAMES = "\n".join(f"{number} {name} " for number, name in enumerate(hapt.ACTIVITIES, start=1)) + "\n"
USERS = {1: 1, 2: 18, 3: 22}
NUM_FRAMES = 900


def write_published(folder, num_frames=NUM_FRAMES, users=USERS):
    """Three recordings in the published layout: standing 128 frames, sitting down 127, walking 400."""
    raw = folder / "RawData"
    raw.mkdir(parents=True)
    (folder / "activity_labels.txt").write_text(NAMES)
    rng = np.random.default_rng(0)
    labels = []
    for experiment, user in users.items():
        for sensor in ("acc", "gyro"):
            path = raw / f"{sensor}_exp{experiment:02d}_user{user:02d}.txt"
            np.savetxt(path, rng.standard_normal((num_frames, 3)), fmt="%.6f")
        labels += [(experiment, user, 5, 11, 138), (experiment, user, 7, 139, 265), (experiment, user, 1, 300, 699)]
    (raw / "labels.txt").write_text("".join(" ".join(map(str, line)) + " \n" for line in labels))
    return folder


def arguments(source, out):
    return ["--source", str(source), "--out", str(out)]


@pytest.mark.slow
def test_windows_lie_inside_one_activity_and_overlap_by_half(tmp_path, capsys):
    source = write_published(tmp_path / "source")
    hapt.main(arguments(source, tmp_path / "out"))
    manifest = ManifestSource(tmp_path / "out" / "manifest.jsonl")
    transform = ImuTransform(sample_rate_hz=50, window_seconds=2.56)
    for split, (experiment, user) in zip(("train", "val", "test"), USERS.items(), strict=True):
        samples = manifest.samples(split)
        starts = [round(sample.values["imu"][0].start_seconds * 50) for sample in samples]
        assert starts == [10, 299, 363, 427, 491, 555]
        assert [sample.label for sample in samples] == ["standing"] + ["walking"] * 5
        assert {sample.owners for sample in samples} == {(f"user:{user:02d}",)}
        assert all(sample.label in caption for sample in samples for caption in sample.values["text"])
        parts = (source / "RawData" / f"{sensor}_exp{experiment:02d}_user{user:02d}.txt" for sensor in ("acc", "gyro"))
        whole = np.concatenate([np.loadtxt(path, dtype=np.float32) for path in parts], axis=1)
        for sample, start in zip(samples, starts, strict=True):
            np.testing.assert_array_equal(transform(sample.values["imu"][0], None), whole[start : start + 128].T)
    printed = capsys.readouterr().out
    assert "kept 18 windows of 3 recordings" in printed
    assert [line.split() for line in printed.splitlines() if "sitting down" in line] == [["sitting", "down", "3", "3"]]


@pytest.mark.slow
def test_flat_windows_are_dropped_and_counted(tmp_path, capsys):
    source = write_published(tmp_path / "source")
    for sensor in ("acc", "gyro"):
        path = source / "RawData" / f"{sensor}_exp01_user01.txt"
        values = np.loadtxt(path)
        values[:200] = 0.5
        np.savetxt(path, values, fmt="%.6f")
    hapt.main(arguments(source, tmp_path / "out"))
    assert "flat window" in capsys.readouterr().out
    assert len(ManifestSource(tmp_path / "out" / "manifest.jsonl").samples("train")) == 5


def damage(raw, what):
    path = raw / "gyro_exp02_user18.txt"
    if what == "missing":
        path.unlink()
    elif what == "columns":
        np.savetxt(path, np.ones((NUM_FRAMES, 2)))
    elif what == "nan":
        np.savetxt(path, np.full((NUM_FRAMES, 3), np.nan))
    elif what == "text":
        path.write_text("not numbers\n")
    elif what == "short":
        np.savetxt(path, np.ones((NUM_FRAMES - 1, 3)))
    elif what == "user":
        labels = (raw / "labels.txt").read_text().replace("2 18 ", "2 19 ")
        (raw / "labels.txt").write_text(labels)
    elif what == "end":
        with (raw / "labels.txt").open("a") as file:
            file.write(f"2 18 1 800 {NUM_FRAMES + 1}\n")
    elif what == "unrecorded":
        with (raw / "labels.txt").open("a") as file:
            file.write("9 1 1 1 200\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing", r"acc_exp02_user18\.txt: gyro_exp02_user18\.txt is missing"),
        ("columns", r"gyro_exp02_user18\.txt has 2 columns instead of 3"),
        ("nan", r"gyro_exp02_user18\.txt holds NaN"),
        ("text", r"gyro_exp02_user18\.txt is not a table of numbers"),
        ("short", "900 frames beside 899 of the gyroscope"),
        ("user", r"labels\.txt gives it to another user"),
        ("end", r"900 frames, but labels\.txt goes to 901"),
        ("unrecorded", r"acc_exp09_user….txt: missing, but labelled"),
    ],
)
def test_a_bad_file_stops_the_script(tmp_path, what, message):
    source = write_published(tmp_path / "source")
    damage(source / "RawData", what)
    with pytest.raises(ValueError, match=r"1 of \d files cannot be used:\n.*" + message):
        hapt.main(arguments(source, tmp_path / "out"))
    with pytest.raises(ValueError, match=r"1 of \d files cannot be used, more than 1%"):
        hapt.main([*arguments(source, tmp_path / "out"), "--allow-bad"])


@pytest.mark.slow
def test_one_bad_file_among_many_is_dropped_and_listed(tmp_path, capsys):
    users = USERS | dict.fromkeys(range(4, 51), 1)
    source = write_published(tmp_path / "source", num_frames=700, users=users)
    (source / "RawData" / "gyro_exp04_user01.txt").unlink()
    hapt.main([*arguments(source, tmp_path / "out"), "--allow-bad"])
    printed = capsys.readouterr().out
    assert "dropped 1 of 100 files" in printed
    assert "gyro_exp04_user01.txt is missing" in printed
    assert "bad file" in printed
    assert len(ManifestSource(tmp_path / "out" / "manifest.jsonl").samples("train")) == 47 * 6


def test_a_missing_source_says_where_to_get_it(tmp_path):
    with pytest.raises(ValueError, match=r"(?s)RawData: no recordings.*archive\.ics\.uci\.edu/dataset/341.*CC BY 4\.0"):
        hapt.main(arguments(tmp_path, tmp_path / "out"))


@pytest.mark.slow
def test_the_sidecar_describes_the_recording(tmp_path):
    hapt.main(arguments(write_published(tmp_path / "source"), tmp_path / "out"))
    about = json.loads((tmp_path / "out" / "exp01.json").read_text())
    assert about == {"channels": list(hapt.CHANNELS), "units": list(hapt.UNITS), "sample_rate_hz": 50}


def test_the_published_recordings(real_data, tmp_path, capsys):
    hapt.main(arguments(real_data("hapt"), tmp_path))
    manifest = ManifestSource(tmp_path / "manifest.jsonl")
    assert [len(manifest.samples(split)) for split in ("train", "val", "test")] == [5785, 1602, 3542]
    assert {sample.label for sample in manifest.samples("test")} == set(hapt.ACTIVITIES.values())
    assert "kept 10929 windows of 61 recordings" in capsys.readouterr().out


@pytest.mark.slow
def test_continuous_recordings_have_the_same_windows(tmp_path):
    source = write_published(tmp_path / "source")
    hapt.main(arguments(source, tmp_path / "cut"))
    hapt.main([*arguments(source, tmp_path / "whole"), "--continuous"])
    assert not (tmp_path / "whole" / "manifest.jsonl").exists()
    cut = ManifestSource(tmp_path / "cut" / "manifest.jsonl")
    whole = RecordingSource(
        tmp_path / "whole" / "recordings.jsonl",
        tmp_path / "whole" / "annotations.jsonl",
        window_seconds=2.56,
        stride_seconds=1.28,
        min_annotation_seconds=2.56,
    )
    transform = ImuTransform(sample_rate_hz=50, window_seconds=2.56)
    for split in ("train", "val", "test"):
        for a, b in zip(cut.samples(split), whole.samples(split), strict=True):
            assert (a.label, a.group, a.owners, a.values["text"]) == (b.label, b.group, b.owners, b.values["text"])
            assert transform(a.values["imu"][0], None).equal(transform(b.values["imu"][0], None))
