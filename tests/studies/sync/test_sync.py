import dataclasses
import json
import shutil

import numpy as np
import pytest
from support import documents, videos

from bind.data.sources.manifest import ManifestSource
from bind.studies.sync.activity import Activity, measure_activity
from bind.studies.sync.command import main
from bind.studies.sync.estimate import ACTIVITY_HZ, Alignment, estimate_alignment
from bind.studies.sync.recordings import StreamResult, corrected_rows
from bind.studies.sync.refine import refine_alignment
from bind.studies.sync.second_look import look_again
from bind.types import Clip

SECONDS = 60.0


def activity(rng, times, strengths, decay, seconds=SECONDS):
    """A decaying burst from each event on, and noise."""
    x_T = np.zeros(round(seconds * ACTIVITY_HZ))
    for time, strength in zip(times * ACTIVITY_HZ, strengths, strict=True):
        rows = np.arange(max(0, int(np.ceil(time))), min(int(time) + 80, len(x_T)))
        x_T[rows] += strength * np.exp(-(rows - time) / ACTIVITY_HZ * decay)
    return (x_T + np.square(rng.normal(0, 0.1, len(x_T)))).astype(np.float32)


def pair(seed, offset=0.0, drift=0.0, seconds=SECONDS, related=True):
    rng = np.random.default_rng(seed)
    times, strengths = rng.uniform(0, seconds, round(0.5 * seconds)), rng.exponential(1.0, round(0.5 * seconds))
    a_T = activity(rng, times, strengths, 8, seconds)
    if not related:
        times = rng.uniform(0, seconds, len(times))
    return a_T, activity(rng, times * (1 + drift) + offset, strengths, 15, seconds)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "offset", "drift"), [(0, 0.05, 0), (1, -2.0, 0), (2, 1.3, 200e-6), (3, -0.4, -150e-6)]
)
def test_planted_offsets_and_drifts_are_found_to_20_ms(seed, offset, drift):
    seconds = 300.0 if drift else SECONDS
    found = estimate_alignment(*pair(seed, offset, drift, seconds), max_lag_seconds=3.0)
    assert found.is_known
    assert found.has_drift == bool(drift)
    for time in (0.0, seconds):
        assert found.lag_seconds(time) == pytest.approx(offset + drift * time, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_streams_without_anything_in_common_are_left_alone(seed):
    assert not estimate_alignment(*pair(seed, related=False), max_lag_seconds=3.0).is_known


@pytest.mark.slow
def test_a_steady_beat_is_left_alone():
    rng, beats = np.random.default_rng(0), np.arange(0, SECONDS, 0.8)
    a_T, b_T = (activity(rng, beats + late, np.ones(len(beats)), 10) for late in (0.0, 0.3))
    assert not estimate_alignment(a_T, b_T, max_lag_seconds=3.0).is_known


@pytest.mark.slow
def test_streams_that_are_still_or_too_short_are_left_alone():
    a_T, b_T = pair(0)
    assert not estimate_alignment(a_T, np.zeros_like(b_T), max_lag_seconds=3.0).is_known
    assert estimate_alignment(a_T[:3000], b_T[:3000], max_lag_seconds=3.0) is None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two recordings of a microphone and a sensor: one 0.75 s apart, one with nothing in common."""
    import sys

    sys.path.insert(0, str(documents.ROOT / "benchmarks"))
    try:
        import sync
    finally:
        sys.path.pop(0)
    folder = tmp_path_factory.mktemp("streams")
    rows = []
    for seed, key in enumerate(("bumped", "apart")):
        events = sync.Events(np.random.default_rng(seed), SECONDS)
        sync.write_sound(folder / f"{key}.wav", events, 0.0, 0.0)
        of_sensor = events if key == "bumped" else sync.Events(np.random.default_rng(9), SECONDS)
        sync.write_sensor(folder / f"{key}.npy", of_sensor, 0.75, 0.0)
        files = {"audio": f"{key}.wav", "imu": f"{key}.npy"}
        rows.append({"key": key, "split": "train", "owner": key, "label": "b", **files})
    (folder / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.mark.slow
def test_the_command_writes_spans_that_belong_together_and_names_what_it_left_alone(folder, capsys):
    assert main([str(folder / "all.jsonl")]) == 0
    shown = capsys.readouterr().out
    assert "1 of 2 found" in shown
    assert "left alone: nothing in common" in shown
    rows = [json.loads(line) for line in (folder / "all_synced.jsonl").read_text().splitlines()]
    assert rows[0]["imu_start_seconds"] - rows[0]["audio_start_seconds"] == pytest.approx(0.75, abs=0.02)
    assert rows[0]["label"] == "b"
    assert "imu_start_seconds" not in rows[1]
    assert (folder / "all_sync" / "bumped.png").is_file()
    assert (folder / "all_sync" / "sync.csv").read_text().count("\n") == 3
    synced = ManifestSource(folder / "all_synced.jsonl").samples("train")[0].values
    before, after = (
        estimate_alignment(
            *(measure_activity(m, clip, by_sound=False).in_steps() for m, clip in clips), max_lag_seconds=3.0
        )
        for clips in (
            [("audio", Clip(folder / "bumped.wav")), ("imu", Clip(folder / "bumped.npy"))],
            [(m, synced[m][0]) for m in ("audio", "imu")],
        )
    )
    assert before.offset_seconds == pytest.approx(0.75, abs=0.02)
    assert after.offset_seconds == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("drift", [2e-4, -2e-4])
@pytest.mark.parametrize("offset", [1.4, -1.4])
def test_spans_of_streams_that_drift_lie_in_their_files(offset, drift):
    zero_T = np.zeros(30_000, np.float32)
    known = Alignment(offset, drift, 9.0, 0.9, True, True, zero_T, zero_T)
    rows = corrected_rows(
        {"key": "anna"}, {"video": 0.0, "imu": 0.0}, [StreamResult("anna", "video", "imu", (zero_T, zero_T), known)]
    )
    assert len(rows) > 1
    for row in rows:
        for modality in ("video", "imu"):
            assert 0 <= row[f"{modality}_start_seconds"] < row[f"{modality}_end_seconds"] <= 300


@pytest.mark.slow
def test_a_file_that_cannot_be_read_is_named_and_the_others_go_on(folder, tmp_path, capsys):
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "apart.npy").write_bytes(b"no array")
    (tmp_path / "copy" / "bumped.npy").write_bytes(b"no array")
    assert main([str(tmp_path / "copy" / "all.jsonl")]) == 1
    assert "apart.npy" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("row", "arguments", "message"),
    [
        ({"audio": "bumped.wav"}, [], "no row has two streams with time"),
        ({"audio": ["bumped.wav", "apart.wav"], "imu": "apart.npy"}, [], "several files of audio for one stretch"),
        ({"audio": "bumped.wav", "imu": "apart.npy"}, ["--reference", "video"], "no recording has it; there are audio"),
    ],
)
def test_tables_that_cannot_be_synchronised_are_refused(folder, row, arguments, message):
    table = folder / "other.jsonl"
    table.write_text(json.dumps({"key": "a", "split": "train", **row}) + "\n")
    with pytest.raises(ValueError, match=message):
        main([str(table), *arguments])


def test_what_moves_in_a_video_is_its_activity_between_the_frames(tmp_path):
    frames = [videos.plain((40, 40, 40))] * 10 + [videos.plain((200, 200, 200))] * 10
    clip = Clip(videos.write_video(tmp_path / "a.mp4", frames))
    activity = measure_activity("video", clip, by_sound=False)
    assert activity.edges == pytest.approx(np.arange(21) / 10)
    assert activity.edges[activity.values.argmax()] == pytest.approx(0.9)  # the last dark of ten frames a second
    assert activity.values[:9].max() < 0.1 * activity.values[9]
    assert len(activity.in_steps()) == 200


def frames_beside_a_ring(seed, offset, drift=0.0, seconds=SECONDS, frames_per_second=15):
    """What moved between frames, and every 10 ms a ring of other phase and decay, of the same bumps."""
    rng = np.random.default_rng(seed)
    times, strengths = rng.uniform(0, seconds, round(0.5 * seconds)), rng.exponential(1.0, round(0.5 * seconds))
    taken = np.arange(round(seconds * frames_per_second)) / frames_per_second
    ticks = (np.arange(round(seconds * ACTIVITY_HZ)) + 0.5) / ACTIVITY_HZ
    place_K, ring_T = np.zeros(len(taken)), np.zeros(len(ticks))
    for time, strength in zip(times, strengths, strict=True):
        since_K, since_T = taken - time, ticks - time * (1 + drift) - offset
        shake = strength * np.exp(-6 * np.maximum(since_K, 0)) * np.sin(25 * since_K + 6 * rng.random())
        place_K += np.where(since_K >= 0, shake, 0)
        ring_T += np.where(since_T >= 0, strength * np.exp(-12 * np.maximum(since_T, 0)), 0)
    moved_K = np.abs(np.diff(place_K, append=place_K[-1:])) + np.abs(rng.normal(0, 0.02, len(taken)))
    ring_T += np.abs(rng.normal(0, 0.05, len(ticks)))
    return Activity(np.append(taken, seconds), moved_K), Activity(np.arange(len(ticks) + 1) / ACTIVITY_HZ, ring_T)


def align(a, b):
    return refine_alignment(a, b, estimate_alignment(a.in_steps(), b.in_steps(), max_lag_seconds=3.0))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_frames_of_a_slow_camera_are_aligned_to_a_third_of_a_frame_from_either_side(seed):
    rng = np.random.default_rng([seed, 1])
    offset, drift, seconds = rng.uniform(-2, 2), rng.uniform(-2e-4, 2e-4), 180.0
    camera, ring = frames_beside_a_ring(seed, offset, drift, seconds)
    alignment, from_the_other = align(camera, ring), align(ring, camera)
    assert alignment.is_known
    assert from_the_other.is_known
    for time in (0.0, seconds):
        assert alignment.lag_seconds(time) == pytest.approx(offset + drift * time, abs=0.02)
        assert from_the_other.lag_seconds(time) == pytest.approx(-offset - drift * time, abs=0.02)


def fading(rng, times):
    """What fades so slowly that the next event comes before it is over."""
    ticks = (np.arange(round(SECONDS * ACTIVITY_HZ)) + 0.5) / ACTIVITY_HZ
    values_T = np.abs(rng.normal(0, 0.05, len(ticks)))
    for time in times:
        values_T += np.where(ticks >= time, rng.exponential(1.0) * np.exp(-np.maximum(ticks - time, 0)), 0)
    return Activity(np.arange(len(ticks) + 1) / ACTIVITY_HZ, values_T)


def look_twice(a, b):
    first = estimate_alignment(a.in_steps(), b.in_steps(), max_lag_seconds=3.0)
    return first, look_again(a, b, first, 3.0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 8, 14])
def test_few_events_that_fade_slowly_are_believed_by_their_beginnings(seed):
    rng = np.random.default_rng(seed)
    times = rng.uniform(0, SECONDS, 20)
    a, b = fading(rng, times), fading(rng, times + 0.7)
    first, second = look_twice(a, b)
    assert not first.is_known
    assert second == dataclasses.replace(first, is_known=True, score=second.score, lead=second.lead)
    assert second.lag_seconds(0.0) == pytest.approx(0.7, abs=0.02)
    first, second = look_twice(a, fading(rng, rng.uniform(0, SECONDS, 20)))
    assert not first.is_known
    assert not second.is_known


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lag", "score"), [(0.7, 1.0), (2.0, 4.0)], ids=["the first look found nothing", "both looks differ"]
)
def test_a_second_look_alone_is_not_believed(lag, score):
    rng = np.random.default_rng(2)
    times = rng.uniform(0, SECONDS, 20)
    a, b = fading(rng, times), fading(rng, times + 0.7)
    first = Alignment(lag, 0.0, score, 0.2, False, False, np.zeros(1), np.zeros(1))
    assert look_again(a, b, first, 3.0) is first


@pytest.mark.slow
def test_a_steady_beat_is_not_believed_by_its_beginnings():
    rng, beats = np.random.default_rng(0), np.arange(0, SECONDS, 0.8)
    first, second = look_twice(fading(rng, beats), fading(rng, beats + 0.3))
    assert not first.is_known
    assert not second.is_known


def test_streams_that_hardly_overlap_or_are_still_keep_the_first_estimate():
    camera, ring = frames_beside_a_ring(0, 0.0)
    first = Alignment(59.9, 0.0, 9.0, 0.9, True, False, np.zeros(1), np.zeros(1))
    assert refine_alignment(camera, ring, first) == first
    still = Activity(ring.edges, np.zeros_like(ring.values))
    assert refine_alignment(camera, still, first) == first
    assert refine_alignment(camera, still, dataclasses.replace(first, offset_seconds=0.0)).offset_seconds == 0.0
