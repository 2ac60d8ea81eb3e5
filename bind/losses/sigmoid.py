"""The sigmoid loss of SigLIP over named sides a and b, exact under any number of processes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bind.losses.grid import Bank, Grid, SameGroup, Tile
from bind.losses.pairs import Gradients, over_pairs
from bind.losses.temperature import Temperature


class Sigmoid(nn.Module):
    """`sigmoid_loss` with a temperature and a bias of its own.

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

    def forward(
        self, z_a: Tensor, z_b: Tensor, groups: Tensor, bank_a: Bank | None = None, bank_b: Bank | None = None
    ) -> Tensor:
        scale, bias, same_group = self.temperature(), self.bias.float(), self.same_group
        return sigmoid_loss(z_a, z_b, scale, bias, groups=groups, same_group=same_group, bank_a=bank_a, bank_b=bank_b)

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
    bank_a: Bank | None = None,
    bank_b: Bank | None = None,
) -> Tensor:
    """Every pair a yes-or-no question: the sum over all pairs of its binary cross-entropy, per row.

    Processes, tiles and arguments as in `info_nce`, with one difference in meaning: a bank's vectors are further pairs
    with the answer no, instead of further terms of a denominator.

    Args:
        z_a: (B, D) unit vectors; row i belongs with row i of `z_b`. Rows that lack a modality are left out before.
        z_b: (B, D) unit vectors.
        scale: multiplies the cosine; a 0-d or 1-element tensor, which may require grad.
        bias: added to every logit; likewise.
        groups: int64 (B,); rows with equal ids mean the same thing. None: every row means its own.
        same_group: `ignore` leaves pairs with other rows of the group out; `positive` makes their answer yes.
        bank_a: extra negatives on side a, (K, D) unit vectors and their int64 (K,) group ids; pairs of one group are
            left out. The ranks share the work, so that a bank must be the same on all of them.
        bank_b: the same on side b.

    Returns:
        A scalar in fp32 (fp64 for fp64 vectors); 0 where no rank has a row.

    Raises:
        ValueError: on shapes that do not belong together or an unknown `same_group`.

    Source: SigLIP (Zhai et al., 2023, algorithm 1).
    """
    return over_pairs(_sigmoid, z_a, z_b, (scale, bias), groups, same_group, bank_a, bank_b)


def _sigmoid(grid: Grid, scalars: Sequence[Tensor], gradients: Gradients | None) -> Tensor:
    scale, bias = scalars
    total = torch.zeros_like(scale)
    for tile in grid.tiles():
        x = grid.logits(tile, scale).add_(bias)
        grid.leave_out_(x, tile, -torch.inf)
        # -log sigmoid(-x) of a negative, -log sigmoid(x) of a positive.
        _negate_positives_(x, grid, tile)
        total += nn.functional.softplus(x).sum()
        if gradients is not None:
            _negate_positives_(x.sigmoid_(), grid, tile)
            gradients.add(tile, x)
            gradients.bias += x.sum()
    return total


def _negate_positives_(x: Tensor, grid: Grid, tile: Tile) -> None:
    if grid.has_several_positives and not tile.is_bank:
        all_columns = slice(grid.num_all)
        x[:, all_columns] *= 1 - 2 * grid.same(tile, all_columns).to(x.dtype)
    elif not tile.is_bank:
        grid.match(x, tile).neg_()
