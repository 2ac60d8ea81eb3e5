"""Windows of recordings: fixed in evaluation, drawn by (seed, step, sample) in training, alike in all streams."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support.videos import BLUE, GREEN, RED, plain, tones, write_video

from bind.data.datamodule import BindDataModule
from bind.data.identity import identify_samples
from bind.data.plan import BatchPlan
from bind.data.sources.recordings.source import RecordingSource
from bind.data.transforms.audio import AudioTransform
from bind.data.transforms.imu import ImuTransform
from bind.data.transforms.video import VideoTransform
from bind.types import GeneratedSource, OrderedSource

SECONDS = 20
WINDOWS = {"window_seconds": 2.0, "stride_seconds": 1.0}
ROWS = [("anna", "train", 0.0), ("ben", "val", 5.0), ("cleo", "test", 0.0)]
STRETCHES = [(1.0, 8.5, "walking"), (8.5, 12.0, "sitting"), (15.0, 15.5, "a cough")]


def write_motion(path: Path, seconds: float = SECONDS) -> None:
    """At 50 Hz, `acc_x` is the second that it was measured in."""
    time = np.arange(round(seconds * 50)) / 50
    np.save(path, np.stack([time, np.random.default_rng(0).normal(size=len(time))], axis=1).astype(np.float32))
    about = {"channels": ["acc_x", "acc_y"], "units": ["V", "V"], "sample_rate_hz": 50}
    path.with_suffix(".json").write_text(json.dumps(about))


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def tables(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """A manifest of three recordings, one of which begins 5 s into its file, and annotations of each."""

    def write(annotations: list[dict[str, Any]] | None = None, **more: Any) -> tuple[Path, Path]:
        rows = []
        for key, split, zero in ROWS:
            write_motion(tmp_path / f"{key}.npy", SECONDS + zero)
            row = {"key": key, "split": split, "owner": key, "imu": f"{key}.npy"} | more
            rows.append(row | ({"imu_start_seconds": zero} if zero else {}))
        if annotations is None:
            annotations = [
                {"recording": key, "start_seconds": a, "end_seconds": b, "label": said, "text": [said, f"one {said}"]}
                for key, *_ in ROWS
                for a, b, said in STRETCHES
            ]
        return write_lines(tmp_path / "recordings.jsonl", rows), write_lines(tmp_path / "said.jsonl", annotations)

    return write


TRANSFORM = ImuTransform(channels=["acc_x"], units=["V"], sample_rate_hz=50, window_seconds=2.0)


@pytest.mark.slow
def test_fixed_windows_have_what_their_annotation_says(tables: Any) -> None:
    source = RecordingSource(*tables(), **WINDOWS)
    assert source.splits == ("train", "val", "test")
    assert source.modalities() == ("imu", "text")
    assert isinstance(source, GeneratedSource)
    assert isinstance(source, OrderedSource)
    samples = source.samples("val")
    starts = [1, 2, 3, 4, 5, 6, 8.5, 9.5, 14.25]
    assert [sample.key for sample in samples] == [f"ben/{start:.3f}" for start in starts]
    assert [sample.label for sample in samples] == ["walking"] * 6 + ["sitting"] * 2 + ["a cough"]
    assert {sample.owners for sample in samples} == {("ben",)}
    assert samples[6].group == "sitting"
    assert samples[6].values["text"] == ["sitting", "one sitting"]
    for sample, start in zip(samples, starts, strict=True):
        (clip,) = source.fetch("val", [samples.index(sample)], ["imu"], None)[0]["imu"]
        window = TRANSFORM(clip, None)[0].numpy()
        np.testing.assert_allclose(window, 5 + start + np.arange(100) / 50, atol=0.02)  # the file begins 5 s before
    assert source.content_hash("val", "imu") != source.content_hash("test", "imu")


@pytest.mark.slow
def test_training_draws_each_window_around_its_place_within_the_annotation(tables: Any) -> None:
    source = RecordingSource(*tables(), **WINDOWS)
    places = np.array([sample.values["imu"][0].start_seconds for sample in source.samples("train")])
    drawn = np.array(
        [
            [values["imu"][0].start_seconds for values in source.fetch("train", range(9), ["imu", "text"], rngs)]
            for rngs in ([np.random.default_rng([0, step, row]) for row in range(9)] for step in range(60))
        ]
    )
    again = source.fetch("train", [3], ["imu"], [np.random.default_rng([0, 7, 3])])[0]["imu"][0]
    assert again.start_seconds == drawn[7, 3]  # whatever else the batch held, and whatever came before
    assert (np.abs(drawn - places) <= 1 + 1e-6).all()
    low, high = drawn.min(axis=0), drawn.max(axis=0)
    assert (low[:6] >= 1).all()
    assert (high[:6] <= 6.5 + 1e-6).all()
    assert (low[6:8] >= 8.5).all()
    assert (high[6:8] <= 10 + 1e-6).all()
    assert low[8] >= 13.5
    assert high[8] <= 15 + 1e-6
    np.testing.assert_allclose(high[1] - low[1], 2, atol=0.2)
    still = RecordingSource(*tables(), **WINDOWS, jitter_seconds=0.0)
    assert not still.fresh
    assert still.fetch("train", [3], ["imu"], [np.random.default_rng(0)]) == still.fetch("train", [3], ["imu"], None)


def data_of(source: RecordingSource, **more: Any) -> BindDataModule:
    return BindDataModule({"motion": source}, {"imu": TRANSFORM}, ["imu"], ["imu"], batch_size=2, seed=3, **more)


@pytest.mark.slow
def test_resumed_batches_are_equal_and_ranks_draw_disjoint_windows(tables: Any) -> None:
    source = RecordingSource(*tables(), **WINDOWS)
    data = data_of(source)
    dataset = data.dataset("train", ["imu"])
    whole = [dataset[request] for request in data.train_plan()]
    resumed = [dataset[request] for request in data.train_plan(start_step=2)]
    assert len(whole) == 4
    for a, b in zip(whole[2:], resumed, strict=True):
        assert a.keys == b.keys
        assert a.inputs["imu"].equal(b.inputs["imu"])
    ranks = [[dataset[request] for request in data.train_plan(rank=rank, world_size=2)] for rank in (0, 1)]
    for a, b in zip(*ranks, strict=True):
        assert not set(a.keys) & set(b.keys)
    first, second = ({key for batch in of_rank for key in batch.keys} for of_rank in ranks)
    assert len(first | second) == 8
    assert not first & second


@pytest.mark.slow
def test_windows_of_one_moment_come_into_one_batch(tables: Any) -> None:
    source = RecordingSource(*tables(), **WINDOWS, windows_per_moment=2)
    samples = source.samples("train")
    assert len(samples) == 18
    assert len(source.samples("val")) == 9
    assert len({sample.key for sample in samples}) == 18
    order = source.training_order(np.random.default_rng(0), 18).reshape(-1, 2)
    assert sorted(order.ravel().tolist()) == list(range(18))
    assert all(samples[a].group == samples[b].group and b == a + 1 for a, b in order.tolist())
    for request in BatchPlan([18], 4, seed=0, orders=[source.training_order]):
        rngs = [np.random.default_rng(seed) for seed in request.seeds or ()]
        clips = [values["imu"][0] for values in source.fetch("train", request.indices, ["imu"], rngs)]
        assert clips[0] != clips[1]
        assert abs(clips[0].start_seconds - clips[1].start_seconds) <= 2


@pytest.mark.slow
def test_several_streams_of_a_recording_move_together_and_may_be_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_motion(tmp_path / "a.npy", 6)
    soundfile.write(tmp_path / "a.wav", tones([200.0] * 9), 16_000)
    write_video(tmp_path / "a.mp4", [plain(RED)] * 20 + [plain(GREEN)] * 20 + [plain(BLUE)] * 20)
    rows = [
        {"key": split, "split": split, "imu": f"{split}.npy", "audio": f"{split}.wav", "video": f"{split}.mp4"}
        | {"audio_start_seconds": 1.5}
        for split in ("train", "val")
    ]
    for split in ("train", "val"):
        for suffix in (".npy", ".json", ".wav", ".mp4"):
            (tmp_path / f"{split}{suffix}").write_bytes((tmp_path / f"a{suffix}").read_bytes())
    manifest = write_lines(tmp_path / "recordings.jsonl", rows)
    said = tmp_path / "said.csv"
    lines = [f"{key},{a},{b},{text}" for key in ("train", "val") for a, b, text in ((0, 4, "red"), (4.5, 7.5, "blue"))]
    said.write_text("\n".join(["recording,start_seconds,end_seconds,text", *lines]) + "\n")
    with caplog.at_level(logging.WARNING):
        source = RecordingSource(manifest, said, **WINDOWS)
    # The sound goes on for 1.5 s after motion and picture.
    assert "4 window(s) are without imu, which is not there throughout (first: train 4.5-6.5 s)" in caplog.text
    assert "4 window(s) are without video" in caplog.text
    present = [sorted(sample.values) for sample in source.samples("train")]
    assert present == [["audio", "imu", "text", "video"]] * 3 + [["audio", "text"]] * 2
    transforms = {
        "imu": TRANSFORM,
        "audio": AudioTransform(sample_rate_hz=16_000, window_seconds=2.0),
        "video": VideoTransform(num_frames=2, clip_seconds=2.0, size_px=32),
    }
    data = BindDataModule({"a": source}, transforms, list(transforms), list(transforms), batch_size=4, seed=0)
    dataset = data.dataset("train", list(transforms))
    (request,) = list(data.train_plan())
    batch = dataset[request]
    assert batch.inputs["audio"].shape[0] == 4
    assert batch.inputs["imu"].shape[0] == len(batch.rows["video"])
    rngs = [np.random.default_rng(5)]
    values = source.fetch("train", [1], ["imu", "audio", "video"], rngs)[0]
    starts = {modality: clips[0].start_seconds for modality, clips in values.items()}
    np.testing.assert_allclose(starts["imu"], starts["video"])
    np.testing.assert_allclose(starts["audio"] - starts["imu"], 1.5)


@pytest.mark.slow
def test_unlabelled_stretches_are_left_out_unless_asked_for(tables: Any) -> None:
    manifest, said = tables()
    source = RecordingSource(manifest, said, **WINDOWS, unlabelled=True)
    free = [sample for sample in source.samples("val") if "text" not in sample.values]
    assert [sample.key for sample in free] == [f"ben/{start:.3f}" for start in (12, 13, 15.5, 16.5, 17.5)]
    assert {(sample.label, sample.group) for sample in free} == {(None, None)}
    alone = RecordingSource(manifest, None, **WINDOWS, unlabelled=True)
    assert alone.modalities() == ("imu",)
    assert len(alone.samples("val")) == 19


@pytest.mark.slow
def test_gaps_and_short_annotations_are_counted(tables: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    manifest, said = tables()
    values_TC = np.load(tmp_path / "anna.npy")
    values_TC[160:170] = np.nan  # from 3.2 to 3.4 s
    np.save(tmp_path / "anna.npy", values_TC)
    with caplog.at_level(logging.WARNING):
        source = RecordingSource(manifest, said, **WINDOWS, min_annotation_seconds=1.0)
    assert "2 window(s) are left out: no stream is there throughout (first: anna 2-4 s)" in caplog.text
    assert "3 annotation(s) are left out: shorter than data.min_annotation_seconds" in caplog.text
    assert [sample.key for sample in source.samples("train")] == [
        f"anna/{start:.3f}" for start in (1, 4, 5, 6, 8.5, 9.5)
    ]
    for step in range(50):
        rngs = [np.random.default_rng([step, row]) for row in range(6)]
        for values in source.fetch("train", range(6), ["imu"], rngs):
            TRANSFORM(values["imu"][0], None)


def stretch(**more: Any) -> dict[str, Any]:
    return {"recording": "anna", "start_seconds": 1.0, "end_seconds": 4.0, "label": "walking"} | more


@pytest.mark.slow
@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ([stretch(recording="dora")], r"said.jsonl line 1 \(dora 1-4 s: walking\).*such as 'anna'"),
        ([stretch(end_seconds=20.6)], r"line 1 \(anna 1-20.6 s: walking\) in a recording from 0 to 20 s"),
        ([stretch(start_seconds=1.6e9, end_seconds=1.6e9 + 5)], "are of another clock, say in the manifest"),
        ([stretch(), stretch(start_seconds=3.9)], r"line 1 \(.*\) and .*line 2 \(anna 3.9-4 s.*different kinds"),
        ([stretch(label=" "), stretch(start_seconds=4.0)], r"1 annotation\(s\) say nothing: .*line 1 \(anna 1-4 s: \)"),
        ([stretch(end_seconds=1.5)], "no window lies in any annotation"),
    ],
)
def test_what_does_not_fit_the_recordings_names_the_line_and_the_time(
    tables: Any, annotations: list[dict[str, Any]], message: str
) -> None:
    manifest, said = tables(annotations)
    with pytest.raises(ValueError, match=message):
        RecordingSource(manifest, said, **WINDOWS, min_annotation_seconds=1.0)


@pytest.mark.slow
def test_kinds_may_overlap_and_be_chosen(tables: Any) -> None:
    manifest, said = tables([stretch(kind="gait"), stretch(start_seconds=2.0, label=None, text="slow", kind="speed")])
    both = RecordingSource(manifest, said, **WINDOWS)
    assert [sample.key for sample in both.samples("train")] == [
        f"anna/{name}" for name in ("gait/1.000", "gait/2.000", "speed/2.000")
    ]
    assert both.samples("train")[2].group == "slow"
    assert len(RecordingSource(manifest, said, **WINDOWS, kinds=["speed"]).samples("train")) == 1
    with pytest.raises(ValueError, match=r"of the kind 'pace'; there are 'gait', 'speed'"):
        RecordingSource(manifest, said, **WINDOWS, kinds=["pace"])


@pytest.mark.slow
def test_an_end_that_was_marked_just_behind_the_recording_is_fine(tables: Any) -> None:
    manifest, said = tables([stretch(start_seconds=17.0, end_seconds=20.4)])
    source = RecordingSource(manifest, said, **WINDOWS)
    assert [sample.values["imu"][0].end_seconds for sample in source.samples("train")] == [
        pytest.approx(19.0),
        pytest.approx(20.0),
    ]


@pytest.mark.slow
def test_manifests_that_are_none_of_recordings(tables: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="can't have the column 'text'"):
        RecordingSource(*tables(text="a walk"), **WINDOWS)
    write_motion(tmp_path / "b.npy")
    manifest, said = tables()
    both = write_lines(tmp_path / "both.jsonl", [{"key": "anna", "split": "train", "imu": ["anna.npy", "b.npy"]}])
    with pytest.raises(ValueError, match="'anna' has several files of imu"):
        RecordingSource(both, said, **WINDOWS)
    with pytest.raises(ValueError, match=r"data\.annotations is missing"):
        RecordingSource(manifest, None, **WINDOWS)
    with pytest.raises(ValueError, match=r"data\.windows_per_moment=0"):
        RecordingSource(*tables(), **WINDOWS, windows_per_moment=0)


@pytest.mark.slow
def test_other_windows_are_other_data(tables: Any) -> None:
    manifest, said = tables()
    a, b, c = (
        RecordingSource(manifest, said, window_seconds=seconds, stride_seconds=1.0) for seconds in (2.0, 2.0, 2.5)
    )
    assert identify_samples(a.samples("train")) == identify_samples(b.samples("train"))
    assert identify_samples(a.samples("train")) != identify_samples(c.samples("train"))
