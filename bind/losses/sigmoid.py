"""The sigmoid loss of SigLIP over named sides a and b, exact under any number of processes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bind.losses.grid import Grid, SameGroup
from bind.losses.pairs import Gradients, loss_over_pairs
from bind.losses.temperature import Temperature


class Sigmoid(nn.Module):
    """`sigmoid_loss` with a learned temperature and bias.

    Args:
        temperature: initial value, see `Temperature`.
        learn_temperature: False keeps it.
        bias: initial value, added to every logit: about minus the log of the number of negatives per positive, or the
            first steps only learn that nearly all pairs are negative.
        learn_bias: False keeps it.
        same_group: what other rows of a row's group are to it, see `sigmoid_loss`.

    Source: initial values of SigLIP (Zhai et al., 2023, section 3.2).
    """

    def __init__(
        self,
        *,
        temperature: float = 0.1,
        learn_temperature: bool = True,
        bias: float = -10.0,
        learn_bias: bool = True,
        same_group: SameGroup = "ignore",
    ) -> None:
        super().__init__()
        self.temperature = Temperature(temperature, learn_temperature)
        self.bias = nn.Parameter(torch.tensor([float(bias)]), requires_grad=learn_bias)
        self.same_group: SameGroup = same_group

    def forward(self, z_a: Tensor, z_b: Tensor, groups: Tensor) -> Tensor:
        scale, bias = self.temperature(), self.bias.float()
        return sigmoid_loss(z_a, z_b, scale, bias, groups=groups, same_group=self.same_group)

    def logged(self) -> dict[str, Tensor]:
        """What is worth watching besides the loss, as 0-d tensors."""
        return {"scale": self.temperature().detach().squeeze(), "bias": self.bias.detach().squeeze()}

    def clamp_(self) -> None:
        """Bring the parameters back into their range (call after an optimizer step)."""
        self.temperature.clamp_()


def sigmoid_loss(
    z_a: Tensor,
    z_b: Tensor,
    scale: Tensor | float,
    bias: Tensor | float,
    *,
    groups: Tensor | None = None,
    same_group: SameGroup = "ignore",
) -> Tensor:
    """Every pair a yes-or-no question: the sum over all pairs of its binary cross-entropy, per row.

    On one process, where every row means its own, it is

        logits_BB = scale * z_a @ z_b.T + bias
        sign_BB = 2 * torch.eye(len(z_a)) - 1
        loss = -logsigmoid(sign_BB * logits_BB).sum() / len(z_a)

    Processes and tiles as in `info_nce`.

    Args:
        z_a: (B, D) unit vectors; row i belongs with row i of `z_b`. Rows that lack a modality are left out before.
        z_b: (B, D) unit vectors.
        scale: multiplies the cosine; a 0-d or 1-element tensor, which may require grad.
        bias: added to every logit; likewise.
        groups: int64 (B,); rows with equal ids mean the same thing. None: every row means its own.
        same_group: `ignore` leaves pairs with other rows of the group out; `positive` makes their answer yes.

    Returns:
        A scalar in fp32 (fp64 for fp64 vectors); 0 where no rank has a row.

    Raises:
        ValueError: on shapes that do not belong together or an unknown `same_group`.

    Source: SigLIP (Zhai et al., 2023, algorithm 1).

    Examples:
        >>> z = torch.eye(3)
        >>> print(f"{sigmoid_loss(z, z, 10.0, -5.0).item():.4f}")  # three logits per row: 5 where they match, else -5
        0.0201
        >>> sign_BB = 2 * torch.eye(3) - 1
        >>> naive = -nn.functional.logsigmoid(sign_BB * (10.0 * z @ z.T - 5.0)).sum() / 3
        >>> torch.allclose(naive, sigmoid_loss(z, z, 10.0, -5.0))
        True
    """
    return loss_over_pairs(_sigmoid, z_a, z_b, scalars=(scale, bias), groups=groups, same_group=same_group)


def _sigmoid(grid: Grid, scalars: Sequence[Tensor], gradients: Gradients | None) -> Tensor:
    scale, bias = scalars
    total = torch.zeros_like(scale)
    for tile in grid.tiles():
        x_TG = grid.logits(tile, scale).add_(bias)
        grid.leave_out_(x_TG, tile, -torch.inf)
        # -log sigmoid(-x) of a negative, -log sigmoid(x) of a positive.
        _negate_positives_(x_TG, grid, tile)
        total += nn.functional.softplus(x_TG).sum()
        if gradients is not None:
            _negate_positives_(x_TG.sigmoid_(), grid, tile)
            gradients.add(tile, x_TG)
            gradients.bias += x_TG.sum()
    return total


def _negate_positives_(x_TG: Tensor, grid: Grid, tile: slice) -> None:
    if grid.has_several_positives:
        x_TG *= 1 - 2 * grid.same(tile).to(x_TG.dtype)
    else:
        grid.match(x_TG, tile).neg_()
