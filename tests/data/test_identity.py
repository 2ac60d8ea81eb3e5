from dataclasses import replace
from pathlib import Path

import pytest

from bind.data.identity import changes_of_data, identify_samples
from bind.types import Clip, Sample


@pytest.fixture
def samples(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"12345")
    (tmp_path / "b.wav").write_bytes(b"123")
    return [
        Sample("a", "train", {"audio": [Clip(tmp_path / "a.wav", 0.0, 1.0)], "text": ["one", "two"]}, group="g"),
        Sample("b", "train", {"audio": [Clip(tmp_path / "b.wav")]}),
    ]


def test_copied_data_is_the_same(samples, tmp_path_factory):
    other = tmp_path_factory.mktemp("elsewhere")
    moved = []
    for sample in samples:
        [clip] = sample.values["audio"]
        (other / clip.path.name).write_bytes(clip.path.read_bytes())
        values = {**sample.values, "audio": [replace(clip, path=other / clip.path.name)]}
        moved.append(replace(sample, values=values))
    assert identify_samples(moved) == identify_samples(samples)


@pytest.mark.parametrize(
    "change",
    [
        lambda a, b: [b, a],
        lambda a, b: [a],
        lambda a, b: [replace(a, key="c"), b],
        lambda a, b: [replace(a, group="other"), b],
        lambda a, b: [replace(a, values={**a.values, "text": ["one", "three"]}), b],
        lambda a, b: [replace(a, values={"audio": [Clip(a.values["audio"][0].path, 0.0, 2.0)]}), b],
        lambda a, b: [replace(a, values={**a.values, "audio": b.values["audio"]}), b],
        lambda a, b: [a, replace(b, values={"audio": [Clip(Path("/nowhere/b.wav"))]})],
    ],
)
def test_what_changes_a_training_is_another_identity(change, samples):
    assert identify_samples(change(*samples)) != identify_samples(samples)


def test_a_file_of_another_size_is_another_one(samples):
    before = identify_samples(samples)
    samples[1].values["audio"][0].path.write_bytes(b"1234")
    assert identify_samples(samples) != before


def test_changes_in_words():
    def split(num, hash="x"):
        return {"num_samples": num, "hash": hash}

    before = {"speech": {"train": split(3), "val": split(2)}, "old": {"train": split(1), "val": split(1)}}
    now = {"speech": {"train": split(4, "y"), "val": split(2, "z")}, "new": {"train": split(1), "val": split(1)}}
    assert list(changes_of_data(before, now)) == [
        "source old is gone",
        "source new is new",
        "train of source speech has 4 samples instead of 3",
        "val of source speech has other keys, groups, texts, spans or files, or another order",
    ]
    assert not list(changes_of_data(before, before))
