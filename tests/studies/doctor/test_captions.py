from pathlib import Path

import pytest

from bind.data.sources.sample_table import ColumnsInMemory, SampleTable, batch_of_samples, sample_schema
from bind.studies.doctor.captions import check_captions, check_cut_captions
from bind.types import Sample


def samples(captions, groups=None, split="train"):
    rows = [
        Sample(f"{split}{i}", split, {"text": list(texts)}, group=None if groups is None else groups[i])
        for i, texts in enumerate(captions)
    ]
    schema = sample_schema(["text"])
    columns = ColumnsInMemory([batch_of_samples(rows, schema, str)], schema)
    return SampleTable(columns, range(len(rows)), Path(), ["text"])


def test_the_share_of_rows_that_meet_their_own_caption_is_exact_for_a_whole_batch():
    # Two of four samples share a caption, and the batch holds all four: half of the rows meet theirs.
    findings, share = check_captions(samples([["a dog"], ["A dog."], ["a cat"], ["a bird"]]))
    assert share == pytest.approx(1 - (1 - 2 / 12) ** 3)
    assert [(f.name, f.keys) for f in findings] == [("'a dog'", ("train0", "train1"))]


def test_a_group_makes_shared_captions_right():
    assert check_captions(samples([["a dog"], ["a dog"], ["a cat"]], ["dog", "dog", "cat"])) == ([], 0.0)
    (finding,), _ = check_captions(samples([["a dog"], ["a dog"], ["a dog"]], ["dog", "dog", "cat"]))
    assert finding.detail == "3 samples, 2 groups"


def test_a_caption_that_hardly_ever_meets_itself_is_let_pass_and_measured():
    findings, share = check_captions(samples([[f"caption {max(i, 1)}"] for i in range(2000)]))
    assert findings == []
    assert 0 < share < 1e-4


def test_captions_of_the_other_splits_are_no_negatives():
    assert check_captions(samples([["a dog"], ["a dog"]], split="test")) == ([], 0.0)


@pytest.mark.slow
def test_captions_that_the_text_tower_cuts_are_one_finding():
    long = "a long caption of a street with many cars and people talking while the wind blows and a dog barks"
    (finding,) = check_cut_captions(samples([["a dog", long], ["a cat"], [long]]), "toy")
    assert finding.keys == ("train0", "train2")
    assert finding.detail == "2 of 4 captions have more than the 24 tokens of toy"
    assert finding.name.startswith("'a long caption of a street")
    assert check_cut_captions(samples([["a large red circle that rests"]]), "toy") == []
    assert check_cut_captions(samples([["a dog"]]), "no such anchor, and none is needed") == []
