"""The power law is found where there is one, and its interval holds what a further training measures."""

from __future__ import annotations

import numpy as np
import pytest

from bind.studies.learning_curve.fit import Point, fit_power_law

QUERIES = 2000


def measured(num_owners: int, figure: float, rng: np.random.Generator, spread: float) -> Point:
    """A training around `figure`, tested on so many queries: both are drawn."""
    own = 1 - (1 - figure) * np.exp(spread * rng.standard_normal())
    shown = rng.binomial(QUERIES, own) / QUERIES
    half = 1.96 * np.sqrt(shown * (1 - shown) / QUERIES)
    return Point(num_owners, shown, shown - half, min(shown + half, 1.0), QUERIES)


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.0, 0.15])
def test_nineteen_of_twenty_trainings_lie_in_the_interval(spread: float) -> None:
    inside, widths = [], []
    for trial in range(60):
        rng = np.random.default_rng([1, trial])
        points = [
            measured(n, 1 - 0.5 * n**-0.6, rng, spread) for n in (2, 4, 8) for _ in range(1 if spread == 0 else 3)
        ]
        truth = measured(16, 1 - 0.5 * 16**-0.6, rng, spread)
        _, low, high = fit_power_law(points).predict(16)
        inside.append(low <= truth.figure <= high)
        widths.append(high - low)
    assert np.mean(inside) >= 0.85
    assert np.median(widths) < 0.12


def test_more_owners_never_harm_and_a_flat_curve_stays_flat() -> None:
    points = [Point(n, 0.9 - 0.01 * i, 0.85, 0.95, 100) for i, n in enumerate((2, 4, 8))]
    law = fit_power_law(points)
    assert law.exponent == 0
    middle, low, high = law.predict(16)
    assert low < middle < high
    assert middle == pytest.approx(0.89, abs=0.01)


def test_a_figure_without_errors_and_one_without_an_interval_can_be_fitted() -> None:
    law = fit_power_law([Point(2, 0.5, 0.5, 0.5, 10), Point(4, 1.0, 1.0, 1.0, 10)])
    assert 0.9 < law.predict(8)[0] <= 1.0
    assert law.predict(8)[2] <= 1.0


def test_one_number_of_owners_is_no_curve() -> None:
    with pytest.raises(ValueError, match="at least two numbers of owners"):
        fit_power_law([Point(2, 0.5, 0.4, 0.6, 10), Point(2, 0.6, 0.5, 0.7, 10)])
