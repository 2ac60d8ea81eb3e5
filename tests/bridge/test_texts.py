"""Texts of a file, and which of them a bridge does not train on."""

import pytest

from bind.bridge.texts import MIN_DISTINCT, count_distinct, hold_out

ACTIVITIES = [f"a person {n}" for n in range(36)]


@pytest.mark.parametrize("num_copies", [1, 2, 40])
def test_no_copy_of_a_held_out_text_is_trained_on(num_copies):
    texts = ACTIVITIES * num_copies
    trained, held_out = hold_out(texts, 200, seed=0)
    assert sorted([*trained, *held_out]) == list(range(len(texts)))
    assert not {texts[row] for row in trained} & {texts[row] for row in held_out}
    assert count_distinct(texts[row] for row in held_out) == 3
    assert len(held_out) == 3 * num_copies


def test_another_case_makes_no_other_text():
    texts = [*ACTIVITIES, *(text.upper() for text in ACTIVITIES)]
    trained, held_out = hold_out(texts, 200, seed=1)
    assert not {texts[row].lower() for row in trained} & {texts[row].lower() for row in held_out}
    assert len(held_out) == 6


def test_few_texts_are_all_trained_on():
    assert hold_out(ACTIVITIES[: MIN_DISTINCT - 1] * 100, 200, seed=0)[1] == []
    assert len(hold_out(ACTIVITIES[:MIN_DISTINCT], 200, seed=0)[1]) == 2
    assert hold_out([], 200, seed=0) == ([], [])


def test_a_text_that_most_samples_have_is_never_held_out():
    texts = [*ACTIVITIES, *["a person walking"] * 964]
    for seed in range(30):
        trained, held_out = hold_out(texts, 200, seed)
        assert texts.index("a person walking") in trained
        assert len(held_out) == 3


def test_no_more_are_held_out_than_asked_for():
    assert [len(hold_out(ACTIVITIES, number, seed=0)[1]) for number in (0, 1, 2)] == [0, 1, 2]
