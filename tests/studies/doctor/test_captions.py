import pytest

from bind.studies.doctor.captions import check_captions
from bind.types import Sample


def samples(captions, groups=None, split="train"):
    return [
        Sample(f"{split}{i}", split, {"text": list(texts)}, group=None if groups is None else groups[i])
        for i, texts in enumerate(captions)
    ]


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
