"""The grid of all pairs of a row and a column, in tiles, each pair once over all processes.

B rows of this rank, G columns of all ranks, T rows of a tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bind.distributed import gather_rows, rank

SameGroup = Literal["ignore", "positive"]


def tile_rows(num_columns: int, device: torch.device) -> int:
    """Rows of a tile: 16 MiB of fp32 logits, about a CPU's cache, or 256 MiB, which keep an accelerator busy."""
    num_logits = 2**22 if device.type == "cpu" else 2**26
    return max(128, num_logits // max(1, num_columns))


@dataclass(frozen=True)
class Grid:
    """The logits of this rank's rows against the columns of all ranks; row i belongs with column `first` + i."""

    rows_BD: Tensor
    columns_GD: Tensor
    row_groups_B: Tensor | None
    column_groups_G: Tensor | None
    same_group: SameGroup
    counts: Sequence[int]

    @classmethod
    def gather(
        cls,
        z_rows: Tensor,
        z_columns: Tensor,
        groups: Tensor | None,
        *,
        same_group: SameGroup,
        counts: Sequence[int],
        dtype: torch.dtype,
    ) -> Grid:
        """Make the grid of both sides' vectors (B, D) on this rank; `counts` are the rows of every rank."""
        columns_GD = gather_rows(z_columns, counts).to(dtype)
        all_groups = None if groups is None else gather_rows(groups, counts)
        return cls(z_rows.to(dtype), columns_GD, groups, all_groups, same_group, counts)

    @property
    def first(self) -> int:
        """The column that row 0 belongs with."""
        return sum(self.counts[: rank()])

    @property
    def matches(self) -> slice:
        """The columns that the rows belong with."""
        return slice(self.first, self.first + len(self.rows_BD))

    def tiles(self) -> list[slice]:
        """The rows of each tile."""
        num_rows = len(self.rows_BD)
        step = tile_rows(len(self.columns_GD), self.rows_BD.device)
        return [slice(start, min(start + step, num_rows)) for start in range(0, num_rows, step)]

    def logits(self, tile: slice, scale: Tensor) -> Tensor:
        """Scaled cosines (T, G)."""
        return (self.rows_BD[tile] * scale) @ self.columns_GD.T

    def match(self, x_TG: Tensor, tile: slice) -> Tensor:
        """The view (T,) of `x_TG` at every row's own match."""
        return x_TG.diagonal(self.first + tile.start)

    @property
    def has_several_positives(self) -> bool:
        return self.row_groups_B is not None and self.same_group == "positive"

    def same(self, tile: slice) -> Tensor:
        """Whether a row and a column are of one group (T, G); needs groups."""
        assert self.row_groups_B is not None
        assert self.column_groups_G is not None
        return self.row_groups_B[tile, None] == self.column_groups_G

    def leave_out_(self, x_TG: Tensor, tile: slice, value: float) -> None:
        """Overwrite in `x_TG` what is neither a positive nor a negative of its row."""
        if self.row_groups_B is None or self.has_several_positives:
            return
        match_T = self.match(x_TG, tile).clone()
        x_TG.masked_fill_(self.same(tile), value)
        self.match(x_TG, tile).copy_(match_T)
