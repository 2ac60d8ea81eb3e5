"""Soft tokens of the comparison of two vectors: where they stand, what has an influence on them, what they learn."""

import pytest
import torch
from support.bridges import tiny_language_model
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from bind.bridge.comparison import ComparisonMapper, comparison_of, make_comparison
from bind.bridge.dialogues import Dialogue, assemble, tokenise
from bind.bridge.mappers import MLPMapper, QFormerMapper, TransformerMapper
from bind.bridge.prompts import ask_prompt

DIM, NUM_SOFT, NUM_COMPARISON = 8, 3, 2
SHAPE, COLOUR = "Do they have the same shape?", "Is their colour the same?"


@pytest.fixture(scope="module")
def lm():
    return tiny_language_model("llama")


@pytest.fixture(scope="module")
def vectors():
    return normalize(torch.randn(4, DIM, generator=torch.Generator().manual_seed(1)), dim=1)


def make_mapper(lm, num_comparison_tokens=NUM_COMPARISON, kind=MLPMapper):
    torch.manual_seed(0)
    sizes = {"dim": DIM, "hidden_size": lm.hidden_size, "num_tokens": NUM_SOFT, "scale": lm.embedding_scale}
    return kind(**sizes, num_comparison_tokens=num_comparison_tokens).eval()


def embeds_of(lm, mapper, vectors, rows, *questions):
    """The embeddings of questions about these rows, in a dialogue by itself and without padding."""
    num_comparison = comparison_of(mapper).num_tokens if comparison_of(mapper) else 0
    turns = (*((question, "yes") for question in questions[:-1]), (questions[-1], None))
    ready = tokenise(lm, Dialogue(rows, turns), NUM_SOFT, num_comparison_tokens=num_comparison)
    return assemble(lm, mapper, vectors, [ready])[0][0]


@pytest.mark.parametrize("dim", [4, 512])
def test_tokens_begin_about_as_large_as_words_and_do_not_depend_on_the_order(dim):
    torch.manual_seed(0)
    comparison = ComparisonMapper(dim=dim, hidden_size=32, num_tokens=5, scale=0.02)
    a, b = normalize(torch.randn(2, 64, dim), dim=2)
    question, other = torch.randn(2, 64, 32)
    tokens = comparison(a, b, question)
    assert tokens.shape == (64, 5, 32)
    assert 0.002 < tokens.square().mean().sqrt() < 0.05
    assert torch.equal(tokens, comparison(b, a, question))
    assert not torch.allclose(tokens, comparison(a, a, question), atol=1e-4)
    assert not torch.allclose(tokens, comparison(a, b, other), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [MLPMapper, TransformerMapper])
def test_a_comparison_stands_behind_each_question_about_exactly_two_inputs(lm, vectors, kind):
    mapper, without = make_mapper(lm, kind=kind), make_mapper(lm, 0, kind)
    without.load_state_dict(mapper.state_dict(), strict=False)
    for rows, question in (((0,), SHAPE), ((0, 1, 2), SHAPE), ((), SHAPE), ((0, 1), "")):
        assert torch.equal(
            embeds_of(lm, mapper, vectors, rows, question), embeds_of(lm, without, vectors, rows, question)
        )
    two, plain = (embeds_of(lm, one, vectors, (2, 1), SHAPE, COLOUR) for one in (mapper, without))
    places, start = [], 2 * NUM_SOFT
    for question, answer in ((SHAPE, " yes"), (COLOUR, "")):
        ids = lm.encode(ask_prompt(question))
        start += len(ids)
        question_1H = lm.embed(torch.tensor(ids)).mean(dim=0)[None]
        compared = mapper.comparison(vectors[2:3], vectors[1:2], question_1H)[0]
        torch.testing.assert_close(two[start : start + NUM_COMPARISON], compared)
        places += range(start, start + NUM_COMPARISON)
        start += NUM_COMPARISON + (len(lm.encode(answer)) + 1 if answer else 0)
    rest = [place for place in range(len(two)) if place not in places]
    torch.testing.assert_close(two[rest], plain)


@pytest.mark.slow
def test_dialogues_of_one_batch_have_the_comparisons_that_they_have_alone(lm, vectors):
    mapper, all_rows = make_mapper(lm), ((0, 1), (2,), (3, 2), (1, 2, 3), (1, 0))
    questions = [(SHAPE,), (COLOUR,), (COLOUR, SHAPE), (SHAPE,), (COLOUR,)]
    ready = [
        tokenise(lm, Dialogue(rows, tuple((q, "yes" if q != asked[-1] else None) for q in asked)), NUM_SOFT, None, 2)
        for rows, asked in zip(all_rows, questions, strict=True)
    ]
    for left in (False, True):
        embeds, mask, _ = assemble(lm, mapper, vectors, ready, is_left_padded=left)
        for number, (rows, asked) in enumerate(zip(all_rows, questions, strict=True)):
            alone = embeds_of(lm, mapper, vectors, rows, *asked)
            torch.testing.assert_close(embeds[number, mask[number].bool()], alone)


@pytest.mark.slow
def test_a_comparison_learns_whether_two_things_agree_in_an_aspect():
    torch.manual_seed(0)
    kinds, questions = normalize(torch.randn(2, 6, 32), dim=2), torch.randn(2, 16)
    comparison, readout = ComparisonMapper(dim=32, hidden_size=16, num_tokens=1), nn.Linear(16, 2)
    optimizer = torch.optim.AdamW([*comparison.parameters(), *readout.parameters()], lr=1e-2)

    def draw(num):
        """Pairs of things with two aspects, and one of both that is asked."""
        first, asked = torch.randint(6, (2, num)), torch.randint(2, (num,))
        second = torch.where(torch.rand(2, num) < 0.5, first, torch.randint(6, (2, num)))
        a, b = (kinds[0, thing[0]] + kinds[1, thing[1]] + torch.randn(num, 32) / 20 for thing in (first, second))
        truth = (first == second)[asked, torch.arange(num)].long()
        return normalize(a, dim=1), normalize(b, dim=1), questions[asked], truth

    for _ in range(150):
        *pair, truth = draw(64)
        optimizer.zero_grad()
        cross_entropy(readout(comparison(*pair)[:, 0]), truth).backward()
        optimizer.step()
    *pair, truth = draw(500)
    with torch.no_grad():
        assert (readout(comparison(*pair)[:, 0]).argmax(dim=1) == truth).float().mean() > 0.9


def test_mappers_have_none_unless_it_is_asked_for(lm):
    assert comparison_of(make_mapper(lm, 0)) is None
    tokens = QFormerMapper(modality="imu", num_token_features=4, hidden_size=8, width=8, num_heads=2)
    assert comparison_of(tokens) is None
    for number in (-1, 1.5, True):
        with pytest.raises(ValueError, match=r"mapper.num_comparison_tokens=.*: give a whole number of at least 0"):
            make_comparison(number, dim=4, hidden_size=8, scale=1.0)
