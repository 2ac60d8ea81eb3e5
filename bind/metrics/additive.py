"""Ceilings of heads that add: what a sum of a term for each of two modalities can get right at best."""

from __future__ import annotations

import itertools

import numpy as np

MAX_WORDS = 8
"""Orders of the smaller side that are tried: 8! = 40,320."""


def interaction_ceiling(counts_2IJ: np.ndarray) -> float:
    """The best accuracy of any head that reads both factors without error: each cell gets its more frequent answer.

    Args:
        counts_2IJ: samples whose answer is no (0) and yes (1), by the factor of the first modality (I words) and that
            of the second (J words); or their probabilities.

    Raises:
        ValueError: no such table, a negative number in it, or nothing but zeros.

    Examples:
        >>> agree = np.eye(2)  # whether two coins fell alike
        >>> interaction_ceiling(np.stack([1 - agree, agree]))
        1.0
    """
    counts_2IJ = _checked(counts_2IJ)
    return float(counts_2IJ.max(axis=0).sum() / counts_2IJ.sum())


def additive_ceiling(counts_2IJ: np.ndarray) -> float:
    """The best accuracy of a head that answers yes where f(first) + g(second) > 0, whatever f and g are.

    So do the plain sum, any weights of the inputs that depend on each input alone, and scores that are added: against
    two texts the answer is the sign of a difference, which is a term of the first plus a term of the second. Let the
    second's words be in the order of g, the largest first. Then a word of the first says yes to a start of that order,
    as far as its f reaches, and to nothing behind it; and any choice of starts, one for each word, comes from some f.
    So for each of the J! orders every word of the first takes its best start on its own, and the best order counts:
    exact, and no search over f and g. (Cells that say yes form what is called a Ferrers shape.) Where the rest of each
    modality is drawn apart from the answer and from the rest of the other one, f and g may read that too and gain
    nothing on average: for each rest the bound is the same.

    Args:
        counts_2IJ: as for `interaction_ceiling`; the smaller of I and J is at most 8.

    Raises:
        ValueError: what `interaction_ceiling` refuses, or more than 8 words on both sides.

    Examples:
        Whether two coins fell alike: a sum gets three of the four cases right. So it does with four words each, where
        half of the samples agree.

        >>> agree = np.eye(2)
        >>> additive_ceiling(np.stack([1 - agree, agree]))
        0.75
        >>> agree = np.eye(4)
        >>> additive_ceiling(np.stack([(1 - agree) / 12, agree / 4]))
        0.75
    """
    counts_2IJ = _checked(counts_2IJ)
    if counts_2IJ.shape[1] < counts_2IJ.shape[2]:
        counts_2IJ = counts_2IJ.transpose(0, 2, 1)
    num_columns = counts_2IJ.shape[2]
    if num_columns > MAX_WORDS:
        raise ValueError(f"{counts_2IJ.shape[1:]} words: one side must have at most {MAX_WORDS}")
    gain_IJ = counts_2IJ[1] - counts_2IJ[0]  # of saying yes, over saying no
    orders = itertools.permutations(range(num_columns))
    best_gain = max(np.maximum(gain_IJ[:, order].cumsum(axis=1).max(axis=1), 0).sum() for order in orders)
    return float((counts_2IJ[0].sum() + best_gain) / counts_2IJ.sum())


def _checked(counts_2IJ: np.ndarray) -> np.ndarray:
    counts_2IJ = np.asarray(counts_2IJ, dtype=np.float64)
    if counts_2IJ.ndim != 3 or len(counts_2IJ) != 2:
        raise ValueError(f"give a table (2, I, J) of answers no and yes, not {counts_2IJ.shape}")
    if not (counts_2IJ >= 0).all() or not counts_2IJ.sum() > 0:
        raise ValueError("counts must not be negative, and one above 0")
    return counts_2IJ
