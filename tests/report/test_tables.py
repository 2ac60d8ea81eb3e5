from io import StringIO

import pytest
from rich.console import Console

from bind.report.retrieval_table import retrieval_cells, summary_note
from bind.report.tables import print_tables
from bind.report.zero_shot_table import class_cells, zero_shot_cells


def entry(r1=0.5, *, trained=True, **more):
    return {
        "R@1": r1, "R@5": 0.75, "R@10": 0.875, "median_rank": 1.5, "mrr": 0.6, "map": 0.55, "queries": 2300,
        "pool": 115, "chance_R@1": 1 / 115, "ci95_R@1": [r1 - 0.02, r1 + 0.02],
        "kind": "trained" if trained else "emergent", **more,
    }  # fmt: skip


METRICS = {
    "split": "test",
    "retrieval": {
        ("audio", "text"): entry(0.25, trained=False, **{"ceiling_R@1": 0.5}),
        ("audio", "image"): entry(0.625, **{"ceiling_R@1": 1.0, "share_of_ceiling": 0.62}),
        ("audio_and_imu", "depth"): entry(0.4, trained=False),
        ("audio_plus_imu", "depth"): entry(0.3, trained=False),
    },
    "zero_shot": {
        "imu/basic6": {"top1": 0.944, "num_classes": 6, "chance": 1 / 6, "queries": 1234, "ci95_top1": [0.93, 0.96]}
    },
}


FUSED = dict.fromkeys(("audio_and_imu", "audio_plus_imu"), ("audio", "imu"))


def printed(width=None, metrics=METRICS):
    file = StringIO()
    console = Console(file=file, width=width, force_terminal=width is not None, color_system=None)
    print_tables(metrics, console, fused=FUSED)
    return file.getvalue()


def test_trained_pairs_come_first_and_fused_ones_are_marked():
    sections = retrieval_cells(METRICS, FUSED).sections
    assert {heading: [row[0] for row in rows] for heading, rows in sections.items()} == {
        "trained": ["audio → image"],
        "emergent": ["audio → text", "audio ⊕ imu → depth", "audio + imu → depth"],
    }
    assert "⊕: fused; +: plain sum" in retrieval_cells(METRICS, FUSED).caption
    assert list(sections) == ["trained", "emergent"]


def test_the_pair_of_the_anchor_itself_is_neither_trained_nor_emergent():
    cells = retrieval_cells({"retrieval": {("image", "text"): entry(1.0) | {"kind": "anchor"}, ("a", "b"): entry()}})
    assert list(cells.sections) == ["trained", "the anchor's own"]


def test_recall_stands_beside_any_hit_where_the_two_differ():
    same, other = entry(**{"recall@10": 0.875}), entry(**{"recall@10": 0.25})
    assert "recall\n@10" not in retrieval_cells({"retrieval": {("a", "b"): same}}).headers
    cells = retrieval_cells({"retrieval": {("a", "b"): same, ("b", "a"): other}})
    column = cells.headers.index("recall\n@10")
    assert [row[column] for row in cells.sections["trained"]] == ["0.875", "0.250"]
    assert "recall@k: share of a query's relevant items" in cells.caption


def test_the_footnote_says_what_a_hit_is_and_what_was_resampled():
    nine = entry(resampled="owners", clusters=9)
    caption = retrieval_cells({"retrieval": {("a", "b"): nine, ("b", "a"): nine}}).caption
    assert "R@k: share of queries with an item of their group among the first k" in caption
    assert "bootstrap over 9 owners" in caption


@pytest.mark.parametrize(
    ("pool", "num_copies", "note"),
    [
        ("image", 92, "92 of 96 pictures equal another picture, so the pool has 4"),
        ("text", 1, "1 of 5 texts equals another text, so the pool has 4"),
        ("eeg", 2, "2 of 6 values of eeg equal another, so the pool has 4"),
    ],
)
def test_copies_in_a_pool_are_said_in_a_sentence(pool, num_copies, note):
    entries = {
        ("audio", pool): entry(pool=4, pool_copies=num_copies),
        ("imu", pool): entry(pool=4, pool_copies=num_copies),
    }
    caption = retrieval_cells({"retrieval": entries}).caption
    assert caption.count(note) == 1
    assert caption.count("data.one_per_group=true ranks one item of each group") == 1


@pytest.mark.parametrize(
    ("resampled", "note"),
    [
        ([("groups", 115), ("groups", 115)], "115 groups"),
        ([("owners", 10), ("owners", 10)], "10 owners"),
        (
            [("owners", 9), ("owners", 9)],
            "9 owners (under 10: too few to conclude, the truth may well lie outside)",
        ),
        ([("owners", 12), ("owners", 100), ("owners", 30)], "12–100 owners"),
        ([("owners", 12), ("groups", 115), ("owners", 40)], "115 groups or 12–40 owners"),
        (
            [("owners", 2), ("groups", 115)],
            "115 groups or 2 owners (under 10: too few to conclude, the truth may well lie outside)",
        ),
    ],
)
def test_the_footnote_says_of_how_many_the_intervals_are(resampled, note):
    entries = {(f"a{i}", "b"): entry(resampled=name, clusters=n) for i, (name, n) in enumerate(resampled)}
    caption = retrieval_cells({"retrieval": entries}).caption
    assert caption.endswith(f"; 95 % CI of R@1: bootstrap over {note}")
    few = {"audio": {"top1": 0.5, "num_classes": 4, "chance": 0.25, "queries": 9, "resampled": "owners", "clusters": 2}}
    assert "bootstrap over 2 owners (under 10: too few" in zero_shot_cells({"zero_shot": few}).caption


def test_the_summary_is_a_sentence_where_there_is_a_ratio():
    summary = {
        "measure": "R@1 above chance", "trained": 0.8, "emergent": 0.4, "emergent_of_trained": 0.5,
        "ci95_emergent_of_trained": [0.4, 0.6], "trained_pairs": 4, "emergent_pairs": 6,
    }  # fmt: skip
    assert summary_note({"summary": summary}) == (
        "emergent pairs reach 0.50 (0.40–0.60) of trained ones: "
        "mean R@1 above chance 0.40 over 6 pairs against 0.80 over 4"
    )
    assert (
        "emergent pairs reach 0.50" in retrieval_cells({"retrieval": {("a", "b"): entry()}, "summary": summary}).caption
    )
    assert summary_note({"summary": summary | {"emergent_of_trained": None}}) == summary_note({}) == ""


def test_top5_has_a_column_where_there_are_more_than_five_classes():
    few = {"top1": 0.5, "top5": 1.0, "num_classes": 4, "chance": 0.25, "queries": 9}
    many = few | {"top5": 0.75, "ci95_top5": [0.7, 0.8], "num_classes": 50}
    assert "top-5" not in zero_shot_cells({"zero_shot": {"audio": few}}).headers
    cells = zero_shot_cells({"zero_shot": {"audio": many}})
    column = cells.headers.index("top-5")
    assert cells.sections[""][0][column : column + 2] == ("0.750", "0.70–0.80")


@pytest.mark.slow
def test_a_row_states_score_interval_chance_expected_best_share_and_sizes():
    row = next(line for line in printed().splitlines() if "audio → image" in line)
    assert row.split()[3:] == [
        "0.625", "0.60–0.65", "0.750", "0.875", "1.5", "0.550", "0.009", "1.000", "0.62", "2300/115",
    ]  # fmt: skip


def test_without_a_known_best_there_are_no_columns_for_it():
    cells = retrieval_cells({"retrieval": {("a", "b"): entry()}})
    assert not any("best" in text for text in (*cells.headers, cells.caption))


def test_fits_100_columns():
    assert max(map(len, printed(100).splitlines())) <= 100


def test_a_file_gets_every_column_and_no_escape_codes():
    text = printed()
    assert "mAP" in text
    assert "imu/basic6" in text
    assert "\x1b" not in text
    assert "…" not in text


def test_a_narrow_terminal_loses_whole_columns_and_says_which():
    text = printed(80)
    assert max(map(len, text.splitlines())) <= 80
    assert "left out in this narrow terminal: mAP" in " ".join(text.split())
    assert "…" not in text


def test_names_are_text_not_markup():
    metrics = {"retrieval": {("[bold]x", "y"): entry()}}
    assert "[bold]x → y" in printed(metrics=metrics)


def test_of_the_classes_the_terminal_shows_only_those_that_are_missed():
    recalls = {"found": 1.0, "half": 0.5, "never": 0.0, "rarely": 0.1, "mostly": 0.9}
    classes = {
        name: {"support": 10, "recall": recall, "precision": 1.0, "taken_for": {}} for name, recall in recalls.items()
    }
    metrics = {"split": "test", "zero_shot": {"audio": {"per_class": classes}}}
    [rows] = class_cells(metrics, 3).sections.values()
    assert [row[0] for row in rows] == ["never", "rarely", "half"]
    assert len(class_cells(metrics).sections["audio"]) == 5
    found = {"split": "test", "zero_shot": {"audio": {"per_class": {"found": classes["found"]}}}}
    assert class_cells(found, 3) is None
