"""Questions about all samples of a table are answered from its columns as a loop over samples answers them."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bind.data.sources.sample_columns import distinct_cells, keys_and_group_ids
from bind.data.sources.sample_table import ColumnsInMemory, SampleTable, batch_of_samples, sample_schema
from bind.evaluation.label_sets import LabelSet
from bind.runs.other_table import label_sets_of
from bind.types import Sample

CELLS = st.sampled_from([None, "", "dog", "cat", "dog|cat", "猫"])


@st.composite
def tables(draw):
    """Samples as a list, and some rows of a table of several batches that has the same."""
    num_samples = draw(st.integers(0, 12))
    samples = [
        Sample(f"{i}", "test", {"text": [f"text {i}"]}, draw(CELLS), (f"owner {i}",), draw(CELLS))
        for i in range(num_samples)
    ]
    schema = sample_schema(["text"])
    size = draw(st.integers(1, 5))
    parts = [samples[start : start + size] for start in range(0, num_samples, size)]
    batches = [batch_of_samples(part, schema, str) for part in parts]
    rows = sorted(draw(st.sets(st.sampled_from(range(num_samples))))) if samples else []
    table = SampleTable(ColumnsInMemory(batches, schema), pa.array(rows, pa.int64()).to_numpy(), Path(), ["text"])
    return [samples[row] for row in rows], table


@pytest.mark.slow
@given(tables())
def test_distinct_cells_of_a_table_are_those_of_its_samples(drawn):
    samples, table = drawn
    assert list(table) == samples
    for name in ("label", "group"):
        assert distinct_cells(table, name) == distinct_cells(samples, name)
        assert distinct_cells(samples, name) == list(dict.fromkeys(getattr(sample, name) for sample in samples))


@pytest.mark.slow
@given(tables(), st.randoms())
def test_keys_and_groups_of_a_batch_are_those_of_its_samples(drawn, random):
    samples, table = drawn
    indices = [random.randrange(len(samples)) for _ in range(2 * len(samples))]
    chosen = [samples[index] for index in indices]
    assert table.keys_and_groups(indices) == ([s.key for s in chosen], [s.group for s in chosen])
    assert keys_and_group_ids(table, indices) == keys_and_group_ids(samples, indices)
    assert [table.group_id(index) for index in indices] == [sample.group_id for sample in chosen]


@pytest.mark.slow
@given(tables(), st.sampled_from([None, ["dog"], ["cat", "fox"]]), st.booleans())
def test_label_sets_stay_where_a_sample_has_a_class(drawn, classes, multi_label):
    samples, table = drawn
    options = {"modalities": ["text"], "templates": ["{}"], "classes": classes, "multi_label": multi_label}
    label_set = LabelSet.of("one", options, [sample.label for sample in samples])
    has_class = any(label_set.has_class_of(sample.label) for sample in samples)
    expected = {"one": options} if has_class else {}
    assert label_sets_of({"one": options}, table, Path("a.csv")) == expected
    assert label_sets_of({"one": options}, samples, Path("a.csv")) == expected
