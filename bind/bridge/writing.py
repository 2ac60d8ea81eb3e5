"""What a language model writes after dialogues, in batches of one length, which need no padding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from bind.bridge.dialogues import ReadyDialogue, assemble
from bind.bridge.inputs import MapperInputs
from bind.bridge.language_model import LanguageModel

BATCH_SIZE = 64


@torch.no_grad()
def write_after(
    lm: LanguageModel,
    mapper: nn.Module,
    inputs: MapperInputs,
    ready: Sequence[ReadyDialogue],
    *,
    max_tokens: int,
    num_beams: int,
) -> list[str]:
    """The most likely text after each dialogue, in their order.

    Args:
        max_tokens: a text that does not end is cut there.
        num_beams: texts that are followed at a time.

    Raises:
        ValueError: where a dialogue and what is to be written are longer than the language model reads.
    """
    longest = lm.max_tokens - max_tokens
    if too_long := [one for one in ready if len(one.ids) > longest]:
        raise ValueError(
            f"a question and its inputs have {len(too_long[0].ids)} tokens, and with {max_tokens} to write "
            f"lm={lm.name} reads {longest}: ask about less at a time"
        )
    order = sorted(range(len(ready)), key=lambda n: len(ready[n].ids))
    texts: dict[int, str] = {}
    for start in range(0, len(order), BATCH_SIZE):
        numbers = order[start : start + BATCH_SIZE]
        embeds_BLH, mask_BL, _ = assemble(lm, mapper, inputs, [ready[n] for n in numbers], is_left_padded=True)
        written = lm.write(embeds_BLH, mask_BL, max_tokens=max_tokens, num_beams=num_beams)
        texts |= dict(zip(numbers, written, strict=True))
    return [texts[n] for n in range(len(ready))]
