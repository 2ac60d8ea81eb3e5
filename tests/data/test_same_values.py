"""Equal values: texts of the same letters, and files of the same bytes under any name, on disk and in shards."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from support.runs import write_manifest

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


def columns(values):
    """Part, sample, number and id of each value."""
    return [
        list(map(int, row)) for row in zip(values.parts_V, values.rows_V, values.numbers_V, values.ids_V, strict=True)
    ]


def numbers(source, modality, split="test"):
    return identify_values([(source, split)], modality).ids_V.tolist()


@pytest.mark.slow
def test_files_are_equal_by_their_bytes_and_texts_by_their_letters(folder):
    rows = ["1,test,a.png,one|two", "2,test,copy.png,two", "3,test,b.png|link.png,Two", "4,test,a.png,"]
    pets = source(folder, rows)
    assert numbers(pets, "image") == [0, 0, 1, 0, 0]
    assert numbers(pets, "text") == [0, 1, 1, 2]
    equal = equal_values([pets], "test", ["image", "text"])
    assert equal["image"].find(["3", "1", "3", "3", "x"], np.array([1, 0, 0, 2, 0])).tolist() == [0, 0, 1, -1, -1]


@pytest.mark.slow
def test_stretches_are_equal_where_they_start_and_end_alike(folder):
    header = "key,split,imu,imu_start_seconds,imu_end_seconds"
    rows = ["1,test,x.npy,0,0.5", "2,test,y.npy,,0.5", "3,test,x.npy,0.5,1", "4,test,x.npy,,", "5,test,z.npy,,"]
    assert numbers(source(folder, rows, header), "imu") == [0, 0, 1, 2, 3]  # of z the unit differs


@pytest.mark.slow
def test_where_nothing_is_equal_nothing_is_named(folder):
    assert equal_values([source(folder, ["1,test,a.png,x", "2,test,b.png,y"])], "test", ["image", "text"]) == {}


@pytest.mark.slow
def test_shards_have_the_same_equal_values(folder, tmp_path):
    pets = source(folder, ["1,test,a.png,one", "2,test,b.png|copy.png,two", "3,test,link.png,one"])
    (tmp_path / "out").mkdir()
    plans = plan_shards(pets.samples("test"), "test", max_bytes=10**6)
    for plan in plans:
        write_shard(plan, tmp_path / "out")
    write_listing(plans, tmp_path / "out")
    packed = IndexedShardSource(str(tmp_path / "out"))
    for modality in ("image", "text"):
        values = [columns(identify_values([(source, "test")], modality)) for source in (packed, pets)]
        assert values[0] == values[1]
        assert len(values[0]) > 2


@pytest.mark.slow
def test_a_template_of_the_toy_world_is_equal_within_its_group():
    toy = ToySource(num_train=8, num_test_queries=3, modalities=["text", "audio"])
    values = columns(identify_values([(toy, "test")], "text"))
    groups = [sample.group for sample in toy.samples("test")]
    ids = [number for *_, number in values]
    assert len({(groups[row], number) for _, row, _, number in values}) == len(set(ids)) < len(ids)
    assert columns(identify_values([(toy, "test")], "audio")) == []


@pytest.mark.slow
def test_values_that_were_trained_on_are_found_across_splits(folder):
    pets = source(folder, ["1,train,a.png,x", "2,test,copy.png,y", "3,test,b.png,z"])
    assert values_in_both([(pets, "test")], [(pets, "train")], "image") == {("2", 0)}


def values_by_a_loop(parts, modality):
    """`columns(identify_values(parts, modality))` by a loop over samples and a look at every byte."""
    places, number_of = [], {}
    for part, (source, split) in enumerate(parts):
        for row, sample in enumerate(source.samples(split)):
            for number, value in enumerate(sample.values.get(modality, [])):
                if modality != "text":
                    value = (value.path.read_bytes(), value.start_seconds or 0.0, value.end_seconds)
                places.append([part, row, number, number_of.setdefault(value, len(number_of))])
    return places


cells = st.fixed_dictionaries(
    {
        "text": st.lists(st.sampled_from(["one", "two", "Two", "\u00fcber", "a longer caption of a dog"]), max_size=3),
        "image": st.lists(st.sampled_from(["a.png", "b.png", "copy.png", "link.png"]), max_size=3),
        "span": st.lists(st.sampled_from([0, 1, 2]), min_size=3, max_size=3),
    }
)


@pytest.mark.slow
@given(st.lists(st.tuples(cells, st.sampled_from(["test", "train"])), min_size=1, max_size=8))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_columns_are_compared_as_a_loop_over_samples_compares_them(folder, rows):
    rows = [
        {"key": f"k{i}", "split": split, "text": [*row["text"], "last"], "image": row["image"]}
        | {"image_start_seconds": row["span"][: len(row["image"])] if i % 2 else None}
        for i, (row, split) in enumerate(rows)
    ]
    table = ManifestSource(write_manifest(folder / "m.jsonl", rows), known=["image"])
    in_memory = SamplesInMemory(table)
    for source in (table, in_memory):
        parts = [(source, "test"), (source, "train")]
        for modality in ("text", "image"):
            assert columns(identify_values(parts, modality)) == values_by_a_loop(parts, modality)
        shared = values_in_both(*[[part] for part in parts], "image")
        assert shared == {
            (table.samples("test")[row].key, number)
            for part, row, number, n in values_by_a_loop(parts, "image")
            if part == 0 and n in [other for p, *_, other in values_by_a_loop(parts, "image") if p]
        }


class SamplesInMemory:
    """A source whose samples are a list."""

    def __init__(self, source):
        self.source, self.name = source, source.name

    def modalities(self):
        return self.source.modalities()

    def samples(self, split):
        return list(self.source.samples(split))

    def fetch(self, split, indices, modalities, rngs):
        return self.source.fetch(split, indices, modalities, rngs)
