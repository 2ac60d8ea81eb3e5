import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import fsdd
import numpy as np
import pytest
import soundfile
from PIL import Image

from bind.data.sources.digits import digit_image, digit_scans
from bind.data.sources.manifest import ManifestSource
from bind.data.transforms.audio import AudioTransform

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Two recordings per digit and speaker under the published names."""
    folder = tmp_path_factory.mktemp("fsdd") / "recordings"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for digit in range(10):
        for speaker in SPEAKERS:
            for index in (2, 10):
                sound = rng.uniform(-0.5, 0.5, int(rng.integers(1200, 6000)))
                soundfile.write(folder / f"{digit}_{speaker}_{index}.wav", sound, 8000, subtype="PCM_16")
    return folder.parent


@pytest.mark.slow
def test_recordings_are_paired_with_scans_of_their_digit_and_split(published, tmp_path, capsys):
    fsdd.main(["--source", str(published), "--out", str(tmp_path)])
    source = ManifestSource(tmp_path / "manifest.jsonl")
    assert {split: len(source.samples(split)) for split in ("train", "val", "test")} == {
        "train": 60,
        "val": 20,
        "test": 40,
    }
    scans = {scan.index: scan for scan in digit_scans(0)}
    for split, speakers in (("train", "george jackson nicolas"), ("val", "yweweler"), ("test", "theo lucas")):
        for sample in source.samples(split):
            digit, speaker, _ = sample.key.split("_")
            owner, scan_owner = sample.owners
            scan = scans[int(scan_owner.removeprefix("scan:"))]
            assert speaker in speakers.split()
            assert owner == f"speaker:{speaker}"
            assert (scan.digit, scan.split) == (int(digit), split)
            assert sample.group == f"digit {digit}"
            assert sample.label in sample.values["text"][0]
            with Image.open(sample.values["image"][0].path) as image:
                np.testing.assert_array_equal(np.asarray(image), digit_image(scan.pixels))
            assert AudioTransform()(sample.values["audio"][0], None).any()
    printed = capsys.readouterr().out
    assert "kept 120 of 120 recordings, dropped 0" in printed
    assert printed.endswith(f"manifest: {tmp_path / 'manifest.jsonl'}\n")


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_and_another_other_pairs(published, tmp_path):
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        fsdd.main(["--source", str(published), "--out", str(tmp_path / name), "--seed", seed])
    a, b, c = ((tmp_path / name / "manifest.jsonl").read_bytes() for name in "abc")
    assert a == b
    assert a != c


@pytest.mark.slow
def test_a_bad_file_stops_the_script_or_is_dropped_and_listed(published, tmp_path, capsys):
    source = tmp_path / "source"
    shutil.copytree(published, source)
    (source / "recordings" / "3_theo_2.wav").write_bytes(b"no sound")
    arguments = ["--source", str(source), "--out", str(tmp_path / "out")]
    with pytest.raises(ValueError, match=r"1 of 120 files cannot be used:\n.*3_theo_2\.wav: not readable as sound"):
        fsdd.main(arguments)
    assert not (tmp_path / "out").exists()
    fsdd.main([*arguments, "--allow-bad"])
    assert "3_theo_2.wav: not readable" in capsys.readouterr().out
    assert len(ManifestSource(tmp_path / "out" / "manifest.jsonl").samples("test")) == 39

    soundfile.write(source / "recordings" / "4_theo_2.wav", np.zeros(1000), 8000)
    with pytest.raises(ValueError, match="2 of 120 files cannot be used, more than 1%"):
        fsdd.main([*arguments, "--allow-bad"])
    assert "4_theo_2.wav: silent" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "samples", "problem"),
    [
        ("ten_theo_1.wav", np.ones(10), "not named"),
        ("1_theo_1.wav", np.zeros(0), "empty"),
        ("1_theo_1.wav", np.array([0.1, np.nan]), "NaN"),
        ("1_theo_1.wav", np.zeros(10), "silent"),
    ],
)
def test_what_makes_a_recording_bad(tmp_path, name, samples, problem):
    soundfile.write(tmp_path / name, samples, 8000, subtype="FLOAT")
    assert problem in fsdd._problem(tmp_path / name)


@pytest.mark.slow
def test_a_missing_source_says_where_to_get_it_without_a_stack_of_frames(tmp_path):
    command = [sys.executable, fsdd.__file__, "--source", str(tmp_path), "--out", str(tmp_path / "out")]
    root = str(Path(fsdd.__file__).parents[1])
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": root, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path / 'recordings'}: no recordings there.")
    assert "github.com/Jakobovski/free-spoken-digit-dataset" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_names_the_arguments_and_where_the_data_is(capsys):
    with pytest.raises(SystemExit, match="0"):
        fsdd.main(["--help"])
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("--source", "--out", "--seed", "--allow-bad", "up to 1%;", "git clone"))


def test_the_published_recordings(real_data, tmp_path):
    fsdd.main(["--source", str(real_data("fsdd")), "--out", str(tmp_path)])
    source = ManifestSource(tmp_path / "manifest.jsonl")
    assert [len(source.samples(split)) for split in ("train", "val", "test")] == [1500, 500, 1000]
    uses = Counter(sample.owners[1] for split in ("train", "val", "test") for sample in source.samples(split))
    assert len(uses) == 1797
    assert max(uses.values()) == 3
