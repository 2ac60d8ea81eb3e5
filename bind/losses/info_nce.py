"""Symmetric InfoNCE over named sides a and b, exact under any number of processes."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from bind.distributed import sum_over_ranks
from bind.losses.grid import Grid, SameGroup
from bind.losses.pairs import Gradients, loss_over_pairs
from bind.losses.temperature import Temperature

# In fp32, a sum of 1e8 terms exp(60) is finite, and to a sum above the floor, terms flushed to zero are nothing.
MAX_EXPONENT = 60.0
FLOOR = 1e-25
SAFE_SCALE = 50.0
"""Up to it the sums of unit vectors stay between FLOOR and the largest number of fp32: no device has to be asked."""


class InfoNCE(nn.Module):
    """`info_nce` with a learned temperature.

    Args:
        temperature: initial value, see `Temperature`.
        learn_temperature: False keeps it.
        same_group: what other rows of a row's group are to it, see `info_nce`.

    Examples:
        >>> loss = InfoNCE(temperature=0.5)
        >>> z = torch.eye(3)
        >>> value = loss(z, z, groups=torch.arange(3))
        >>> print(f"{value.item():.4f} at scale {loss.logged()['scale'].item():.1f}")
        0.2395 at scale 2.0
        >>> value.backward()
        >>> bool(loss.temperature.log_scale.grad < 0)  # matches are right, so a larger scale is better
        True
    """

    def __init__(
        self, *, temperature: float = 0.07, learn_temperature: bool = True, same_group: SameGroup = "ignore"
    ) -> None:
        super().__init__()
        self.temperature = Temperature(temperature, learn_temperature)
        self.same_group: SameGroup = same_group

    def forward(self, z_a: Tensor, z_b: Tensor, groups: Tensor) -> Tensor:
        known = self.temperature.take_known()
        return info_nce(z_a, z_b, self.temperature(), groups=groups, same_group=self.same_group, known_scale=known)

    def logged(self) -> dict[str, Tensor]:
        """What is worth watching besides the loss, as 0-d tensors."""
        return {"scale": self.temperature().detach().squeeze()}

    def clamp_(self) -> None:
        """Bring the parameters back into their range (call after an optimizer step)."""
        self.temperature.clamp_()


def info_nce(
    z_a: Tensor,
    z_b: Tensor,
    scale: Tensor | float,
    *,
    groups: Tensor | None = None,
    same_group: SameGroup = "ignore",
    known_scale: float | None = None,
) -> Tensor:
    """Cross-entropy of finding b among all b given a, and a among all a given b, averaged.

    On one process, where every row means its own, it is

        logits_BB = scale * z_a @ z_b.T
        labels_B = torch.arange(len(z_a))
        loss_a, loss_b = cross_entropy(logits_BB, labels_B), cross_entropy(logits_BB.T, labels_B)
        loss = (loss_a + loss_b) / 2

    and it is computed without ever holding that matrix, from one tile of T rows after the other:

        x_TB = exp(scale * z_a[tile] @ z_b.T - shift)    # with 0 at the matches
        others_a[tile] = x_TB.sum(dim=1)
        others_b += x_TB.sum(dim=0)                      # in the end also over ranks
        loss = (softplus(log(others_a) + shift - match) + softplus(log(others_b) + shift - match)).mean() / 2

    Every rank scores its own rows against the global batch. The mean over ranks (what DDP does to gradients, and
    what a logger should take) is the mean over all rows of all ranks, which may hold different numbers of rows.
    Memory grows with the number of rows, not of pairs.

    Args:
        z_a: (B, D) unit vectors; row i belongs with row i of `z_b`. Rows that lack a modality are left out before.
        z_b: (B, D) unit vectors.
        scale: multiplies the cosine; a 0-d or 1-element tensor, which may require grad.
        groups: int64 (B,); rows with equal ids mean the same thing. None: every row means its own.
        same_group: `ignore` leaves other rows of the group out of the denominator; `positive` makes them positives
            too, each row's term being the mean over its positives.
        known_scale: the scale as a number, so that no device is waited for; None asks for it.

    Returns:
        A scalar in fp32 (fp64 for fp64 vectors); 0 where no rank has a row.

    Raises:
        ValueError: on shapes that do not belong together or an unknown `same_group`.

    Source: van den Oord et al., 2018, eq. 4; symmetric as in CLIP (Radford et al., 2021, fig. 3); several positives as
    in SupCon (Khosla et al., 2020, eq. 2).

    Examples:
        >>> z_a, z_b = torch.eye(3), torch.eye(3)[[0, 1, 1]]  # the third b is where the second is
        >>> loss = info_nce(z_a, z_b, 10.0)
        >>> logits_BB, labels_B = 10.0 * z_a @ z_b.T, torch.arange(3)
        >>> loss_a, loss_b = (nn.functional.cross_entropy(x, labels_B) for x in (logits_BB, logits_BB.T))
        >>> torch.allclose(loss, (loss_a + loss_b) / 2)
        True
        >>> info_nce(z_a[:2], z_b[1:], 10.0, groups=torch.tensor([7, 7])).item()  # one group: no negatives are left
        0.0
    """
    kernel = functools.partial(_info_nce, known_scale=known_scale)
    return loss_over_pairs(kernel, z_a, z_b, scalars=(scale,), groups=groups, same_group=same_group)


def _info_nce(
    grid: Grid, scalars: Sequence[Tensor], gradients: Gradients | None, *, known_scale: float | None
) -> Tensor:
    (scale,) = scalars
    is_safe = known_scale is not None and abs(known_scale) <= SAFE_SCALE
    size = abs(scale.item() if known_scale is None else known_scale)
    softmax = _Softmax(grid, scale, size, scale.dtype)
    if not is_safe and not softmax.is_in_range():
        softmax = _Softmax(grid, scale, size, torch.float64)
    # -log p of the match, and p - 1, from the odds against it: precise also where p is nearly 1.
    total = nn.functional.softplus(softmax.log_odds_2B).sum() / 2
    match_grad_B = -softmax.log_odds_2B.sigmoid().mean(dim=0)

    if grid.has_several_positives:
        num_positives_B, mean_BD = _positives(grid)
        beyond_BD = grid.columns_GD[grid.matches] - mean_BD
        total += scale * torch.linalg.vecdot(grid.rows_BD, beyond_BD).sum()
        match_grad_B += 1 - 1 / num_positives_B
    if gradients is not None:
        for tile, x_TG in softmax.means():
            if grid.has_several_positives:
                x_TG -= grid.same(tile) / num_positives_B[tile, None]
            grid.match(x_TG, tile).copy_(match_grad_B[tile])
            gradients.add(tile, x_TG.to(scale.dtype))
    return total


def _positives(grid: Grid) -> tuple[Tensor, Tensor]:
    """How many positives each row has (B,), and their mean (B, D)."""
    assert grid.column_groups_G is not None
    _, group_G, sizes = grid.column_groups_G.unique(return_inverse=True, return_counts=True)
    sums = grid.columns_GD.new_zeros(len(sizes), grid.columns_GD.shape[1]).index_add_(0, group_G, grid.columns_GD)
    group_B = group_G[grid.matches]
    sizes_B = sizes[group_B].to(grid.columns_GD.dtype)
    return sizes_B, sums[group_B] / sizes_B[:, None]


class _Softmax:
    """Softmax of a grid's logits over rows and over columns, the matches apart from all others.

    One exponential of a logit serves its row and its column, because both share one shift. Where that leaves the range
    of fp32 (a scale near 100 and a row that resembles nothing), fp64 has room.
    """

    def __init__(self, grid: Grid, scale: Tensor, size: float, dtype: torch.dtype) -> None:
        self.grid, self.scale, self.dtype = grid, scale, dtype
        self.shift = max(0.0, size - MAX_EXPONENT)  # `size` is that of the scale
        self.tiles = grid.tiles()
        self.last: Tensor | None = None
        others_G = scale.new_zeros(len(grid.columns_GD), dtype=dtype)
        others_B, self.match_B = (others_G.new_empty(len(grid.rows_BD)) for _ in range(2))
        for tile in self.tiles:
            self.last = self._exponentials(tile)
            others_G += self.last.sum(dim=0)
            others_B[tile] = self.last.sum(dim=1)
        matches_G = torch.zeros_like(others_G)
        matches_G[grid.matches] = self.match_B.exp()
        others_G, matches_G = sum_over_ranks(torch.stack([others_G, matches_G]))
        self.sum_B = others_B + self.match_B.exp()
        self.sum_G = others_G + matches_G
        # Of all others against the match: of each row, and of the column it belongs with.
        self.log_odds_2B = torch.stack([others_B, others_G[grid.matches]]).log() - self.match_B

    def is_in_range(self) -> bool:
        """Whether no sum, on any rank, has lost a term that matters."""
        sums = torch.cat([self.sum_B, self.sum_G])
        return sum_over_ranks((~((sums > FLOOR) & sums.isfinite())).sum()).item() == 0

    def means(self) -> Iterator[tuple[slice, Tensor]]:
        """Every tile with the mean of both softmaxes (T, G), 0 at the matches."""
        row_weight_B, column_weight_G = 0.5 / self.sum_B, 0.5 / self.sum_G
        for tile in reversed(self.tiles):  # the last one is still in memory
            x_TG = self._exponentials(tile) if self.last is None else self.last
            self.last = None
            yield tile, x_TG.mul_(row_weight_B[tile, None] + column_weight_G)

    def _exponentials(self, tile: slice) -> Tensor:
        """exp(logit - shift) (T, G), 0 at the matches, which are kept as logits."""
        x_TG = self.grid.logits(tile, self.scale).to(self.dtype)
        if self.shift:
            x_TG.sub_(self.shift)
        self.match_B[tile] = self.grid.match(x_TG, tile)
        self.grid.leave_out_(x_TG.exp_(), tile, 0.0)
        self.grid.match(x_TG, tile).zero_()
        return x_TG
