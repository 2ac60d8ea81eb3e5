"""Training on a folder of videos, from the files to the figures and the vectors."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from support import runs, videos

from bind.commands.embed import embed
from bind.runs.jobs import evaluate, train

pytestmark = pytest.mark.slow

COLOURS = [(250, 10, 10), (10, 250, 10), (10, 10, 250), (250, 250, 10)]
TINY = {
    **runs.QUICK,
    "trainer.max_steps": 3,
    "data.batch_size": 4,
    "encoder.video.width": 8,
    "encoder.video.num_layers": 2,
    "transform.video.num_frames": 2,
    "transform.video.size_px": 32,
    "transform.video.clip_seconds": 0.5,
    "transform.video.num_clips": 2,
    "transform.audio.window_seconds": 0.5,
    "transform.audio.num_clips": 3,
    "cache.dir": None,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve videos of two seconds; the last of each split has no sound, and no cell for it."""
    folder = tmp_path_factory.mktemp("videos")
    rows = []
    for split, num_rows in {"train": 6, "val": 3, "test": 3}.items():
        for index in range(num_rows):
            key = f"{split}{index}"
            silent = index == num_rows - 1
            frames = [videos.plain(COLOURS[index % 4])] * 10 + [videos.plain(COLOURS[(index + 1) % 4])] * 10
            sound = None if silent else videos.tones([300 + 100 * index, 600])
            videos.write_video(folder / f"{key}.mp4", frames, sound)
            row = {"key": key, "split": split, "image": f"{key}.mp4", "video": f"{key}.mp4"}
            rows.append(row if silent else row | {"audio": f"{key}.mp4"})
    runs.write_manifest(folder / "manifest.jsonl", rows)
    return folder


def test_sound_meets_the_frames_of_its_file_through_the_image_tower(folder, tmp_path, no_pictures):
    weights = {"pairs.audio-image.weight": 0.0, "pairs.audio-video.weight": 1.0}
    chosen = {"data.manifest": str(folder / "manifest.jsonl"), "run_dir": str(tmp_path / "run")}
    train(runs.config("data=manifest", **TINY | weights | chosen | {"modalities": ["audio"]}))
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["retrieval"]["audio_to_video"]["trained"]
    assert metrics["retrieval"]["audio_to_video"]["queries"] == 2
    assert not metrics["retrieval"]["audio_to_image"]["trained"]
    evaluate(runs.config(name="evaluate", run=str(tmp_path / "run")))
    again = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert again["retrieval"] == metrics["retrieval"]


def test_an_encoder_for_video_and_one_for_its_sound_meet_a_frame(folder, tmp_path):
    chosen = {"data.manifest": str(folder / "manifest.jsonl"), "run_dir": str(tmp_path / "run")}
    chosen |= {"modalities": ["video", "audio"], "evaluation.num_gallery_queries": 1}
    train(runs.config("data=manifest", **TINY | chosen))
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["retrieval"]["video_to_image"]["trained"]
    assert metrics["retrieval"]["video_to_audio"] | {"trained": False} == metrics["retrieval"]["video_to_audio"]
    assert (tmp_path / "run" / "gallery_video_to_image.png").is_file()

    out = tmp_path / "vectors.parquet"
    options = {"run": str(tmp_path / "run"), "manifest": str(folder / "manifest.jsonl"), "out": str(out)}
    embed(runs.config(name="embed", **options))
    vectors = pq.read_table(out).to_pylist()
    assert {m: sum(row["modality"] == m for row in vectors) for m in ("image", "video", "audio")} == {
        "image": 12,
        "video": 12,
        "audio": 9,
    }
    np.testing.assert_allclose([np.linalg.norm(row["embedding"]) for row in vectors], 1.0, atol=1e-5)


def test_a_silent_video_in_the_sound_column_stops_the_run_by_name(folder, tmp_path):
    rows = runs.read_manifest(folder / "manifest.jsonl")
    broken = [{**row, "audio": row["video"]} for row in rows]
    manifest = runs.write_manifest(folder / "broken.jsonl", broken)
    chosen = {"data.manifest": str(manifest), "run_dir": str(tmp_path / "run"), "modalities": ["audio"]}
    with pytest.raises(ValueError, match=r"\d\.mp4: there is no sound track in it. Leave its cell empty"):
        train(runs.config("data=manifest", **TINY | chosen | {"data.batch_size": 6}))
