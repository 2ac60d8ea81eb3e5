"""Texts of the toy language model: captions say their facts and no others, answers are right or unknown."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.source_code import ROOT

from bind.bridge.toy_texts import (
    COMPARISONS,
    NO,
    QUESTIONS,
    SAME,
    UNKNOWN,
    YES,
    compare,
    contradict,
    describe,
    draw_question,
    draw_text,
    draw_thing,
    is_learned_question,
    leave_facts_out,
    list_facts,
)
from bind.data.sources.toy.world import FACTORS, all_combinations, factor_words

COMBINATIONS = all_combinations()
FACTOR_OF = {word: factor for factor, words in FACTORS.items() for word in words}


def stated(caption):
    return {FACTOR_OF[word]: word for word in caption.replace(",", " ").split() if word in FACTOR_OF}


@given(st.integers(0, 10_000))
def test_a_caption_says_the_facts_and_no_others(seed):
    rng = np.random.default_rng(seed)
    facts = leave_facts_out(draw_thing(COMBINATIONS, rng), rng)
    caption = describe(facts, rng)
    if facts.keys() <= FACTORS.keys():
        assert stated(caption) == facts
    else:
        (word,) = facts.values()
        assert word in caption
    assert sorted(list_facts(facts, rng).rstrip(".\n").split()) == sorted(" ".join(facts.values()).split())


@given(st.integers(0, 10_000))
def test_an_answer_is_the_fact_or_unknown(seed):
    rng = np.random.default_rng(seed)
    facts = leave_facts_out(draw_thing(COMBINATIONS, rng), rng)
    question, answer = draw_question(facts, rng)
    (aspect,) = {a for a, wordings in QUESTIONS.items() if question in wordings} or {
        FACTOR_OF[question.rstrip("?").split()[-1]]
    }
    if aspect not in facts:
        assert answer == UNKNOWN
    elif answer in (YES, NO):
        assert (facts[aspect] in question) == (answer == YES)
    else:
        assert answer == facts[aspect]


def test_two_things_contradict_each_other_where_a_fact_differs():
    star = {"shape": "star", "colour": "red"}
    assert not contradict(star, {"size": "small"})
    assert not contradict(star, {"shape": "star"})
    assert contradict(star, {"shape": "star", "colour": "blue"})
    assert contradict(star, {"digit": "one"})
    assert contradict({"digit": "one"}, {"activity": "sitting"})


@given(st.integers(0, 10_000), st.sampled_from(list(COMPARISONS)))
def test_two_things_agree_in_an_aspect_or_it_is_unknown(seed, aspect):
    rng = np.random.default_rng(seed)
    a, b = (leave_facts_out(factor_words(COMBINATIONS[rng.integers(len(COMBINATIONS))]), rng) for _ in range(2))
    answer = compare(a, b, aspect)
    assert all(aspect in wording for wording in COMPARISONS[aspect])
    facts = {a.get(aspect), b.get(aspect)}
    assert answer == (UNKNOWN if None in facts else YES if len(facts) == 1 else NO)
    assert answer == compare(b, a, aspect)


def test_texts_are_of_all_kinds():
    rng = np.random.default_rng(0)
    texts = [draw_text(COMBINATIONS, rng) for _ in range(300)]
    answers = {second.strip() for first, second in texts if "Question:" in first}
    assert {YES, NO, UNKNOWN} <= answers
    assert any(first.count(".\n") == 2 for first, _ in texts)
    assert all(first.endswith((".\n", "Answer:")) for first, _ in texts)
    assert sum("Question" not in first for first, _ in texts) == pytest.approx(150, abs=40)


def test_every_question_that_was_learned_is_known_and_others_are_not():
    rng = np.random.default_rng(0)
    drawn = [draw_question(draw_thing(COMBINATIONS, rng), rng)[0] for _ in range(3_000)]
    assert all(is_learned_question(question) for question in [*drawn, *SAME])
    assert set().union(*QUESTIONS.values()) <= set(drawn)
    unknown = ["Which digit is spoken?", "Is the person walking?", "Is it?", "Is it star?", *COMPARISONS["shape"]]
    assert not any(is_learned_question(question) for question in unknown)


def test_the_page_lists_the_questions():
    page = (ROOT / "docs" / "bridge.md").read_text()
    assert [question for question in (*itertools.chain(*QUESTIONS.values()), *SAME) if question not in page] == []
