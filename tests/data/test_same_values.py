"""Equal values: texts of the same letters, and files of the same bytes under any name, on disk and in shards."""

import numpy as np
import pytest
from PIL import Image

from bind.data.same_values import equal_values, identify_values, values_in_both
from bind.data.sources.manifest import ManifestSource
from bind.data.sources.shards.source import IndexedShardSource
from bind.data.sources.shards.writer import plan_shards, write_listing, write_shard
from bind.data.sources.toy.world import ToySource


@pytest.fixture
def folder(tmp_path):
    """Pictures `a.png`, its copy and link, and `b.png`; recordings of equal bytes of which one has another unit."""
    rng = np.random.default_rng(0)
    for name in "ab":
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "copy.png").write_bytes((tmp_path / "a.png").read_bytes())
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    for name, unit in (("x", "g"), ("y", "g"), ("z", "m/s^2")):
        np.save(tmp_path / f"{name}.npy", np.ones((4, 1), np.float32))
        (tmp_path / f"{name}.json").write_text(f'{{"channels": ["c"], "units": ["{unit}"], "sample_rate_hz": 4}}')
    return tmp_path


def source(folder, rows, header="key,split,image,text"):
    path = folder / "m.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return ManifestSource(path, known=["image"])


def numbers(source, modality, split="test"):
    return [number for _, _, number in identify_values([(source, split)], modality)]


def test_files_are_equal_by_their_bytes_and_texts_by_their_letters(folder):
    rows = ["1,test,a.png,one|two", "2,test,copy.png,two", "3,test,b.png|link.png,Two", "4,test,a.png,"]
    pets = source(folder, rows)
    assert numbers(pets, "image") == [0, 0, 1, 0, 0]
    assert numbers(pets, "text") == [0, 1, 1, 2]
    equal = equal_values([pets], "test", ["image", "text"])
    assert equal["image"]["3", 1] == equal["image"]["1", 0] != equal["image"]["3", 0]


def test_stretches_are_equal_where_they_start_and_end_alike(folder):
    header = "key,split,imu,imu_start_seconds,imu_end_seconds"
    rows = ["1,test,x.npy,0,0.5", "2,test,y.npy,,0.5", "3,test,x.npy,0.5,1", "4,test,x.npy,,", "5,test,z.npy,,"]
    assert numbers(source(folder, rows, header), "imu") == [0, 0, 1, 2, 3]  # of z the unit differs


def test_where_nothing_is_equal_nothing_is_named(folder):
    assert equal_values([source(folder, ["1,test,a.png,x", "2,test,b.png,y"])], "test", ["image", "text"]) == {}


def test_shards_have_the_same_equal_values(folder, tmp_path):
    pets = source(folder, ["1,test,a.png,one", "2,test,b.png|copy.png,two", "3,test,link.png,one"])
    (tmp_path / "out").mkdir()
    plans = plan_shards(pets.samples("test"), "test", max_bytes=10**6)
    for plan in plans:
        write_shard(plan, tmp_path / "out")
    write_listing(plans, tmp_path / "out")
    packed = IndexedShardSource(str(tmp_path / "out"))
    for modality in ("image", "text"):
        assert identify_values([(packed, "test")], modality) == identify_values([(pets, "test")], modality)


def test_a_template_of_the_toy_world_is_equal_within_its_group():
    toy = ToySource(num_train=8, num_test_queries=3, modalities=["text", "audio"])
    ids = {place: number for _, place, number in identify_values([(toy, "test")], "text")}
    groups = {sample.key: sample.group for sample in toy.samples("test")}
    assert len({(groups[key], number) for (key, _), number in ids.items()}) == len(set(ids.values())) < len(ids)
    assert identify_values([(toy, "test")], "audio") == []


def test_values_that_were_trained_on_are_found_across_splits(folder):
    pets = source(folder, ["1,train,a.png,x", "2,test,copy.png,y", "3,test,b.png,z"])
    assert values_in_both([(pets, "test")], [(pets, "train")], "image") == {("2", 0)}


def test_texts_of_a_table_are_compared_as_a_loop_over_samples_compares_them(folder):
    rows = ["1,test,a.png,one|two", "2,train,b.png,two", "3,test,,two|One|two", "4,test,b.png,"]
    pets = source(folder, rows)
    number_of = {}
    expected = [
        (0, (sample.key, place), number_of.setdefault(text, len(number_of)))
        for sample in pets.samples("test")
        for place, text in enumerate(sample.values.get("text", []))
    ]
    assert len(expected) == 5
    assert identify_values([(pets, "test")], "text") == expected
