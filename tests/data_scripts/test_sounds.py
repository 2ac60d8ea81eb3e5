"""ESC-50, AudioCaps, Clotho, VGGSound and AudioSet in the layout they are published in."""

import json

import pytest
from support.trees import converted, dropped, sizes, write_csv, write_sound

ESC50 = ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
SEGMENTS = (
    "# Segments csv created Sun Mar  5 10:54:25 2017\n"
    "# num_ytids=2, num_segs=2, num_unique_labels=3, num_positive_labels=4\n"
    "# YTID, start_seconds, end_seconds, positive_labels\n"
)


def write_esc50(folder):
    rows = []
    for fold in range(1, 6):
        for number, category in ((0, "dog"), (14, "chirping_birds")):
            name = f"{fold}-{1000 * fold + number}-A-{number}.wav"
            rows.append([name, fold, number, category, str(number == 0), 1000 * fold + number, "A"])
            write_sound(folder / "audio" / name, seconds=5, rate_hz=44_100)
    write_csv(folder / "meta" / "esc50.csv", ESC50, rows)
    return folder


@pytest.fixture(scope="module")
def esc50(tmp_path_factory):
    return write_esc50(tmp_path_factory.mktemp("esc50"))


@pytest.mark.slow
def test_esc50_folds(esc50, tmp_path):
    manifest = converted("esc50", esc50, tmp_path / "5")
    assert sizes(manifest) == {"train": 6, "val": 2, "test": 2}
    assert {sample.key[0] for sample in manifest.samples("test")} == {"5"}
    assert {sample.key[0] for sample in manifest.samples("val")} == {"4"}
    sample = manifest.samples("test")[1]
    assert (sample.group, sample.label, sample.owners) == ("chirping birds", "chirping birds", ("freesound:5014",))
    assert sample.values["text"] == ["chirping birds"]
    first = converted("esc50", esc50, tmp_path / "1", "--test-fold", "1")
    assert {sample.key[0] for sample in first.samples("val")} == {"5"}


@pytest.mark.slow
def test_esc50_names_clips_that_are_cut_off_or_gone(tmp_path):
    source = write_esc50(tmp_path / "source")
    write_sound(source / "audio" / "3-3000-A-0.wav", seconds=4, rate_hz=44_100)
    (source / "audio" / "2-2014-A-14.wav").unlink()
    with pytest.raises(ValueError, match=r"(?s)2 of 10 files.*2-2014-A-14\.wav: missing.*176400 samples instead of"):
        converted("esc50", source, tmp_path / "out")
    assert sizes(converted("esc50", source, tmp_path / "out", "--allow-bad", "0.2"))["train"] == 4
    assert dropped(tmp_path / "out")["3-3000-A-0.wav"] == "176400 samples instead of 220500"


def write_audiocaps(folder):
    header = ["audiocap_id", "youtube_id", "start_time", "caption"]
    write_csv(folder / "train.csv", header, [[1, "aa", 30, "A man speaks"], [2, "bb", 0, "a man  speaks"]])
    write_csv(folder / "val.csv", header, [[n, "cc", 10, f"Rain, falls {n}"] for n in range(10, 15)])
    rows = [[n, video, 130, f"A dog, barking {n}"] for n in range(20, 25) for video in ("--d", "ee")]
    write_csv(folder / "test.csv", header, rows)
    for name in ("aa_30.flac", "clips/Ybb.wav", "cc_000010.ogg", "--d.wav", "ee_130.wav"):
        write_sound(folder / name)
    return folder


@pytest.mark.slow
def test_audiocaps_has_one_row_per_clip(tmp_path, capsys):
    manifest = converted("audiocaps", write_audiocaps(tmp_path / "source"), tmp_path / "out")
    assert sizes(manifest) == {"train": 2, "val": 1, "test": 2}
    assert {sample.group for sample in manifest.samples("train")} == {"a man speaks"}
    sample = manifest.samples("test")[0]
    assert (sample.key, sample.owners, sample.group) == ("--d_000130", ("video:--d",), None)
    assert sample.values["text"] == [f"A dog, barking {n}" for n in range(20, 25)]
    assert [len(sample.values["audio"]) for sample in manifest.samples("val")] == [1]
    assert "the test pool is 2 clips of 975 published" in capsys.readouterr().out


@pytest.mark.slow
def test_audiocaps_names_clips_that_are_gone_or_silent(tmp_path):
    source = write_audiocaps(tmp_path / "source")
    (source / "ee_130.wav").unlink()
    write_sound(source / "aa_30.flac", silent=True)
    with pytest.raises(ValueError, match=r"(?s)2 of 5 files.*aa_30\.flac: silent.*ee_000130\.\*: missing"):
        converted("audiocaps", source, tmp_path / "out")
    assert sizes(converted("audiocaps", source, tmp_path / "out", "--allow-bad", "0.5")) == {
        "train": 1,
        "val": 1,
        "test": 1,
    }


def write_clotho(folder):
    captions = ["file_name", *(f"caption_{n}" for n in range(1, 6))]
    about = ["file_name", "keywords", "sound_id", "sound_link", "start_end_samples", "manufacturer", "license"]
    ids = {"development": (1, 2, "Not found"), "validation": (4, 1), "evaluation": (5, 2)}
    for name, sound_ids in ids.items():
        files = [f"Café, rain {name} {i}.wav" for i in range(len(sound_ids))]
        write_csv(
            folder / f"clotho_captions_{name}.csv",
            captions,
            [[file, *(f'A "quoted" sound, {n}' for n in range(5))] for file in files],
        )
        write_csv(
            folder / f"clotho_metadata_{name}.csv",
            about,
            [
                [file, "rain;café", sound_id, "https://freesound.org/", "[0, 100]", "x", "CC0"]
                for file, sound_id in zip(files, sound_ids, strict=True)
            ],
            encoding="latin-1",
        )
        for file in files:
            write_sound(folder / name / file)
    return folder


@pytest.mark.slow
def test_clotho_recordings_stay_in_one_split(tmp_path, capsys):
    manifest = converted("clotho", write_clotho(tmp_path / "source"), tmp_path / "out")
    assert sizes(manifest) == {"train": 1, "val": 2, "test": 2}
    assert all(len(sample.values["text"]) == 5 for split in manifest.splits for sample in manifest.samples(split))
    assert manifest.samples("train")[0].owners == ("freesound:Café, rain development 2.wav",)
    assert dropped(tmp_path / "out") == {
        "development_0000": "train shares an owner with val",
        "development_0001": "train shares an owner with test",
    }
    assert "dropped 1: train shares an owner with test" in capsys.readouterr().out


@pytest.mark.slow
def test_clotho_names_a_broken_clip(tmp_path):
    source = write_clotho(tmp_path / "source")
    (source / "validation" / "Café, rain validation 0.wav").write_bytes(b"RIFF")
    with pytest.raises(ValueError, match=r"1 of 7 files.*\n.*Café, rain validation 0\.wav: not readable as sound"):
        converted("clotho", source, tmp_path / "out")


def write_vggsound(folder):
    rows = [[f"-train{n:05d}", n, "people marching", "train"] for n in range(40)]
    rows += [["_test", 230, "donkey, ass braying", "test"], ["-train00000", 77, "people marching", "test"]]
    write_csv(folder / "vggsound.csv", None, rows)
    for video, start, *_ in rows:
        (folder / "video").mkdir(exist_ok=True)
        (folder / "video" / f"{video}_{start:06d}.mp4").write_bytes(b"a film")
    write_sound(folder / "audio" / "_test_000230.wav")
    return folder


@pytest.mark.slow
def test_vggsound_clips_are_video_and_sound(tmp_path):
    manifest = converted("vggsound", write_vggsound(tmp_path / "source"), tmp_path / "out")
    assert sizes(manifest) == {"train": 37, "val": 2, "test": 2}
    assert dropped(tmp_path / "out") == {"-train00000_000000": "train shares an owner with test"}
    first = manifest.samples("test")[0]
    assert (first.group, first.label, first.owners) == ("donkey, ass braying", "donkey, ass braying", ("video:_test",))
    assert first.values["audio"][0].path.name == "_test_000230.wav"
    assert first.values["video"][0].path.name == "_test_000230.mp4"
    train = manifest.samples("train")[0]
    assert train.values["audio"] == train.values["video"]


@pytest.mark.slow
def test_vggsound_names_what_is_empty_and_an_unknown_split(tmp_path):
    source = write_vggsound(tmp_path / "source")
    (source / "video" / "-train00003_000003.mp4").write_bytes(b"")
    with pytest.raises(ValueError, match=r"1 of 42 files.*\n.*-train00003_000003\.mp4: empty"):
        converted("vggsound", source, tmp_path / "out")
    write_csv(source / "vggsound.csv", None, [["a", 1, "b", "validation"]])
    with pytest.raises(ValueError, match="unknown split 'validation' of a"):
        converted("vggsound", source, tmp_path / "out")


def write_audioset(folder):
    names = [[0, "/m/09x0r", "Speech"], [1, "/t/dd00003", "Male speech, man speaking"], [2, "/m/0bt9lr", "Dog"]]
    write_csv(folder / "class_labels_indices.csv", ["index", "mid", "display_name"], names)
    lines = {
        "eval_segments.csv": '--aa, 30.000, 40.000, "/m/09x0r,/m/0bt9lr"\nbb, 0.000, 10.000, "/m/0bt9lr"\n',
        "balanced_train_segments.csv": "".join(f'c{n}, 0.000, 10.000, "/t/dd00003,/m/09x0r"\n' for n in range(20)),
    }
    for name, text in lines.items():
        (folder / name).write_text(SEGMENTS + text)
    for stem in ("Y--aa", "bb_0", *(f"c{n}" for n in range(20))):
        write_sound(folder / "clips" / f"{stem}.wav")
    return folder


@pytest.mark.slow
def test_audioset_clips_have_several_labels(tmp_path):
    (tmp_path / "source").mkdir()
    manifest = converted("audioset", write_audioset(tmp_path / "source"), tmp_path / "out")
    assert sizes(manifest) == {"train": 19, "val": 1, "test": 2}
    assert [sample.label for sample in manifest.samples("test")] == ["Dog|Speech", "Dog"]
    assert {sample.group for sample in manifest.samples("train")} == {"Male speech, man speaking|Speech"}
    row = json.loads((tmp_path / "out" / "manifest.jsonl").read_text().splitlines()[0])
    assert row["key"] == "--aa_000030"
    assert "text" not in row


@pytest.mark.slow
def test_audioset_names_unknown_labels_and_lost_clips(tmp_path):
    (tmp_path / "source").mkdir()
    source = write_audioset(tmp_path / "source")
    (source / "clips" / "bb_0.wav").unlink()
    with pytest.raises(ValueError, match=r"1 of 22 files.*\n.*bb_000000\.\*: missing"):
        converted("audioset", source, tmp_path / "out")
    (source / "eval_segments.csv").write_text(SEGMENTS + 'bb, 0.000, 10.000, "/m/none"\n')
    with pytest.raises(ValueError, match=r"eval_segments\.csv: bb has the unknown labels /m/none"):
        converted("audioset", source, tmp_path / "out")
