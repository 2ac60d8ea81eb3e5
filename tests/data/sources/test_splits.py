from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bind.data.sources.splits import parts_of_mixture, refuse_shared_owners, refuse_shared_spans, require_split
from bind.types import Clip, Sample


def sample(key, split, owners=(), **values):
    return Sample(key, split, {m: [v] for m, v in values.items()}, owners=tuple(owners))


def test_an_owner_in_two_splits_is_refused_with_its_keys():
    samples = [sample("a", "train", ["p:1", "p:2"]), sample("b", "train", ["p:1"]), sample("c", "test", ["p:2"])]
    refuse_shared_owners(samples[:2], "m.csv")
    with pytest.raises(ValueError, match=r"m\.csv: 1 owner.*'p:2' \(train: key 'a', test: key 'c'\)"):
        refuse_shared_owners(samples, "m.csv")


def test_many_shared_owners_are_counted_and_five_are_named():
    samples = [sample(f"{split}{i}", split, [f"p:{i}"]) for i in range(8) for split in ("train", "val")]
    with pytest.raises(ValueError, match=r"8 owner.*'p:4'.*and 3 more") as error:
        refuse_shared_owners(samples, "m.csv")
    assert "'p:5'" not in str(error.value)


def test_spans_that_touch_are_fine_and_the_same_split_may_overlap():
    path = Path("a.wav")
    samples = [
        sample("a", "train", audio=Clip(path, 0.0, 2.0)),
        sample("b", "train", audio=Clip(path, 1.0, 0.1 + 2.9)),
        sample("c", "val", audio=Clip(path, 0.1 * 3 + 2.7, None)),
    ]
    refuse_shared_spans(samples, "m.csv")


def test_a_file_through_two_modalities_or_a_link_is_still_one_file(tmp_path):
    real, link = tmp_path / "a.mp4", tmp_path / "b.mp4"
    real.write_bytes(b"x")
    link.symlink_to(real)
    samples = [sample("a", "train", audio=Clip(real, 0.0, 2.0)), sample("b", "test", video=Clip(link, 1.0, 3.0))]
    with pytest.raises(ValueError, match=r"m\.csv: 1 overlap.*a\.mp4 \(train: key 'a', test: key 'b'\)"):
        refuse_shared_spans(samples, "m.csv")


spans = st.tuples(st.integers(0, 12), st.integers(1, 6), st.sampled_from(["train", "val", "test"]))


@pytest.mark.slow
@given(st.lists(spans, max_size=8))
def test_overlaps_are_those_that_comparing_all_pairs_finds(spans):
    samples = [
        sample(f"k{i}", split, audio=Clip(Path("a.wav"), float(start), float(start + length)))
        for i, (start, length, split) in enumerate(spans)
    ]
    overlap = any(
        a[2] != b[2] and a[0] < b[0] + b[1] and b[0] < a[0] + a[1] for i, a in enumerate(spans) for b in spans[:i]
    )
    if overlap:
        with pytest.raises(ValueError, match="overlap"):
            refuse_shared_spans(samples, "m.csv")
    else:
        refuse_shared_spans(samples, "m.csv")


def in_splits(name, **sizes):
    """A source of that many samples."""
    samples = {split: [sample(f"{name}{split}{i}", split) for i in range(size)] for split, size in sizes.items()}
    return SimpleNamespace(name=name, samples=lambda split: samples.get(split, []))


def test_one_source_with_a_split_is_enough():
    require_split([in_splits("a", train=2), in_splits("b", test=1)], "test", "")


def test_what_each_source_has_is_said_where_none_has_the_split():
    said = "no samples of the split 'test': a has train 2, val 1; b has none of train, val and test. Do this"
    with pytest.raises(ValueError, match=f"^{said}$"):
        require_split([in_splits("a", train=2, val=1), in_splits("b", spare=3)], "test", "Do this")


def test_training_samples_of_what_is_not_trained_on_are_left_out():
    sources = [in_splits("a", train=1, val=1), in_splits("b", train=2), in_splits("c", test=1)]
    assert [s.key for part in parts_of_mixture(sources, [1.0, 0.0, 0.0]) for s in part] == [
        "atrain0",
        "aval0",
        "ctest0",
    ]
