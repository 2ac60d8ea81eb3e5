import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bind.metrics.additive import additive_ceiling, interaction_ceiling

AGREE = np.eye(4)
BALANCED = np.stack([(1 - AGREE) / 12, AGREE / 4])


def accuracy(counts_2IJ: np.ndarray, says_yes_IJ: np.ndarray) -> float:
    right = counts_2IJ[1][says_yes_IJ].sum() + counts_2IJ[0][~says_yes_IJ].sum()
    return float(right / counts_2IJ.sum())


def searched_ceiling(counts_2IJ: np.ndarray) -> float:
    """The best over all answers that are the sign of f + g, tried one by one.

    Only the order of the numbers g and -f matters, so whole numbers for g and halves between them for f are all.
    """
    _, num_rows, num_columns = counts_2IJ.shape
    return max(
        accuracy(counts_2IJ, np.add.outer(f, g) > 0)
        for g in itertools.product(range(num_columns), repeat=num_columns)
        for f in itertools.product(np.arange(num_columns + 1) - num_columns + 0.5, repeat=num_rows)
    )


@pytest.mark.slow
@pytest.mark.parametrize("size", [(2, 2), (2, 3), (3, 2), (3, 3)])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_best_of_all_sums_tried_one_by_one(size: tuple[int, int], seed: int) -> None:
    counts_2IJ = np.random.default_rng(seed).integers(0, 5, (2, *size)) + np.eye(*size, dtype=int)
    assert additive_ceiling(counts_2IJ) == pytest.approx(searched_ceiling(counts_2IJ))


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 10_000))
def test_no_sum_beats_it_and_it_beats_no_interaction(num_rows: int, num_columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts_2IJ = rng.integers(1, 9, (2, num_rows, num_columns))
    cap = additive_ceiling(counts_2IJ)
    for _ in range(50):
        says_yes_IJ = np.add.outer(rng.normal(size=num_rows), rng.normal(size=num_columns)) > 0
        assert accuracy(counts_2IJ, says_yes_IJ) <= cap + 1e-12
    assert max(counts_2IJ[0].sum(), counts_2IJ[1].sum()) / counts_2IJ.sum() <= cap + 1e-12
    assert cap <= interaction_ceiling(counts_2IJ) + 1e-12
    assert cap == pytest.approx(additive_ceiling(counts_2IJ.transpose(0, 2, 1)))


def test_whether_two_of_four_agree_is_beyond_a_sum() -> None:
    assert interaction_ceiling(BALANCED) == pytest.approx(1.0)
    assert additive_ceiling(BALANCED) == pytest.approx(0.75)


def test_what_a_sum_can_say_has_one_ceiling() -> None:
    at_least_one = np.array([[0, 1], [1, 1]])
    table = np.stack([1 - at_least_one, at_least_one])
    assert additive_ceiling(table) == interaction_ceiling(table) == 1.0
    noisy = np.array([[[3, 1], [1, 1]], [[1, 2], [2, 4]]])
    assert additive_ceiling(noisy) == interaction_ceiling(noisy) == pytest.approx(11 / 15)


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"a table \(2, I, J\) .* not \(3, 2, 2\)"):
        additive_ceiling(np.ones((3, 2, 2)))
    with pytest.raises(ValueError, match="one above 0"):
        interaction_ceiling(np.zeros((2, 2, 2)))
    with pytest.raises(ValueError, match="not be negative"):
        interaction_ceiling(-np.ones((2, 2, 2)))
    with pytest.raises(ValueError, match="at most 8"):
        additive_ceiling(np.ones((2, 9, 9)))
