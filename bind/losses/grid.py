"""Every pair of a row and a column, tile by tile and each once over all processes: what the losses over pairs share.

B rows of this rank, G of all ranks, K of a bank; R = B + this rank's share of the row side's bank, C = G + K of the
column side's bank; T rows of a tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from bind.distributed import gather_rows, rank

SameGroup = Literal["ignore", "positive"]
Bank = tuple[Tensor, Tensor]


def tile_rows(num_columns: int, device: torch.device) -> int:
    """Rows of a tile: 16 MiB of fp32 logits, about a CPU's cache, or 256 MiB, which keep an accelerator busy."""
    num_logits = 2**22 if device.type == "cpu" else 2**26
    return max(128, num_logits // max(1, num_columns))


class Tile(NamedTuple):
    """`rows` of a grid against its first `num_columns` columns."""

    rows: slice
    num_columns: int
    is_bank: bool


@dataclass(frozen=True)
class Grid:
    """The logits of this rank's rows against the columns of all ranks; row i < B belongs with column `first` + i.

    Rows from B on and columns from G on come from a bank: negatives of every other group, which do not meet each other.
    """

    rows_RD: Tensor
    columns_CD: Tensor
    row_groups_R: Tensor | None
    column_groups_C: Tensor | None
    same_group: SameGroup
    counts: Sequence[int]

    @classmethod
    def of(
        cls,
        rows: tuple[Tensor, Bank | None],
        columns: tuple[Tensor, Bank | None],
        groups: Tensor | None,
        same_group: SameGroup,
        counts: Sequence[int],
        dtype: torch.dtype,
    ) -> Grid:
        """A side is its vectors (B, D) on this rank and its bank; `counts` are the rows of every rank."""
        (z_rows, row_bank), (z_columns, column_bank) = rows, columns
        z_rows, z_columns = z_rows.to(dtype), gather_rows(z_columns, counts).to(dtype)
        if groups is None:
            return cls(z_rows, z_columns, None, None, same_group, counts)
        all_groups = gather_rows(groups, counts)
        if row_bank is not None:
            mine = slice(rank(), None, len(counts))
            z_rows, groups = torch.cat([z_rows, row_bank[0][mine].to(dtype)]), torch.cat([groups, row_bank[1][mine]])
        if column_bank is not None:
            z_columns = torch.cat([z_columns, column_bank[0].to(dtype)])
            all_groups = torch.cat([all_groups, column_bank[1]])
        return cls(z_rows, z_columns, groups, all_groups, same_group, counts)

    @property
    def num_own(self) -> int:
        """B."""
        return self.counts[rank()]

    @property
    def num_all(self) -> int:
        """G."""
        return sum(self.counts)

    @property
    def first(self) -> int:
        return sum(self.counts[: rank()])

    @property
    def matches(self) -> slice:
        """The columns that the own rows belong with."""
        return slice(self.first, self.first + self.num_own)

    def tiles(self) -> list[Tile]:
        num_rows, num_columns = len(self.rows_RD), len(self.columns_CD)
        step = tile_rows(num_columns, self.rows_RD.device)

        def cut(start: int, stop: int) -> list[slice]:
            return [slice(i, min(i + step, stop)) for i in range(start, stop, step)]

        return [Tile(rows, num_columns, False) for rows in cut(0, self.num_own)] + [
            Tile(rows, self.num_all, True) for rows in cut(self.num_own, num_rows)
        ]

    def logits(self, tile: Tile, scale: Tensor) -> Tensor:
        """(T, columns of the tile)."""
        return (self.rows_RD[tile.rows] * scale) @ self.columns_CD[: tile.num_columns].T

    def match(self, x: Tensor, tile: Tile) -> Tensor:
        """The view (T,) of `x` (T, columns of the tile) at every row's own match; not for tiles of a bank."""
        return x.diagonal(self.first + tile.rows.start)

    @property
    def has_several_positives(self) -> bool:
        return self.row_groups_R is not None and self.same_group == "positive"

    def same(self, tile: Tile, columns: slice) -> Tensor:
        """Whether a row and a column are of one group (T, …); needs groups."""
        assert self.row_groups_R is not None
        assert self.column_groups_C is not None
        return self.row_groups_R[tile.rows, None] == self.column_groups_C[columns]

    def leave_out_(self, x: Tensor, tile: Tile, value: float) -> None:
        """Overwrite in `x` (T, columns of the tile) what is neither a positive nor a negative of its row."""
        if self.row_groups_R is None:
            return
        if tile.is_bank:
            x.masked_fill_(self.same(tile, slice(tile.num_columns)), value)
        elif self.has_several_positives:
            x[:, self.num_all :].masked_fill_(self.same(tile, slice(self.num_all, None)), value)
        else:
            match_T = self.match(x, tile).clone()
            x.masked_fill_(self.same(tile, slice(None)), value)
            self.match(x, tile).copy_(match_T)
