"""Dialogues as what a language model reads: soft tokens of vectors, then words, some of which it has to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bind.bridge.comparison import ComparisonMapper, comparison_of
from bind.bridge.inputs import MapperInputs
from bind.bridge.language_model import LanguageModel
from bind.bridge.prompts import ask_prompt

NO_LABEL = -100
"""Of tokens of which nothing is learned."""
SOFT, COMPARED = -1, -2
"""Ids of places: of a soft token of one input, and of one of the comparison of two."""


@dataclass(frozen=True, slots=True)
class Dialogue:
    """What is said about some inputs: vectors, or sequences of tokens.

    Attributes:
        rows: of the inputs, in the order in which their soft tokens are read.
        turns: question and answer; an empty question stands for a caption. The last answer may be None: to be written.
    """

    rows: tuple[int, ...]
    turns: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class ReadyDialogue:
    """A dialogue in tokens.

    Attributes:
        ids: of tokens; places of soft tokens are `SOFT` or `COMPARED`.
        is_cut: an answer was too long.
        questions: token ids of those for which the two inputs are compared; their `COMPARED` stand behind each.
    """

    rows: tuple[int, ...]
    ids: list[int]
    labels: list[int]
    is_cut: bool = False
    questions: tuple[list[int], ...] = ()


def tokenise(
    lm: LanguageModel,
    dialogue: Dialogue,
    num_soft_tokens: int,
    max_answer_tokens: int | None = None,
    num_comparison_tokens: int = 0,
) -> ReadyDialogue:
    """A dialogue in tokens, of each answer `max_answer_tokens`; a cut one has no end.

    Args:
        num_soft_tokens: of each input.
        num_comparison_tokens: behind each question about exactly two inputs.

    Raises:
        ValueError: where it is longer than the language model reads.

    Examples:
        >>> lm = LanguageModel.load("toy")
        >>> ready = tokenise(lm, Dialogue((0,), (("", "a star"),)), num_soft_tokens=2)
        >>> ready.ids, ready.labels
        ([-1, -1, 66, 342, 0], [-100, -100, 66, 342, 0])
    """
    ids = [*lm.start_ids, *[SOFT] * (len(dialogue.rows) * num_soft_tokens)]
    labels = [NO_LABEL] * len(ids)
    is_cut, questions = False, []
    num_compared = num_comparison_tokens if len(dialogue.rows) == 2 else 0
    for question, answer in dialogue.turns:
        if question:
            prompt = lm.encode(ask_prompt(question))
            ids += prompt + [COMPARED] * num_compared
            labels += [NO_LABEL] * (len(prompt) + num_compared)
            questions += [prompt] if num_compared else []
        if answer is not None:
            said = [*lm.encode(f" {answer}" if question else answer), lm.end_id]
            is_cut |= max_answer_tokens is not None and len(said) > max_answer_tokens
            ids += said[:max_answer_tokens]
            labels += said[:max_answer_tokens]
    if len(ids) > lm.max_tokens:
        raise ValueError(
            f"{len(dialogue.rows)} inputs of {num_soft_tokens} soft tokens and their words are {len(ids)} tokens, and "
            f"lm={lm.name} reads {lm.max_tokens}: take fewer inputs, shorter texts or a smaller mapper.num_tokens"
        )
    return ReadyDialogue(dialogue.rows, ids, labels, is_cut, tuple(questions))


def assemble(
    lm: LanguageModel,
    mapper: nn.Module,
    inputs: MapperInputs,
    ready: Sequence[ReadyDialogue],
    *,
    is_left_padded: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings (B, L, H), mask (B, L) and labels (B, L) of dialogues about rows of a mapper's inputs.

    Args:
        is_left_padded: for what is to be continued; else padding is on the right.
    """
    length = max(len(one.ids) for one in ready)
    ids_BL = torch.full((len(ready), length), lm.end_id)
    mask_BL = torch.zeros(len(ready), length, dtype=torch.long)
    labels_BL = torch.full((len(ready), length), NO_LABEL)
    for number, one in enumerate(ready):
        place = slice(length - len(one.ids), length) if is_left_padded else slice(0, len(one.ids))
        ids_BL[number, place] = torch.tensor(one.ids)
        labels_BL[number, place] = torch.tensor(one.labels)
        mask_BL[number, place] = 1
    embeds_BLH = lm.embed(ids_BL.clamp_min(0))
    rows = [row for one in ready for row in one.rows]
    if rows:
        soft_RKH: Tensor = mapper(inputs[rows].to(lm.device)).to(embeds_BLH.dtype)
        embeds_BLH = _put(embeds_BLH, ids_BL == SOFT, soft_RKH)
    comparison, compared = comparison_of(mapper), [(one.rows, ids) for one in ready for ids in one.questions]
    if comparison is not None and compared:
        assert isinstance(inputs, Tensor)  # mappers of tokens have none
        compared_PCH = _compare(lm, comparison, inputs, compared).to(embeds_BLH.dtype)
        embeds_BLH = _put(embeds_BLH, ids_BL == COMPARED, compared_PCH)
    return embeds_BLH, mask_BL.to(lm.device), labels_BL.to(lm.device)


def centre_questions(lm: LanguageModel, mapper: nn.Module, ready: Sequence[ReadyDialogue]) -> None:
    """Have the mapper's comparison, if it has one, take the questions of these dialogues by what tells them apart."""
    questions = sorted({tuple(ids) for one in ready for ids in one.questions})
    if (comparison := comparison_of(mapper)) is not None and questions:
        comparison.centre(torch.stack([_mean_embedding(lm, ids) for ids in questions]))


def _put(embeds_BLH: Tensor, is_place_BL: Tensor, soft_NKH: Tensor) -> Tensor:
    """Embeddings with soft tokens in their places, in reading order."""
    return embeds_BLH.masked_scatter(is_place_BL[:, :, None].to(embeds_BLH.device), soft_NKH)


def _compare(
    lm: LanguageModel,
    comparison: ComparisonMapper,
    inputs: Tensor,
    compared: Sequence[tuple[tuple[int, ...], list[int]]],
) -> Tensor:
    """Soft tokens (P, C, H) of P pairs of rows of vectors, each for a question in token ids."""
    pairs, questions = [rows for rows, _ in compared], [tuple(ids) for _, ids in compared]
    a_PD, b_PD = (inputs[list(rows)].to(lm.device) for rows in zip(*pairs, strict=True))
    mean_of = {ids: _mean_embedding(lm, ids) for ids in set(questions)}
    tokens_PCH: Tensor = comparison(a_PD, b_PD, torch.stack([mean_of[ids] for ids in questions]))
    return tokens_PCH


def _mean_embedding(lm: LanguageModel, ids: Sequence[int]) -> Tensor:
    return lm.embed(torch.tensor(ids)).float().mean(dim=0)
