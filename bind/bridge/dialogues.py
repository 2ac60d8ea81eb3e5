"""Dialogues as what a language model reads: soft tokens of vectors, then words, some of which it has to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bind.bridge.inputs import MapperInputs
from bind.bridge.language_model import LanguageModel
from bind.bridge.prompts import ask_prompt

NO_LABEL = -100
"""Of tokens of which nothing is learned."""


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
    """A dialogue in tokens: places of soft tokens have the id -1; `is_cut` where an answer was too long."""

    rows: tuple[int, ...]
    ids: list[int]
    labels: list[int]
    is_cut: bool = False


def tokenise(
    lm: LanguageModel, dialogue: Dialogue, num_soft_tokens: int, max_answer_tokens: int | None = None
) -> ReadyDialogue:
    """A dialogue in tokens, of each answer `max_answer_tokens`; a cut one has no end.

    Raises:
        ValueError: where it is longer than the language model reads.

    Examples:
        >>> lm = LanguageModel.load("toy")
        >>> ready = tokenise(lm, Dialogue((0,), (("", "a star"),)), num_soft_tokens=2)
        >>> ready.ids, ready.labels
        ([-1, -1, 66, 342, 0], [-100, -100, 66, 342, 0])
    """
    ids = [*lm.start_ids, *[-1] * (len(dialogue.rows) * num_soft_tokens)]
    labels = [NO_LABEL] * len(ids)
    is_cut = False
    for question, answer in dialogue.turns:
        if question:
            prompt = lm.encode(ask_prompt(question))
            ids += prompt
            labels += [NO_LABEL] * len(prompt)
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
    return ReadyDialogue(dialogue.rows, ids, labels, is_cut)


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
    is_soft_BL = ids_BL == -1
    embeds_BLH = lm.embed(ids_BL.clamp_min(0))
    rows = [row for one in ready for row in one.rows]
    if rows:
        soft_RKH: Tensor = mapper(inputs[rows].to(lm.device)).to(embeds_BLH.dtype)
        embeds_BLH = embeds_BLH.masked_scatter(is_soft_BL[:, :, None].to(embeds_BLH.device), soft_RKH)
    return embeds_BLH, mask_BL.to(lm.device), labels_BL.to(lm.device)
