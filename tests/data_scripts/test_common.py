import argparse
import importlib
from collections import defaultdict
from pathlib import Path

import common
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.trees import write_csv

from bind.data.sources.manifest import ManifestSource

SCRIPTS = sorted(path.stem for path in Path(common.__file__).parent.glob("*.py"))
SCRIPTS = [name for name in SCRIPTS if name not in ("common", "youtube")]
ROWS = st.lists(
    st.tuples(st.sampled_from(common.SPLIT_ORDER), st.lists(st.sampled_from("abcdef"), max_size=3)), max_size=30
)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_has_the_same_arguments_and_says_where_the_data_is(name, tmp_path, capsys):
    script = importlib.import_module(name)
    with pytest.raises(SystemExit, match="0"):
        script.main(["--help"])
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("--source", "--out", "--seed", "--allow-bad", "up to 1%;"))
    assert script.WHERE_TO_GET.splitlines()[0] in printed
    with pytest.raises(ValueError, match=r"(?s)(no such file|no .* there|none of .* there).*\nGet ") as error:
        script.main(["--source", str(tmp_path / "v2"), "--out", str(tmp_path / "out")])
    assert str(tmp_path) in str(error.value)
    assert not (tmp_path / "out" / "manifest.jsonl").exists()


@pytest.mark.slow
@given(ROWS)
def test_no_owner_is_in_two_splits_and_test_keeps_what_it_has(splits_and_owners):
    rows = [{"key": str(i), "split": split, "owner": owners} for i, (split, owners) in enumerate(splits_and_owners)]
    kept, dropped = common.drop_shared_owners(rows)
    splits = {(owner, row["split"]) for row in kept for owner in row["owner"]}
    assert len({owner for owner, _ in splits}) == len(splits)
    assert [row for row in kept if row["split"] == "test"] == [row for row in rows if row["split"] == "test"]
    assert {row["key"] for row in kept}.isdisjoint(dropped)
    assert len(kept) + len(dropped) == len(rows)
    splits_of = defaultdict(set)
    for split, owners in splits_and_owners:
        for owner in owners:
            splits_of[owner].add(split)
    assert bool(dropped) == any(len(splits) > 1 for splits in splits_of.values())


@pytest.mark.slow
@given(st.sets(st.text(min_size=1)), st.floats(0, 1), st.integers(0, 3))
def test_a_share_is_held_out_whatever_the_order(owners, share, seed):
    chosen = common.hold_out(owners, share, seed)
    assert chosen <= owners
    assert chosen == common.hold_out(sorted(owners, reverse=True), share, seed)
    assert len(chosen) == max(round(share * len(owners)), min(1, max(len(owners) - 1, 0)))


@pytest.mark.parametrize(("share", "refused"), [(0.0, True), (0.2, True), (0.4, False)])
def test_bad_files_are_refused_above_the_share(share, refused, capsys):
    bad = {Path(f"{n}.wav"): "missing" for n in range(3)}
    if refused:
        with pytest.raises(ValueError, match="3 of 10 files cannot be used"):
            common.refuse_bad_files(bad, 10, share)
    else:
        common.refuse_bad_files(bad, 10, share)
        assert "dropped 3 of 10 files that cannot be used:\n  0.wav: missing" in capsys.readouterr().out


@pytest.mark.parametrize(("options", "share"), [([], 0.0), (["--allow-bad"], 0.01), (["--allow-bad", "0.3"], 0.3)])
def test_how_much_may_be_bad(options, share):
    args = common.parse_arguments("", "", ["--source", "a", "--out", "b", *options])
    assert args.allow_bad == share


def test_a_share_is_below_one():
    with pytest.raises(argparse.ArgumentTypeError, match="2 is no share"):
        common._share("2")


def test_what_is_dropped_stands_in_a_file_by_name(tmp_path, capsys):
    args = argparse.Namespace(source=tmp_path, out=tmp_path / "out", allow_bad=0.5)
    rows = [
        {"key": "a", "split": "train", "owner": "p", "text": "one"},
        {"key": "b", "split": "test", "owner": ["q"], "text": "two"},
        {"key": "c", "split": "val", "owner": ["p", "q"], "text": "three"},
    ]
    common.finish_manifest(rows, args, num_files=4, bad={Path("x.wav"): "silent"}, left_out={"y": "too short"})
    assert (args.out / "dropped.tsv").read_text().splitlines() == [
        "x.wav\tsilent",
        "y\ttoo short",
        "a\ttrain shares an owner with val",
        "c\tval shares an owner with test",
    ]
    printed = capsys.readouterr().out
    assert "kept 1 rows, dropped 4" in printed
    assert "dropped 1: too short" in printed


@pytest.mark.slow
def test_the_validation_is_a_share_of_the_training_that_is_left(tmp_path):
    args = argparse.Namespace(source=tmp_path, out=tmp_path, allow_bad=0.0, seed=0)
    rows = [{"key": str(n), "split": "train", "owner": [f"p{n // 2}"], "text": "one"} for n in range(20)]
    rows += [{"key": f"test{n}", "split": "test", "owner": f"p{n}", "text": "one"} for n in range(5)]
    source = ManifestSource(common.finish_manifest(rows, args, num_files=25, bad={}, val_share=0.2))
    assert {split: len(source.samples(split)) for split in source.splits} == {"train": 8, "val": 2, "test": 5}


def test_nothing_left_is_an_error(tmp_path):
    args = argparse.Namespace(source=tmp_path, out=tmp_path, allow_bad=0.0)
    with pytest.raises(ValueError, match="nothing is left of 5 files"):
        common.finish_manifest([], args, num_files=5, bad={})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,c\n1,2\n", "no column b; there are a, c"),
        ("a,b\n1,2\n3\n", "line 3: 1 cells under 2 column names"),
        ("a,b\n", "no rows"),
        ('a,b\n"1,2\n', "not readable as UTF-8 CSV"),
    ],
)
def test_a_malformed_list_is_named(tmp_path, text, message):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"list\.csv.*{message}"):
        common.read_csv(tmp_path / "list.csv", ("a", "b"), "")


def test_lists_in_other_encodings_and_without_a_header(tmp_path):
    path = write_csv(tmp_path / "list.csv", None, [["é, è", "2"]], encoding="latin-1")
    assert common.read_csv(path, ("a", "b"), "", header=False, encoding="latin-1") == [{"a": "é, è", "b": "2"}]
