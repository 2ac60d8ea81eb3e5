from pathlib import Path

import pytest

from bind.data.sources.sample_table import ColumnsInMemory, SampleTable, batch_of_samples, sample_schema
from bind.studies.doctor.captions import check_cut_captions
from bind.types import Sample


def samples(captions, groups=None, split="train"):
    rows = [
        Sample(f"{split}{i}", split, {"text": list(texts)}, group=None if groups is None else groups[i])
        for i, texts in enumerate(captions)
    ]
    schema = sample_schema(["text"])
    columns = ColumnsInMemory([batch_of_samples(rows, schema, str)], schema)
    return SampleTable(columns, range(len(rows)), Path(), ["text"])


@pytest.mark.slow
def test_captions_that_the_text_tower_cuts_are_one_finding():
    long = "a long caption of a street with many cars and people talking while the wind blows and a dog barks"
    (finding,) = check_cut_captions(samples([["a dog", long], ["a cat"], [long]]), "toy")
    assert finding.keys == ("train0", "train2")
    assert finding.detail == "2 of 4 captions have more than the 24 tokens of toy"
    assert finding.name.startswith("'a long caption of a street")
    assert check_cut_captions(samples([["a large red circle that rests"]]), "toy") == []
    assert check_cut_captions(samples([["a dog"]]), "no such anchor, and none is needed") == []
