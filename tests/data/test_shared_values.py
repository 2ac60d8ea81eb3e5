from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bind.data.shared_values import SharedValues


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), max_size=20), st.lists(st.integers(0, 2), min_size=6))
def test_clashes_are_those_of_a_loop(uses, groups):
    groups_N = np.array(groups)
    values_V, rows_V = np.array(uses, np.int64).reshape(-1, 2).T
    holders = defaultdict(set)
    for value, row in uses:
        holders[value].add(row)
    clashing = {v: rows for v, rows in holders.items() if len({groups[row] for row in rows}) > 1}
    pairs = sum(groups[a] != groups[b] for rows in holders.values() for a in rows for b in rows)
    shared = SharedValues.find(values_V, rows_V, groups_N)
    assert {int(values_V[place]): set(rows.tolist()) for place, rows, _ in shared.clashes()} == clashing
    assert [n for *_, n in shared.clashes()] == [len({groups[r] for r in clashing[v]}) for v in sorted(clashing)]
    chance = min(1, pairs / (len(groups) * (len(groups) - 1)))
    assert shared.share_of_rows(4) == pytest.approx(1 - (1 - chance) ** 3)


def test_without_values_nothing_clashes():
    none = np.zeros(0, np.int64)
    shared = SharedValues.find(none, none, np.zeros(0, np.int64))
    assert list(shared.clashes()) == []
    assert shared.share_of_rows(64) == 0
