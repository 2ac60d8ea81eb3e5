import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from torch.nn.functional import normalize

from bind.metrics import COSINE_TIE_TOLERANCE
from bind.metrics.multi_label import average_precision, chance_average_precision, multi_label, pessimistic_order


def case(seed, num_items=40, num_classes=6, dim=8):
    generator = torch.Generator().manual_seed(seed)
    z_class = normalize(torch.randn(num_classes, dim, generator=generator), dim=-1)
    members = torch.rand(num_items, num_classes, generator=generator) < 0.25
    members[:, -1] = False
    members[0, 0] = True
    z = normalize(members.float() @ z_class + 0.7 * torch.randn(num_items, dim, generator=generator), dim=-1)
    return z, members, z_class, [f"class {k}" for k in range(num_classes)]


@pytest.mark.slow
@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_equals_scikit_learn(seed):
    z, members, z_class, names = case(seed)
    scores = (z @ z_class.T).numpy()
    assume(np.diff(np.sort(scores, axis=0), axis=0).min() > 2 * COSINE_TIE_TOLERANCE)  # scikit-learn has another rule
    figures = multi_label(z, members, z_class, names, num_resamples=5)
    some = members.any(dim=0).nonzero().flatten().tolist()
    expected = {names[k]: average_precision_score(members[:, k].numpy(), scores[:, k]) for k in some}
    for name, value in expected.items():
        assert figures["per_class"][name]["average_precision"] == pytest.approx(value)
    assert figures["map"] == pytest.approx(np.mean(list(expected.values())))
    assert figures["num_classes"] == len(some)
    assert figures["classes_without_items"] == len(names) - len(some) >= 1
    assert figures["per_class"][names[-1]] == {"support": 0, "average_precision": None, "chance": None}


@pytest.mark.slow
@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_a_resample_counts_as_scikit_learn_weights_do(seed):
    rng = np.random.default_rng(seed)
    scores, members = rng.normal(size=30), rng.random(30) < 0.3
    members[0] = True
    counts = rng.multinomial(30, np.full(30, 1 / 30), size=4)
    counts[:, 0] += 1
    precision = average_precision(pessimistic_order(scores, members), members, counts)
    expected = [average_precision_score(members, scores, sample_weight=weights) for weights in counts]
    assert precision == pytest.approx(expected)


def test_ties_count_against_the_items_of_the_class():
    z = torch.eye(2)[[0, 0, 0, 1]]
    members = torch.tensor([[True], [False], [False], [True]])
    figures = multi_label(z, members, torch.eye(2)[:1], ["a"])
    assert figures["map"] == pytest.approx((1 / 3 + 2 / 4) / 2)


@pytest.mark.slow
def test_chance_is_the_mean_over_random_orders():
    rng = np.random.default_rng(0)
    members = np.arange(12) < 4
    drawn = [average_precision(rng.permutation(12), members, np.ones((1, 12), int))[0] for _ in range(4000)]
    assert chance_average_precision(4, 12) == pytest.approx(np.mean(drawn), abs=0.01)
    assert chance_average_precision(12, 12) == pytest.approx(1)
    assert chance_average_precision(0, 12) is None


def test_clusters_are_resampled_together_and_the_interval_repeats():
    z, members, z_class, names = case(0)
    apart = multi_label(z, members, z_class, names)
    twice = multi_label(z.repeat(2, 1), members.repeat(2, 1), z_class, names, clusters=np.tile(np.arange(40), 2))
    assert apart == multi_label(z, members, z_class, names)
    assert (twice["clusters"], twice["resampled"]) == (40, "clusters")
    widths = [figures["ci95_map"][1] - figures["ci95_map"][0] for figures in (apart, twice)]
    assert widths[1] > 0.85 * widths[0], "copies are no new evidence: on their own they would narrow it by 0.7"
    assert apart["ci95_map"][0] < apart["map"] < apart["ci95_map"][1]


def test_refuses_what_has_no_mean():
    z, members, z_class, names = case(0)
    with pytest.raises(ValueError, match="at least one class with an item"):
        multi_label(z, torch.zeros_like(members), z_class, names)
    with pytest.raises(ValueError, match=r"members_NK must be \(40, 6\)"):
        multi_label(z, members[:, :5], z_class, names)
