"""Power law of a figure's error against the number of owners, and an interval of what it says of other numbers.

Source: power laws of error against training data: Hestness et al., 2017, "Deep Learning Scaling is Predictable".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NUM_DRAWS = 4000
Z95 = 1.959964
SEED = 0


@dataclass(frozen=True, slots=True)
class Point:
    """A figure from 0 to 1, as a training on so many owners had it, and its 95 % interval over the held-out owners."""

    num_owners: int
    figure: float
    low: float
    high: float
    queries: int

    @property
    def log_error(self) -> float:
        """Logarithm of 1 - figure; where there was no error, of half a query's."""
        return float(np.log(max(1.0 - self.figure, 0.5 / max(self.queries, 1))))

    @property
    def log_deviation(self) -> float:
        """Standard deviation of the logarithm by the interval."""
        least = 0.5 / max(self.queries, 1)
        edges = np.log(np.maximum(1.0 - np.array([self.high, self.low]), least))
        return float((edges[1] - edges[0]) / (2 * Z95))


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """error = exp(`log_scale`) · owners ** -`exponent`, drawn again for each of D draws of the points.

    Attributes:
        log_scale, exponent: fitted to the points as they are; more owners never harm, so the exponent is not negative.
        log_scale_D, exponent_D: fitted to draws of the points.
        noise: standard deviation of the logarithm of one training's error around the law.
    """

    log_scale: float
    exponent: float
    log_scale_D: np.ndarray
    exponent_D: np.ndarray
    noise: float

    def predict(self, num_owners: float) -> tuple[float, float, float]:
        """The figure of a training on so many owners, and the 95 % interval that it lies in."""
        rng = np.random.default_rng([SEED, round(num_owners * 1000)])
        log_errors_D = self.log_scale_D - self.exponent_D * np.log(num_owners)
        log_errors_D = log_errors_D + self.noise * rng.standard_normal(len(log_errors_D))
        low, high = np.quantile(1 - np.exp(np.minimum(log_errors_D, 0.0)), [0.025, 0.975])
        middle = 1 - np.exp(min(self.log_scale - self.exponent * np.log(num_owners), 0.0))
        return float(middle), float(low), float(high)


def fit_power_law(points: Sequence[Point]) -> PowerLaw:
    """Fit the law by weighted least squares of logarithms, and again to draws of the points from their intervals.

    A point is off the law by its interval over held-out owners and by what differs between trainings: which owners,
    and by chance. The second is taken from what the points scatter beyond the first.

    Raises:
        ValueError: where the points are of fewer than two numbers of owners.

    Examples:
        >>> points = [Point(n, 1 - 0.8 * n**-0.5, 1 - 0.82 * n**-0.5, 1 - 0.78 * n**-0.5, 10_000) for n in (2, 4, 8)]
        >>> law = fit_power_law(points)
        >>> round(law.exponent, 3), round(law.predict(16)[0], 3)
        (0.5, 0.8)
    """
    if len({point.num_owners for point in points}) < 2:
        raise ValueError("a learning curve needs trainings on at least two numbers of owners")
    x_P = np.log([point.num_owners for point in points])
    y_P = np.array([point.log_error for point in points])
    deviation_P = np.array([max(point.log_deviation, 1e-3) for point in points])
    log_scale, exponent = _fit(x_P, y_P[None], 1 / deviation_P**2)
    residual_P = y_P - (log_scale[0] - exponent[0] * x_P)
    num_free = max(len(points) - 2, 1)
    scatter = max(float((residual_P**2).sum() / num_free - (deviation_P**2).mean()), 0.0)
    noise_P = np.sqrt(deviation_P**2 + scatter)
    rng = np.random.default_rng(SEED)
    drawn_DP = y_P + noise_P * rng.standard_normal((NUM_DRAWS, len(points)))
    log_scale, exponent = _fit(x_P, y_P[None], 1 / noise_P**2)
    log_scale_D, exponent_D = _fit(x_P, drawn_DP, 1 / noise_P**2)
    most = x_P.argmax()  # the noise of a training on more owners is most like that on most
    return PowerLaw(float(log_scale[0]), float(exponent[0]), log_scale_D, exponent_D, float(noise_P[most]))


def _fit(x_P: np.ndarray, y_DP: np.ndarray, weight_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intercepts and negated slopes (D,) of weighted lines, whose slope is 0 where it would rise."""
    weight_P = weight_P / weight_P.sum()
    x_mean, y_mean_D = (weight_P * x_P).sum(), (weight_P * y_DP).sum(axis=1)
    centred_P = x_P - x_mean
    slope_D = (weight_P * centred_P * (y_DP - y_mean_D[:, None])).sum(axis=1) / (weight_P * centred_P**2).sum()
    slope_D = np.minimum(slope_D, 0.0)
    return y_mean_D - slope_D * x_mean, -slope_D
