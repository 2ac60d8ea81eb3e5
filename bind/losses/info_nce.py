"""Symmetric InfoNCE over named sides a and b, exact under any number of processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from bind.distributed import sum_over_ranks
from bind.losses.grid import Bank, Grid, SameGroup, Tile
from bind.losses.pairs import Gradients, over_pairs
from bind.losses.temperature import Temperature

# In fp32, a sum of 1e8 terms exp(60) is finite, and to a sum above the floor, terms flushed to zero are nothing.
MAX_EXPONENT = 60.0
FLOOR = 1e-25


class InfoNCE(nn.Module):
    """`info_nce` with a temperature of its own.

    Args:
        temperature: initial value, see `Temperature`.
        learn_temperature: False keeps it.
        same_group: what other rows of a row's group are to it, see `info_nce`.
    """

    def __init__(
        self, temperature: float = 0.07, learn_temperature: bool = True, same_group: SameGroup = "ignore"
    ) -> None:
        super().__init__()
        self.temperature = Temperature(temperature, learn_temperature)
        self.same_group: SameGroup = same_group

    def forward(
        self, z_a: Tensor, z_b: Tensor, groups: Tensor, bank_a: Bank | None = None, bank_b: Bank | None = None
    ) -> Tensor:
        scale, same_group = self.temperature(), self.same_group
        return info_nce(z_a, z_b, scale, groups=groups, same_group=same_group, bank_a=bank_a, bank_b=bank_b)

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
    bank_a: Bank | None = None,
    bank_b: Bank | None = None,
) -> Tensor:
    """Cross-entropy of finding b among all b given a, and a among all a given b, averaged.

    Every rank scores its own rows against the global batch. The mean over ranks (what DDP does to gradients, and
    what a logger should take) is the mean over all rows of all ranks, which may hold different numbers of rows.
    Logits are made and used in tiles: memory grows with the number of rows, not of pairs.

    Args:
        z_a: (B, D) unit vectors; row i belongs with row i of `z_b`. Rows that lack a modality are left out before.
        z_b: (B, D) unit vectors.
        scale: multiplies the cosine; a 0-d or 1-element tensor, which may require grad.
        groups: int64 (B,); rows with equal ids mean the same thing. None: every row means its own.
        same_group: `ignore` leaves other rows of the group out of the denominator; `positive` makes them positives
            too, each row's term being the mean over its positives.
        bank_a: extra negatives on side a, (K, D) unit vectors and their int64 (K,) group ids; rows of the query's own
            group are left out. The ranks share the work, so that a bank must be the same on all of them.
        bank_b: the same on side b.

    Returns:
        A scalar in fp32 (fp64 for fp64 vectors); 0 where no rank has a row.

    Raises:
        ValueError: on shapes that do not belong together or an unknown `same_group`.

    Source: van den Oord et al., 2018, eq. 4; symmetric as in CLIP (Radford et al., 2021, fig. 3); several positives as
    in SupCon (Khosla et al., 2020, eq. 2).
    """
    return over_pairs(_info_nce, z_a, z_b, (scale,), groups, same_group, bank_a, bank_b)


def _info_nce(grid: Grid, scalars: Sequence[Tensor], gradients: Gradients | None) -> Tensor:
    (scale,) = scalars
    softmax = _Softmax(grid, scale, scale.dtype)
    if not softmax.is_in_range():
        softmax = _Softmax(grid, scale, torch.float64)
    # -log p of the match, and p - 1, from the odds against it: precise also where p is nearly 1.
    total = nn.functional.softplus(softmax.log_odds_2B).sum() / 2
    match_grad_B = -softmax.log_odds_2B.sigmoid().mean(dim=0)

    if grid.has_several_positives:
        num_positives_B, mean_BD = _positives(grid)
        beyond_BD = grid.columns_CD[grid.matches] - mean_BD
        total += scale * torch.linalg.vecdot(grid.rows_RD[: grid.num_own], beyond_BD).sum()
        match_grad_B += 1 - 1 / num_positives_B
    if gradients is not None:
        for tile, x in softmax.means():
            if not tile.is_bank:
                if grid.has_several_positives:
                    all_columns = slice(grid.num_all)
                    x[:, all_columns] -= grid.same(tile, all_columns) / num_positives_B[tile.rows, None]
                grid.match(x, tile).copy_(match_grad_B[tile.rows])
            gradients.add(tile, x.to(scale.dtype))
    return total


def _positives(grid: Grid) -> tuple[Tensor, Tensor]:
    """How many positives each own row has (B,), and their mean (B, D)."""
    assert grid.column_groups_C is not None
    all_GD = grid.columns_CD[: grid.num_all]
    _, group_G, sizes = grid.column_groups_C[: grid.num_all].unique(return_inverse=True, return_counts=True)
    sums = all_GD.new_zeros(len(sizes), all_GD.shape[1]).index_add_(0, group_G, all_GD)
    group_B = group_G[grid.matches]
    sizes_B = sizes[group_B].to(all_GD.dtype)
    return sizes_B, sums[group_B] / sizes_B[:, None]


class _Softmax:
    """Softmax of a grid's logits over rows and over columns, the matches apart from all others.

    One exponential of a logit serves its row and its column, because both share one shift. Where that leaves the range
    of fp32 (a scale near 100 and a row that resembles nothing), fp64 has room.
    """

    def __init__(self, grid: Grid, scale: Tensor, dtype: torch.dtype) -> None:
        self.grid, self.scale, self.dtype = grid, scale, dtype
        self.shift = max(0.0, abs(scale.item()) - MAX_EXPONENT)
        self.tiles = grid.tiles()
        self.last: Tensor | None = None
        others_C = scale.new_zeros(len(grid.columns_CD), dtype=dtype)
        others_B, self.match_B = (others_C.new_empty(grid.num_own) for _ in range(2))
        for tile in self.tiles:
            self.last = self._exponentials(tile)
            others_C[: tile.num_columns] += self.last.sum(dim=0)
            if not tile.is_bank:
                others_B[tile.rows] = self.last.sum(dim=1)
        matches_G = others_C.new_zeros(grid.num_all)
        matches_G[grid.matches] = self.match_B.exp()
        others_G, matches_G = sum_over_ranks(torch.stack([others_C[: grid.num_all], matches_G]))
        self.sum_B = others_B + self.match_B.exp()
        self.sum_G = others_G + matches_G
        # Of all others against the match: of each own row, and of the column it belongs with.
        self.log_odds_2B = torch.stack([others_B, others_G[grid.matches]]).log() - self.match_B

    def is_in_range(self) -> bool:
        """Whether no sum, on any rank, has lost a term that matters."""
        sums = torch.cat([self.sum_B, self.sum_G])
        return sum_over_ranks((~((sums > FLOOR) & sums.isfinite())).sum()).item() == 0

    def means(self) -> Iterator[tuple[Tile, Tensor]]:
        """Every tile with the mean of both softmaxes, 0 at the matches; a bank's vectors have none of their own."""
        row_weight_R = self.sum_B.new_zeros(len(self.grid.rows_RD))
        column_weight_C = self.sum_B.new_zeros(len(self.grid.columns_CD))
        row_weight_R[: self.grid.num_own] = 0.5 / self.sum_B
        column_weight_C[: self.grid.num_all] = 0.5 / self.sum_G
        for tile in reversed(self.tiles):  # the last one is still at hand
            x = self._exponentials(tile) if self.last is None else self.last
            self.last = None
            yield tile, x.mul_(row_weight_R[tile.rows, None] + column_weight_C[: tile.num_columns])

    def _exponentials(self, tile: Tile) -> Tensor:
        """exp(logit - shift), 0 at the matches, which are kept as logits."""
        x = self.grid.logits(tile, self.scale).to(self.dtype)
        if self.shift:
            x.sub_(self.shift)
        if not tile.is_bank:
            self.match_B[tile.rows] = self.grid.match(x, tile)
        self.grid.leave_out_(x.exp_(), tile, 0.0)
        if not tile.is_bank:
            self.grid.match(x, tile).zero_()
        return x
