import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bind.metrics import bootstrap
from bind.metrics.bootstrap import bootstrap_ci, resampled_means, resampled_medians


@pytest.mark.slow
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
    assert bootstrap_ci(values) == pytest.approx(whole, rel=1e-12)  # products of another size may round otherwise


def test_a_wider_confidence_gives_a_wider_interval():
    values = np.random.default_rng(0).normal(size=50)
    lo, hi = bootstrap_ci(values, confidence=0.8)
    wide_lo, wide_hi = bootstrap_ci(values, confidence=0.99)
    assert wide_lo < lo < values.mean() < hi < wide_hi


@pytest.mark.slow
def test_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        lo, hi = bootstrap_ci((rng.random(100) < 0.4).astype(float), num_resamples=300, seed=seed)
        covered += lo <= 0.4 <= hi
    assert 0.90 <= covered / 200 <= 0.99


def test_resamples_are_means_and_medians_of_whole_clusters():
    rng = np.random.default_rng(3)
    values, clusters = rng.integers(0, 9, 40).astype(float), rng.permutation(np.arange(40) % 7)
    means = resampled_means(values[:, None], clusters, num_clusters=7, num_resamples=50, seed=5)[:, 0]
    medians = resampled_medians(values, clusters, num_clusters=7, num_resamples=50, seed=5)
    drawn = np.random.default_rng(5).integers(0, 7, size=(50, 7))
    for row, mean, median in zip(drawn, means, medians, strict=True):
        redrawn = np.concatenate([values[clusters == c] for c in row])
        assert mean == pytest.approx(redrawn.mean())
        assert median == np.median(redrawn)


def test_a_cluster_that_holds_no_value_may_be_drawn():
    means = resampled_means(np.ones((4, 1)), np.array([0, 0, 1, 1]), num_clusters=6, num_resamples=200)
    assert np.isnan(means).any()
    assert np.nanmax(means) == np.nanmin(means) == 1
    assert bootstrap.interval(means[:, 0], 6) == (1, 1)


def test_values_alike_within_clusters_are_less_sure_than_as_many_independent_ones():
    rng = np.random.default_rng(0)
    owners = np.repeat(np.arange(20), 50)
    values = rng.normal(size=20)[owners]
    lo, hi = bootstrap_ci(values)
    wide_lo, wide_hi = bootstrap_ci(values, owners)
    assert wide_hi - wide_lo == pytest.approx(np.sqrt(50) * (hi - lo), rel=0.25)
    assert bootstrap_ci(values, np.array([f"owner {o}" for o in owners])) != (lo, hi)


@pytest.mark.slow
def test_clusters_cover_the_true_mean_about_as_often_as_it_says_where_single_values_would_not():
    rng = np.random.default_rng(0)
    covered = np.zeros(2)
    clusters = np.repeat(np.arange(40), 10)
    for seed in range(200):
        values = (rng.normal(size=40)[clusters] + rng.normal(size=400)).round(3)
        for which, together in enumerate((clusters, None)):
            lo, hi = bootstrap_ci(values, together, num_resamples=200, seed=seed)
            covered[which] += lo <= 0 <= hi
    assert 0.88 <= covered[0] / 200 <= 0.99
    assert covered[1] / 200 < 0.75


@pytest.mark.slow
@pytest.mark.parametrize("num_clusters", [10, 20, 50])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_intervals_of_shares_hold_the_truth_from_ten_clusters_on(rate, num_clusters):
    rng = np.random.default_rng(0)
    clusters, covered = np.repeat(np.arange(num_clusters), 8), 0
    for seed in range(300):
        rates = rng.beta(9 * rate, 9 * (1 - rate), num_clusters)  # correlation 0.1 within a cluster
        hits = (rng.random(len(clusters)) < rates[clusters]).astype(float)
        lo, hi = bootstrap_ci(hits, clusters, is_share=True, num_resamples=400, seed=seed)
        covered += lo <= rate <= hi
    assert covered / 300 >= 0.93


def test_intervals_of_few_clusters_are_as_wide_as_students_t():
    values = np.random.default_rng(1).normal(size=6)
    lo, hi = bootstrap_ci(values, num_resamples=20_000)
    assert hi - lo == pytest.approx(2 * 2.571 * values.std(ddof=1) / np.sqrt(6), rel=0.15)  # t of 5 degrees of freedom
    assert bootstrap_ci(values[:1]) == (values[0], values[0])


def test_a_share_of_all_or_none_has_an_interval():
    assert bootstrap_ci(np.ones(10)) == (1, 1)
    lo, hi = bootstrap_ci(np.ones(10), is_share=True)
    assert lo == pytest.approx(10 / (10 + 2.262**2), abs=1e-3)  # Wilson's, with t of 9 degrees of freedom
    assert hi == 1
    assert bootstrap_ci(np.zeros(10), is_share=True) == (0, pytest.approx(1 - lo))
    assert bootstrap_ci(np.ones(50), np.zeros(50), is_share=True) == (0, 1)


@pytest.mark.slow
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(1, 6), st.floats(0.5, 0.99), st.integers(0, 3))
@settings(max_examples=60)
def test_an_interval_of_a_share_holds_the_share_and_lies_within_0_and_1(values, size, confidence, seed):
    values = np.array(values)
    clusters = np.arange(len(values)) // size
    options = {"confidence": confidence, "num_resamples": 200, "seed": seed}
    lo, hi = bootstrap_ci(values, clusters, is_share=True, **options)
    assert 0 <= lo <= values.mean() + 1e-9
    assert values.mean() - 1e-9 <= hi <= 1
    low, high = bootstrap_ci(values, clusters, **options)
    assert lo <= low <= high <= hi


def test_refuses_clusters_of_another_length():
    with pytest.raises(ValueError, match="each of the 3 values"):
        bootstrap_ci(np.ones(3), np.zeros(2))


@pytest.mark.parametrize("values", [np.empty(0), np.ones((2, 2)), np.array([1.0, np.nan])])
def test_refuses_what_has_no_mean(values):
    with pytest.raises(ValueError, match="finite values"):
        bootstrap_ci(values)


def test_refuses_a_confidence_in_percent():
    with pytest.raises(ValueError, match="between 0 and 1"):
        bootstrap_ci(np.ones(3), confidence=95)
