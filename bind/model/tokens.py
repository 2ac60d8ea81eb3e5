"""Tokens of values: the sequences behind the vectors of those encoders that give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from bind.model.binder import Binder, as_value
from bind.types import Modality, TokenEncoder


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Tokens of some values, padded to the longest.

    Attributes:
        x_BLF: fp32 tokens, zero where there is none.
        is_token_BL: which of them are there, bool.

    Examples:
        >>> batch = TokenBatch.of([torch.ones(2, 3), torch.ones(1, 3)])
        >>> batch.is_token_BL
        tensor([[ True,  True],
                [ True, False]])
        >>> [tuple(x.shape) for x in batch[[1]].unpadded()]
        [(1, 3)]
    """

    x_BLF: Tensor
    is_token_BL: Tensor

    @classmethod
    def of(cls, tokens: Sequence[Tensor]) -> TokenBatch:
        """A batch of sequences (L, F) of any lengths."""
        is_token_BL = pad_sequence([x.new_ones(len(x), dtype=torch.bool) for x in tokens], batch_first=True)
        return cls(pad_sequence(list(tokens), batch_first=True), is_token_BL)

    def __len__(self) -> int:
        return len(self.x_BLF)

    def __getitem__(self, rows: list[int]) -> TokenBatch:
        return TokenBatch(self.x_BLF[rows], self.is_token_BL[rows])

    def to(self, device: torch.device) -> TokenBatch:
        """The same on a device."""
        return TokenBatch(self.x_BLF.to(device), self.is_token_BL.to(device))

    def unpadded(self) -> list[Tensor]:
        """The tokens (L, F) of each value, without padding."""
        return [x_LF[is_token_L] for x_LF, is_token_L in zip(self.x_BLF, self.is_token_BL, strict=True)]


def token_widths_of(binder: Binder) -> Mapping[Modality, int]:
    """The modalities whose encoders give tokens, and the width of these."""
    return {m: e.num_token_features for m, e in binder.encoders.items() if isinstance(e, TokenEncoder)}


@torch.no_grad()
def embed_token_items(binder: Binder, modality: Modality, items: list[Any]) -> TokenBatch:
    """The tokens of what the modality's transform gave of values, deterministic; those of a value's clips in a row."""
    encoder = binder.encoders[modality]
    assert isinstance(encoder, TokenEncoder)
    with binder.batch_of(modality, items) as (inputs, num_clips):
        x_CLF, is_token_CL = encoder.tokens(inputs)
    of_clips = TokenBatch(x_CLF.float(), is_token_CL).unpadded()
    if num_clips is None:
        return TokenBatch.of(of_clips)
    clips = iter(of_clips)
    return TokenBatch.of([torch.cat([next(clips) for _ in range(num)]) for num in num_clips.tolist()])


def embed_tokens(binder: Binder, modality: Modality, values: Sequence[Any]) -> TokenBatch:
    """The tokens of files (paths) or values of one modality, as one batch, see `embed_token_items`.

    Raises:
        ValueError: naming the file that can't be read.
    """
    transform = binder.transforms[modality]
    return embed_token_items(binder, modality, [transform(as_value(modality, value), None) for value in values])
