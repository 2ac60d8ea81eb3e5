"""Columns of packed samples with what they carry, which the names of their members say, but without values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from bind.data.sources.decoded import MappedColumns
from bind.data.sources.sample_table import sample_schema
from bind.types import Modality

SHARED_COLUMNS = ("key", "split", "group", "owner", "label")


class PackedSamples:
    """`SampleColumns` of the columns of all indices: an empty list under each modality that a sample has.

    Args:
        columns: of `open_indices`.
        kinds: modality → the kinds (num_kinds,) of samples that have it, bool.
    """

    def __init__(self, columns: MappedColumns, kinds: Mapping[Modality, np.ndarray]) -> None:
        self.columns, self.kinds = columns, dict(kinds)
        self.schema = sample_schema(kinds)
        self.starts: Sequence[int] = columns.starts
        longest = int(np.diff(self.starts).max(initial=0))
        self._offsets = pa.array(np.zeros(longest + 1, np.int32))  # of no values, shared by all batches
        self._lists: list[list[Any] | None] = [None] * (len(self.starts) - 1)

    def batch(self, number: int) -> pa.RecordBatch:
        """See `SampleColumns`."""
        return self._with_modalities(number, self.columns.batch(number))

    def batch_unverified(self, number: int) -> pa.RecordBatch:
        """See `SampleColumns`."""
        return self._with_modalities(number, self.columns.batch_unverified(number))

    def _with_modalities(self, number: int, batch: pa.RecordBatch) -> pa.RecordBatch:
        lists = self._lists[number]
        if lists is None:
            kinds = batch.column("kind").to_numpy()
            offsets, nothing = self._offsets.slice(0, batch.num_rows + 1), pa.array([], pa.string())
            masks = [pa.array(~has_modality[kinds]) for has_modality in self.kinds.values()]
            lists = [pa.ListArray.from_arrays(offsets, nothing, mask=mask) for mask in masks]
            self._lists[number] = lists
        columns = [batch.column(name) for name in SHARED_COLUMNS]
        return pa.record_batch([*columns, *lists], schema=self.schema)

    def __reduce__(self) -> Any:
        return PackedSamples, (self.columns, self.kinds)
