"""How sure is a mean over queries: the percentile bootstrap."""

from __future__ import annotations

import numpy as np

_DRAWS_AT_ONCE = 1 << 22


def bootstrap_ci(
    values_N: np.ndarray, *, confidence: float = 0.95, num_resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Interval of the mean of `values_N` (N,): percentiles of the means of `num_resamples` redraws with replacement.

    The same values and seed give the same interval. For a difference of two runs on the same queries pass the
    differences, not two intervals. Memory does not grow with `num_resamples` × N.

    Raises:
        ValueError: no values, values that are not finite, or a confidence outside (0, 1).

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    values_N = np.asarray(values_N, dtype=np.float64)
    if values_N.ndim != 1 or len(values_N) == 0 or not np.isfinite(values_N).all():
        raise ValueError(f"bootstrap_ci needs finite values of shape (N,) with N > 0, got shape {values_N.shape}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    rng = np.random.default_rng(seed)
    means = np.empty(num_resamples)
    step = max(1, _DRAWS_AT_ONCE // len(values_N))
    for start in range(0, num_resamples, step):
        rows = min(step, num_resamples - start)
        means[start : start + rows] = values_N[rng.integers(0, len(values_N), size=(rows, len(values_N)))].mean(axis=1)
    lo, hi = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(lo), float(hi)
