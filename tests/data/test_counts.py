"""Counts of a table's columns are those of a loop over its samples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bind.data.counts import count_samples
from bind.data.sources.sample_table import ColumnsInMemory, SampleTable, batch_of_samples, sample_schema
from bind.types import Sample

NAMES = st.sampled_from(["a", "b", "é", ""])
SAMPLES = st.builds(
    Sample,
    st.uuids().map(str),
    st.just("train"),
    st.dictionaries(st.sampled_from(["text", "audio"]), st.just(["a dog"]), min_size=1),
    st.none() | NAMES,
    st.lists(NAMES, max_size=2).map(tuple),
    st.none() | NAMES,
)


class Source:
    def __init__(self, samples):
        self.of_split = {"train": samples}

    def samples(self, split):
        return self.of_split.get(split, [])


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(SAMPLES, min_size=1, max_size=4), min_size=1, max_size=3), st.data())
def test_counts_of_columns_are_those_of_samples(batches, data):
    schema = sample_schema(["text", "audio"])
    samples = [sample for batch in batches for sample in batch]
    columns = ColumnsInMemory([batch_of_samples(batch, schema, str) for batch in batches], schema)
    rows = sorted(data.draw(st.sets(st.integers(0, len(samples) - 1), min_size=1)))
    table = SampleTable(columns, np.array(rows), None, ["text", "audio"])
    chosen = [samples[row] for row in rows]
    counts = count_samples([Source(table)], ["train", "val"])
    assert counts == count_samples([Source(chosen)], ["train", "val"])
    assert table.labels() == [sample.label for sample in chosen]
    assert [tuple(owners) for owners in table.owners()] == [sample.owners for sample in chosen]


def test_training_samples_of_a_source_of_weight_0_are_not_counted():
    films = Source([Sample("a", "train", {"audio": ["x"], "image": ["y"]})])
    words = Source([Sample("b", "train", {"text": ["rain"]})])
    words.of_split["val"] = [Sample("c", "val", {"text": ["rain"]})]
    counts = count_samples([films, words], ["train", "val"], [1.0, 0.0])
    assert {m: c.num_samples for m, c in counts["train"].items()} == {None: 1, "audio": 1, "image": 1}
    assert {m: c.num_samples for m, c in counts["val"].items()} == {None: 1, "text": 1}
