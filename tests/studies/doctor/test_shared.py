from pathlib import Path

import pytest

from bind.data.sources.sample_table import ColumnsInMemory, SampleTable, batch_of_samples, sample_schema
from bind.studies.doctor.clip_uses import ClipUses
from bind.studies.doctor.shared import check_groups
from bind.types import Clip, Sample


def samples(captions, groups=None, split="train"):
    rows = [
        Sample(f"{split}{i}", split, {"text": list(texts)}, group=None if groups is None else groups[i])
        for i, texts in enumerate(captions)
    ]
    schema = sample_schema(["text"])
    columns = ColumnsInMemory([batch_of_samples(rows, schema, str)], schema)
    return SampleTable(columns, range(len(rows)), Path(), ["text"])


def clips(stretches, groups=None):
    rows = [
        Sample(f"train{i}", "train", {"audio": [Clip(Path("/none") / name, *span)]}, group=groups and groups[i])
        for i, (name, *span) in enumerate(stretches)
    ]
    schema = sample_schema(["audio"], ["audio_start_seconds", "audio_end_seconds"])
    columns = ColumnsInMemory([batch_of_samples(rows, schema, str)], schema)
    return SampleTable(columns, range(len(rows)), Path("/none"), ["audio"])


def check(samples):
    return check_groups(samples, ClipUses(samples))


def test_the_share_of_rows_that_meet_their_own_caption_is_exact_for_a_whole_batch():
    # Two of four samples share a caption, and the batch holds all four: half of the rows meet theirs.
    findings, shares = check(samples([["a dog"], ["A dog."], ["a cat"], ["a bird"]]))
    assert shares["text"] == pytest.approx(1 - (1 - 2 / 12) ** 3)
    assert [(f.name, f.keys) for f in findings] == [("'a dog'", ("train0", "train1"))]


def test_a_group_makes_shared_captions_right():
    assert check(samples([["a dog"], ["a dog"], ["a cat"]], ["dog", "dog", "cat"])) == ([], {})
    (finding,), _ = check(samples([["a dog"], ["a dog"], ["a dog"]], ["dog", "dog", "cat"]))
    assert finding.detail == "3 samples, 2 groups"


def test_a_caption_that_hardly_ever_meets_itself_is_let_pass_and_measured():
    findings, shares = check(samples([[f"caption {max(i, 1)}"] for i in range(2000)]))
    assert findings == []
    assert 0 < shares["text"] < 1e-4


def test_captions_of_the_other_splits_are_no_negatives():
    assert check(samples([["a dog"], ["a dog"]], split="test")) == ([], {})


def test_a_file_that_samples_share_is_found_as_a_caption_is():
    (finding,), shares = check(clips([("bell.wav",), ("bell.wav",), ("dog.wav",), ("cat.wav",)]))
    assert (finding.kind.name, finding.modality, finding.name) == ("file shared without a group", "audio", "bell.wav")
    assert finding.keys == ("train0", "train1")
    assert finding.detail == "2 samples, 2 groups"
    assert shares == {"audio": pytest.approx(1 - (1 - 2 / 12) ** 3)}
    assert check(clips([("bell.wav",), ("bell.wav",), ("dog.wav",)], ["bell", "bell", "dog"])) == ([], {})


def test_stretches_of_one_file_are_values_of_their_own():
    assert check(clips([("day.wav", 0.0, 1.0), ("day.wav", 1.0, 2.0)])) == ([], {})
    (finding,), _ = check(clips([("day.wav", 0.0, 1.0), ("day.wav", 0.0, 1.0)]))
    assert finding.part == "[0-1.0 s]"
