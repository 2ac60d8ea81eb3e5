"""Q-Former fusion: learned queries that attend to the tokens of several encoders at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor, nn

from bind.fusion.inputs import unit
from bind.fusion.learned import LearnedFusion, start_at_zero
from bind.fusion.query_attention import attend_with_queries, hide_absent, make_projection, make_query_layers
from bind.types import Modality

Tokens = Mapping[Modality, tuple[Tensor, Tensor]]
"""Modality → tokens (B, L, F) and which of them are there, bool (B, L)."""

NO_TOKENS: Tokens = MappingProxyType({})


class QFormerFusion(LearnedFusion):
    """The plain sum and what learned queries add, which attend to each other and to the tokens of all inputs.

    Tokens say when and where, of which a vector has only a summary: that two things happened together is not in the sum
    of their vectors. The vector of an input is a token too, the only one where its encoder gives none. The last layer
    starts at zero, so that training starts from the plain sum.

    Args:
        token_widths: modality → F of its encoder's tokens, for the inputs that have them; the binder knows it.
        num_queries: how many vectors are asked with.
        width: of queries and projected tokens.

    Raises:
        ValueError: fewer than two inputs, a dropout outside [0, 1), or a width that the heads don't divide.

    Source: Li et al. 2023 (BLIP-2), whose queries attend to one encoder.

    Examples:
        >>> fusion = QFormerFusion(inputs=["audio", "imu"], dim=3, token_widths={"audio": 5}, width=8).eval()
        >>> z = {"audio": torch.eye(3)[[0]], "imu": torch.eye(3)[[1]]}
        >>> tokens = {"audio": (torch.randn(1, 7, 5), torch.ones(1, 7, dtype=torch.bool))}
        >>> fusion(z, dict.fromkeys(z, torch.tensor([True])), tokens)  # doctest: +ELLIPSIS
        tensor([[0.7071, 0.7071, 0.0000]], grad_fn=...)
    """

    kind = "qformer"

    def __init__(
        self,
        *,
        inputs: Sequence[Modality],
        dim: int,
        token_widths: Mapping[Modality, int] | None = None,
        num_queries: int = 4,
        width: int = 128,
        num_layers: int = 2,
        num_heads: int = 4,
        modality_dropout: float = 0.3,
    ) -> None:
        super().__init__(inputs, modality_dropout)
        if width % num_heads:
            raise ValueError(f"fusion.width={width}: give a multiple of fusion.num_heads={num_heads}")
        self.token_widths = dict(token_widths or {})
        self.project_vector = make_projection(dim, width)
        self.project_tokens = nn.ModuleDict({m: make_projection(size, width) for m, size in self.token_widths.items()})
        self.modality_MW = nn.Parameter(0.02 * torch.randn(len(self.inputs), width))
        self.queries_QW = nn.Parameter(0.02 * torch.randn(num_queries, width))
        self.layers = make_query_layers(width, num_layers, num_heads)
        self.norm = nn.LayerNorm(width)
        self.out = start_at_zero(nn.Linear(width, dim))

    def forward(
        self, z: Mapping[Modality, Tensor], present: Mapping[Modality, Tensor], tokens: Tokens = NO_TOKENS
    ) -> Tensor:
        """Unit vectors (B, D); what missing rows of `z` and of `tokens` hold has no influence.

        Args:
            tokens: of every modality of `token_widths`.
        """
        assert set(tokens) == set(self.token_widths), f"tokens of {list(self.token_widths)}, given {list(tokens)}"
        if not len(z[self.inputs[0]]):  # torch's attention takes no batch of none, and its weights are met all the same
            one = {m: x.new_ones(1, *x.shape[1:]) for m, x in z.items()}
            is_there = {m: x.new_ones(1) for m, x in present.items()}
            one_token = {m: (x.new_ones(1, 1, x.shape[2]), mask.new_ones(1, 1)) for m, (x, mask) in tokens.items()}
            return self.forward(one, is_there, one_token)[:0]
        z_BMD, present_BM = self.stack(z, present)
        parts, masks = [self.project_vector(z_BMD) + self.modality_MW], [present_BM]
        for modality, (x_BLF, is_token_BL) in tokens.items():
            number = self.inputs.index(modality)
            mask_BL = is_token_BL & present_BM[:, number, None]
            parts.append(self.project_tokens[modality](hide_absent(x_BLF, mask_BL)) + self.modality_MW[number])
            masks.append(mask_BL)
        x_BQW = attend_with_queries(self.layers, self.queries_QW, torch.cat(parts, dim=1), torch.cat(masks, dim=1))
        added_BD: Tensor = self.out(self.norm(x_BQW).mean(dim=1))
        return unit(z_BMD.sum(dim=1) + added_BD)
