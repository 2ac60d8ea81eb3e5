"""Values that samples of different groups share: in a batch such samples are false negatives of each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bind.data.numbering import number_rows, number_strings
from bind.data.sources.sample_table import END, START, SampleTable, flatten_lists
from bind.types import Modality

MAX_CLASHING_SHARE = 0.01
"""Share of rows that may have their own value as a negative in a batch. Such a row is pulled to and pushed from one and
the same picture or text; one in a hundred is the share of damaged files that the data scripts let pass."""
NO_TIME = -1.0


@dataclass(frozen=True)
class SharedValues:
    """Which of N samples have which value: H times a value and a sample that has it, each once, by values.

    Attributes:
        values_H: the value.
        places_H: where it lies among the V values from which this was made.
        rows_H: the sample.
        pairs_H: the number of its value and group.
        num_clashes_C: of each value, the ordered pairs of samples of different groups that have it.
        num_samples: N.

    Examples:
        >>> shared = SharedValues.find(np.array([1, 1, 0]), np.array([0, 1, 2]), groups_N=np.array([0, 1, 2]))
        >>> [(place, rows.tolist(), num_groups) for place, rows, num_groups in shared.clashes()]
        [(0, [0, 1], 2)]
        >>> round(shared.share_of_rows(batch_size=3), 3)  # two of six ordered pairs, and a row meets two others
        0.556
    """

    values_H: np.ndarray
    places_H: np.ndarray
    rows_H: np.ndarray
    pairs_H: np.ndarray
    num_clashes_C: np.ndarray
    num_samples: int

    @classmethod
    def find(cls, values_V: np.ndarray, rows_V: np.ndarray, groups_N: np.ndarray) -> SharedValues:
        """Of values (V,) int64 counted from 0, the samples (V,) that have them, and the group (N,) of every sample."""
        order_V = np.lexsort((rows_V, values_V))
        changes = (np.diff(values_V[order_V]) != 0) | (np.diff(rows_V[order_V]) != 0)
        places_H = order_V[np.append(True, changes)[: len(order_V)]]
        values_H, rows_H = values_V[places_H], rows_V[places_H]
        pairs_H, first_P = number_rows(values_H, groups_N[rows_H])
        squares_C = np.bincount(values_H[first_P], np.bincount(pairs_H).astype(np.float64) ** 2)
        num_clashes_C = np.bincount(values_H) ** 2 - squares_C.astype(np.int64)
        return cls(values_H, places_H, rows_H, pairs_H, num_clashes_C, len(groups_N))

    def share_of_rows(self, batch_size: int) -> float:
        """Share of rows that have their own value as a negative in a batch that is drawn at random.

        Each other row is a false negative with the probability that it has one of the row's values and another group.
        """
        if not self.num_clashes_C.any():
            return 0.0
        chance = min(1.0, int(self.num_clashes_C.sum()) / (self.num_samples * (self.num_samples - 1)))
        return float(1 - (1 - chance) ** (min(batch_size, self.num_samples) - 1))

    def clashes(self) -> Iterator[tuple[int, np.ndarray, int]]:
        """Of each value that samples of several groups share: its place, these samples by groups, and how many groups.

        Values come in their own order.
        """
        starts_C = np.append(0, np.cumsum(np.bincount(self.values_H)))
        for value in np.flatnonzero(self.num_clashes_C).tolist():
            holders = slice(starts_C[value], starts_C[value + 1])
            pairs = self.pairs_H[holders]  # numbered as they first occur
            rows = self.rows_H[holders][np.argsort(pairs, kind="stable")]
            yield int(self.places_H[holders.start]), rows, len(np.unique(pairs))


def number_groups(samples: SampleTable) -> np.ndarray:
    """The number (N,) of the group of every sample; one without is a group of its own."""
    names = [pa.array([], pa.large_string())]
    for part in samples.parts(["key", "group"]):
        keys = pc.binary_join_element_wise("key:", part.column(0), "")
        groups = pc.binary_join_element_wise("group:", part.column(1), "")
        names.append(pc.coalesce(groups, keys).cast(pa.large_string()))
    return number_strings(pa.concat_arrays(names))[0]


def number_values(samples: SampleTable, modality: Modality) -> tuple[np.ndarray, np.ndarray]:
    """The number (V,) of each text, or stretch of a file by its name, and the sample (V,) that has it."""
    columns = [(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))]
    names = [pa.array([], pa.large_string())]
    spans = [m for end in (START, END) if (m := modality + end) in samples.columns.schema.names]
    done = 0
    for part in samples.parts([modality, *spans]):
        rows, items = flatten_lists(part.column(0))
        times = [
            np.nan_to_num(part.column(m).flatten().to_numpy(zero_copy_only=False), nan=NO_TIME)
            if (m := modality + end) in spans
            else np.full(len(rows), NO_TIME)
            for end in (START, END)
        ]
        columns.append((rows + done, times[0], times[1]))
        names.append(items.cast(pa.large_string()))
        done += part.num_rows
    rows_V, starts_V, ends_V = (np.concatenate(column) for column in zip(*columns, strict=True))
    return number_rows(number_strings(pa.concat_arrays(names))[0], starts_V, ends_V)[0], rows_V
