import numpy as np
import pytest

from bind.metrics import bootstrap
from bind.metrics.bootstrap import bootstrap_ci


def test_agrees_with_the_normal_approximation():
    hits = (np.arange(2000) % 10 < 3).astype(float)
    lo, hi = bootstrap_ci(hits)
    half_width = 1.96 * np.sqrt(0.3 * 0.7 / 2000)
    assert lo == pytest.approx(0.3 - half_width, abs=0.002)
    assert hi == pytest.approx(0.3 + half_width, abs=0.002)


def test_same_seed_same_interval_other_seed_another():
    values = np.random.default_rng(0).normal(size=50)
    assert bootstrap_ci(values) == bootstrap_ci(values)
    assert bootstrap_ci(values) != bootstrap_ci(values, seed=1)


def test_drawing_in_parts_changes_nothing(monkeypatch):
    values = np.random.default_rng(0).normal(size=37)
    whole = bootstrap_ci(values)
    monkeypatch.setattr(bootstrap, "_DRAWS_AT_ONCE", 100)
    assert bootstrap_ci(values) == whole


def test_a_wider_confidence_gives_a_wider_interval():
    values = np.random.default_rng(0).normal(size=50)
    lo, hi = bootstrap_ci(values, confidence=0.8)
    wide_lo, wide_hi = bootstrap_ci(values, confidence=0.99)
    assert wide_lo < lo < values.mean() < hi < wide_hi


def test_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        lo, hi = bootstrap_ci((rng.random(100) < 0.4).astype(float), num_resamples=300, seed=seed)
        covered += lo <= 0.4 <= hi
    assert 0.90 <= covered / 200 <= 0.99


@pytest.mark.parametrize("values", [np.empty(0), np.ones((2, 2)), np.array([1.0, np.nan])])
def test_refuses_what_has_no_mean(values):
    with pytest.raises(ValueError, match="finite values"):
        bootstrap_ci(values)


def test_refuses_a_confidence_in_percent():
    with pytest.raises(ValueError, match="between 0 and 1"):
        bootstrap_ci(np.ones(3), confidence=95)
