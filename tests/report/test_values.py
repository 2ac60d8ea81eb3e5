import dataclasses

import numpy as np
import pytest
import torch
from support import pages, runs

from bind.data.sources.manifest import ManifestSource
from bind.data.sources.toy.world import ToySource
from bind.data.transforms.audio import AudioTransform
from bind.data.transforms.depth import DepthTransform
from bind.evaluation.embedded import EmbeddedSplit
from bind.report.media import MissingValue, as_media
from bind.report.values import SplitValues, drawable
from bind.types import Clip, SensorRecording, Waveform


@pytest.fixture(scope="module")
def source(recordings):
    return ManifestSource(recordings)


@pytest.mark.slow
def test_values_come_in_the_order_asked_whatever_their_source_and_number(source):
    toy = ToySource(num_test_queries=1, modalities=("text",))
    num_recorded, num_toy = len(source.samples("test")), len(toy.samples("test"))
    rows = torch.cat([torch.arange(num_recorded).repeat_interleave(2), num_recorded + torch.arange(num_toy)])
    keys = [sample.key for s in (source, toy) for sample in s.samples("test")]
    split = EmbeddedSplit(keys, torch.arange(len(keys)), {"text": torch.eye(len(rows))}, {"text": rows})
    values = SplitValues(split, [source, toy], "test", {})
    recorded = [text for sample in source.samples("test") for text in sample.values["text"]]
    drawn = [each["text"][0] for each in toy.fetch("test", range(num_toy), ["text"], None)]
    everything = recorded + drawn
    asked = [len(rows) - 1, 3, 0, 2 * num_recorded, 2]
    assert values.fetch("text", asked) == [everything[i] for i in asked]
    assert (values.source_name(0), values.source_name(num_recorded)) == (source.name, "toy")
    assert values.sample(num_recorded).key == toy.samples("test")[0].key


def test_recordings_are_read_as_the_encoder_gets_them(source):
    values = pages.values_of(source)
    [sound], [motion], [picture] = (values.fetch(m, [0]) for m in ("audio", "imu", "image"))
    assert isinstance(sound, Waveform)
    assert (sound.sample_rate_hz, sound.samples.shape) == (16_000, (4_000,))
    assert isinstance(motion, SensorRecording)
    assert (motion.values.shape, motion.units[3]) == ((50, 6), "rad/s")
    assert (picture.dtype, picture.shape) == (np.uint8, (64, 64, 3))


def test_a_value_that_samples_share_has_the_owner_of_none(source):
    values = pages.values_of(source)
    alone = values.facts("image", 0)
    assert any(fact.startswith("owner") for fact in alone)
    ids = torch.arange(len(values.split.rows["image"]))
    ids[:3] = 0
    values.split.value_ids["image"] = ids
    shared = values.facts("image", 0)
    assert shared == [f"{alone[0]} and 2 more", *(fact for fact in alone[1:] if not fact.startswith("owner"))]


def test_of_several_clips_the_first_is_drawn(source):
    clip = next(s for s in source.samples("test") if "audio" in s.values).values["audio"][0]
    transform = AudioTransform(window_seconds=0.1, num_clips=3)
    drawn = drawable("audio", clip, {"audio": transform})
    np.testing.assert_array_equal(drawn.samples, transform(clip, None)[0].numpy())


def test_maps_in_files_are_drawn_without_a_unit_they_no_longer_have(tmp_path):
    np.save(tmp_path / "depth.npy", np.linspace(1, 4, 64 * 64, dtype=np.float32).reshape(64, 64))
    drawn = drawable("depth", Clip(tmp_path / "depth.npy"), {"depth": DepthTransform()})
    assert (drawn.dtype, drawn.shape) == (np.uint8, (64, 64, 3))
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 50


def test_a_file_that_is_gone_is_said_to_be_and_the_others_are_there(recordings, tmp_path):
    rows = [row for row in runs.read_manifest(recordings) if "image" in row]
    for row in rows:
        row.update({m: str(recordings.parent / row[m]) for m in ("audio", "imu", "image") if m in row})
    source = ManifestSource(runs.write_manifest(tmp_path / "table.jsonl", rows))
    values = pages.values_of(source)
    sample = next(sample for sample in source.samples("test") if "image" in sample.values)
    gone = dataclasses.replace(sample.values["image"][0], path=tmp_path / "gone.png")
    values.fetch_values = lambda modality, positions: [gone, sample.values["image"][0]]
    missing, there = values.fetch("image", [0, 1])
    assert isinstance(missing, MissingValue)
    assert "gone.png" in missing.reason
    assert there.shape == (64, 64, 3)
    assert as_media(missing)["kind"] == "missing"


def test_what_no_drawing_is_known_for_becomes_words():
    assert drawable("touch", np.zeros((2, 2, 2, 2)), {}) == "a ndarray"
    depth = np.ones((4, 4), dtype=np.float32)
    assert drawable("depth", depth, {}) is depth
