"""Texts that the shipped language model learned: what a thing is, captions of it, questions about it and answers.

A text is a line of facts, which a caption, or a question with its answer, follows. Facts may be few: a caption then
says no more than they do, and what is asked beyond them is unknown. A bridge writes soft tokens in the place of the
facts.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from bind.bridge.prompts import ask_prompt
from bind.data.sources.digits import DIGIT_WORDS, digit_captions
from bind.data.sources.toy.world import FACTORS, captions, factor_words, short_caption

ACTIVITIES = (
    "walking",
    "walking upstairs",
    "walking downstairs",
    "sitting",
    "standing",
    "lying",
    "sitting down",
    "standing up",
    "lying down from a seat",
    "sitting up from lying",
    "lying down from standing",
    "getting up from lying",
)
ACTIVITY_CAPTIONS = ("a person {}", "someone is {}", "the motion of a person {}")
UNKNOWN, YES, NO = "unknown", "yes", "no"
QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "shape": ("What shape is it?", "Which shape does it have?"),
    "colour": ("What colour is it?", "Which colour does it have?"),
    "size": ("What size is it?", "How large is it?"),
    "motion": ("How does it move?", "What does it do?"),
    "material": ("What is it made of?", "Which material is it?"),
    "digit": ("Which digit is it?", "Which number is it?"),
    "activity": ("What is the person doing?", "Which activity is it?"),
}
"""Aspect of a thing → wordings of the question about it; the answer is its word."""
SAME = ("Do these belong together?", "Are these the same thing?", "Is this the sound of that picture?")
"""Questions about two things; yes where none of their facts contradict each other."""

COMPARISONS: Mapping[str, tuple[str, ...]] = {
    "shape": ("Do they have the same shape?", "Is their shape the same?"),
    "colour": ("Do they have the same colour?", "Is their colour the same?"),
    "size": ("Do they have the same size?", "Is their size the same?"),
    "motion": ("Do they have the same motion?", "Is their motion the same?"),
    "material": ("Do they have the same material?", "Is their material the same?"),
}
"""Aspect → wordings of the question whether two things agree in it; the shipped language model learned none of them."""

Thing = Mapping[str, str]
"""Aspect → word, such as `{"shape": "star", "colour": "red"}`."""
SHARE_OF_TOY_WORLD = 0.8
"""Of texts; the others are about digits and activities."""
SHARE_WHOLE = 0.4
"""Of things of the toy world: all five facts are told."""


def draw_thing(combinations: np.ndarray, rng: np.random.Generator) -> dict[str, str]:
    """A thing with all of its facts: a row of `combinations` (N, 5), a digit or an activity."""
    if rng.random() < SHARE_OF_TOY_WORLD:
        return factor_words(combinations[rng.integers(len(combinations))])
    if rng.random() < 0.5:
        return {"digit": DIGIT_WORDS[rng.integers(len(DIGIT_WORDS))]}
    return {"activity": ACTIVITIES[rng.integers(len(ACTIVITIES))]}


def leave_facts_out(thing: Thing, rng: np.random.Generator) -> dict[str, str]:
    """Some of the facts of a thing, at least one."""
    if rng.random() < SHARE_WHOLE:
        return dict(thing)
    kept = rng.random(len(thing)) < 0.5
    kept[rng.integers(len(thing))] = True
    return {aspect: word for (aspect, word), keep in zip(thing.items(), kept, strict=True) if keep}


def describe(thing: Thing, rng: np.random.Generator) -> str:
    """A caption that says the facts of a thing, and nothing besides.

    Examples:
        >>> describe({"shape": "star", "material": "metal"}, np.random.default_rng(0))
        'a metal star'
    """
    if "digit" in thing:
        wordings = digit_captions(DIGIT_WORDS.index(thing["digit"]))
        return wordings[rng.integers(len(wordings))]
    if "activity" in thing:
        return ACTIVITY_CAPTIONS[rng.integers(len(ACTIVITY_CAPTIONS))].format(thing["activity"])
    if len(thing) < len(FACTORS):
        return short_caption(thing, rng)
    wordings = tuple(captions([words.index(thing[name]) for name, words in FACTORS.items()]))
    return wordings[rng.integers(len(wordings))]


def list_facts(thing: Thing, rng: np.random.Generator) -> str:
    """A line of the facts in random order, such as "star metal."."""
    words = list(thing.values())
    return " ".join(words[n] for n in rng.permutation(len(words))) + ".\n"


def draw_question(thing: Thing, rng: np.random.Generator) -> tuple[str, str]:
    """A question about a thing and its answer: the word, yes or no; `unknown` where its facts do not say it."""
    kinds = list(FACTORS) if thing.keys() & FACTORS.keys() else list(thing)
    aspect = kinds[rng.integers(len(kinds))]
    if aspect not in FACTORS or rng.random() < 0.7:
        wordings = QUESTIONS[aspect]
        return wordings[rng.integers(len(wordings))], thing.get(aspect, UNKNOWN)
    words = FACTORS[aspect]
    word = words[rng.integers(len(words))]
    if aspect in thing and rng.random() < 0.5:
        word = thing[aspect]
    return _ask_for(aspect, word), UNKNOWN if aspect not in thing else YES if thing[aspect] == word else NO


def is_learned_question(question: str) -> bool:
    """Whether the shipped language model learned a question in this wording.

    Examples:
        >>> [is_learned_question(q) for q in ("Which digit is it?", "Is it red?", "Which digit is spoken?")]
        [True, True, False]
    """
    of_words = (_ask_for(factor, word) for factor, words in FACTORS.items() for word in words)
    return " ".join(question.split()) in {*itertools.chain(*QUESTIONS.values()), *SAME, *of_words}


def _ask_for(aspect: str, word: str) -> str:
    return f"Is it a {word}?" if aspect == "shape" else f"Is it {word}?"


def contradict(a: Thing, b: Thing) -> bool:
    """Whether some fact of one thing is another in the other; things of different worlds always do.

    Examples:
        >>> contradict({"shape": "star"}, {"shape": "star", "size": "small"})
        False
        >>> contradict({"shape": "star"}, {"digit": "three"})
        True
    """
    if not (a.keys() & b.keys() or (a.keys() | b.keys()) <= FACTORS.keys()):
        return True
    return any(a[aspect] != b[aspect] for aspect in a.keys() & b.keys())


def compare(a: Thing, b: Thing, aspect: str) -> str:
    """Whether two things agree in an aspect: yes, no, or `unknown`.

    Examples:
        >>> compare({"size": "small"}, {"shape": "star"}, "size")
        'unknown'
    """
    if aspect not in a or aspect not in b:
        return UNKNOWN
    return YES if a[aspect] == b[aspect] else NO


def draw_text(
    combinations: np.ndarray, rng: np.random.Generator, share_captions: float = 0.5, share_questions: float = 0.3
) -> tuple[str, str]:
    """A text to learn from: what comes first, facts with perhaps a question, and the caption or answer behind them.

    Args:
        combinations: (N, 5) of the toy world.
        share_captions: of the texts; the others have questions.
        share_questions: about one thing; the rest is about two.
    """
    thing = draw_thing(combinations, rng)
    facts = leave_facts_out(thing, rng)
    kind = rng.random()
    if kind < share_captions:
        return list_facts(facts, rng), describe(facts, rng)
    if kind < share_captions + share_questions:
        question, answer = draw_question(facts, rng)
        return list_facts(facts, rng) + ask_prompt(question), f" {answer}"
    other = leave_facts_out(thing if rng.random() < 0.5 else draw_near(thing, combinations, rng), rng)
    question = SAME[rng.integers(len(SAME))]
    prompt = list_facts(facts, rng) + list_facts(other, rng) + ask_prompt(question)
    return prompt, f" {NO if contradict(facts, other) else YES}"


def draw_near(thing: Thing, combinations: np.ndarray, rng: np.random.Generator) -> dict[str, str]:
    """Another thing: of the toy world one that often differs in a single fact."""
    if "shape" not in thing or rng.random() < 0.3:
        return draw_thing(combinations, rng)
    aspect = list(FACTORS)[rng.integers(len(FACTORS))]
    return {**thing, aspect: FACTORS[aspect][rng.integers(len(FACTORS[aspect]))]}


def all_words(combinations: np.ndarray, num_texts: int = 20_000) -> Sequence[str]:
    """Texts that a tokenizer is made of: the same for everybody."""
    rng = np.random.default_rng(0)
    return ["".join(draw_text(combinations, rng)) for _ in range(num_texts)]
