import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from bind.evaluation.embedded import EmbeddedSplit
from bind.fusion.attention import AttentionFusion
from bind.fusion.early import EarlyFusion
from bind.fusion.late import LateFusion
from bind.metrics.bootstrap import bootstrap_ci
from bind.studies.robustness.figures import FusedQueries, missing_threshold, point, summaries
from bind.studies.robustness.heads import make_heads
from bind.studies.robustness.show import PLAIN_SUM
from bind.studies.robustness.tasks import RankingTask

INPUTS = ("audio", "imu")
NUM_SAMPLES, NUM_POOL, DIM = 120, 30, 16
GENERATOR = torch.Generator().manual_seed(0)
GROUPS = torch.arange(NUM_SAMPLES) % NUM_POOL
POOL = normalize(torch.randn(NUM_POOL, DIM, generator=GENERATOR), dim=-1)


def near_the_pool(noise):
    return normalize(POOL[GROUPS] + noise * torch.randn(NUM_SAMPLES, DIM, generator=GENERATOR), dim=-1)


def task(asks=None):
    asks = torch.ones(NUM_SAMPLES, dtype=torch.bool) if asks is None else asks
    about = {"trained": True, "kind": "trained"}
    return RankingTask("image", POOL, torch.arange(NUM_POOL), GROUPS, asks, GROUPS.numpy(), "groups", about)


def attention():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fusion = AttentionFusion(inputs=INPUTS, dim=DIM)
        for scorer in fusion.scorers:
            torch.nn.init.normal_(scorer[-1].weight)
    return fusion


SPLIT = EmbeddedSplit(
    [f"sample {i}" for i in range(NUM_SAMPLES)],
    GROUPS,
    {"audio": near_the_pool(0.6), "imu": near_the_pool(0.9)},
    dict.fromkeys(INPUTS, torch.arange(NUM_SAMPLES)),
)
FUSED = FusedQueries(SPLIT, INPUTS, make_heads(INPUTS, attention()), [task()])
LEARNED_OR_COMBINED = [head for head in FUSED.heads if head not in INPUTS]


def test_there_is_every_head_once():
    assert list(FUSED.heads) == [
        "audio",
        "imu",
        PLAIN_SUM,
        *(f"late: {m}" for m in ("sum", "rrf", "softmax")),
        "attention, trained",
    ]
    assert "attention, trained" not in make_heads(("imu", "audio"), attention())
    assert "attention, trained" not in make_heads(INPUTS, None)
    assert "weighted sum" in make_heads(INPUTS, EarlyFusion(inputs=INPUTS, weights={"audio": 2.0}))
    assert "weighted sum" not in make_heads(INPUTS, EarlyFusion(inputs=INPUTS))


@pytest.mark.slow
@pytest.mark.parametrize("head", LEARNED_OR_COMBINED)
@pytest.mark.parametrize(("gone", "left"), [("audio", "imu"), ("imu", "audio")])
def test_without_one_input_every_head_is_the_other_alone(head, gone, left):
    found = FUSED.without(gone, 1.0, seed=0)["image"]
    expected = {**found[left], "ci95_above_plain_sum": [0, 0], "above_plain_sum": 0}
    assert {**found[head], "ci95_above_plain_sum": [0, 0], "above_plain_sum": 0} == expected
    assert found[gone]["R@10"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("head", FUSED.heads)
def test_with_every_input_nothing_is_missing_and_denominators_are_equal(head):
    complete, half = FUSED.noisy({})["image"][head], FUSED.without("audio", 0.5, seed=0)["image"][head]
    assert FUSED.without("audio", 0.0, seed=0)["image"][head] == complete
    for name in ("queries", "pool", "chance_R@1"):
        assert complete[name] == half[name]
    assert complete["queries"] == NUM_SAMPLES
    assert complete["chance_R@1"] == pytest.approx(1 / NUM_POOL)


@pytest.mark.slow
def test_a_lone_input_alone_is_its_own_curve():
    alone, single = FUSED.noisy({})["image"]["audio"], point(SPLIT, task(), "audio", SPLIT.z["audio"])
    for name, value in single.items():
        assert alone[name] == pytest.approx(value), name


@pytest.mark.slow
def test_late_sum_ranks_as_the_plain_sum_and_both_beat_their_inputs():
    found = FUSED.noisy({})["image"]
    assert found["late: sum"]["R@1"] == found[PLAIN_SUM]["R@1"]
    assert found[PLAIN_SUM]["R@1"] > max(found[m]["R@1"] for m in INPUTS)
    assert found["audio"]["ci95_above_plain_sum"][1] < 0


@pytest.mark.slow
def test_late_heads_are_those_of_the_run_where_it_has_one():
    own = LateFusion(inputs=INPUTS, method="softmax", temperature=5.0)
    found = FusedQueries(SPLIT, INPUTS, make_heads(INPUTS, own), [task()]).noisy({})["image"]
    assert found["late: softmax"]["R@1"] != FUSED.noisy({})["image"]["late: softmax"]["R@1"]
    assert found["late: rrf"] == FUSED.noisy({})["image"]["late: rrf"]


@pytest.mark.slow
def test_noise_in_one_input_is_seen_by_all_heads_but_the_other_input():
    noisy = normalize(torch.randn(NUM_SAMPLES, DIM, generator=GENERATOR), dim=-1)
    clean, found = FUSED.noisy({})["image"], FUSED.noisy({"audio": noisy})["image"]
    for head in FUSED.heads:
        if head == "imu":
            assert found[head]["R@1"] == clean[head]["R@1"]
        else:
            assert found[head]["R@1"] < clean[head]["R@1"]


@pytest.mark.slow
def test_who_lacks_an_input_at_one_share_lacks_it_at_a_larger():
    draws = np.array([missing_threshold(0, key, "audio") for key in SPLIT.keys])
    assert 0 <= draws.min() < 0.1 < 0.9 < draws.max() < 1
    assert draws.tolist() != [missing_threshold(1, key, "audio") for key in SPLIT.keys]
    assert draws.tolist() != [missing_threshold(0, key, "imu") for key in SPLIT.keys]
    shares = [FUSED.without("audio", share, 0)["image"]["audio"]["R@1"] for share in (0.2, 0.5, 0.8)]
    assert shares == sorted(shares, reverse=True)


@pytest.mark.slow
def test_only_samples_with_all_inputs_are_queries():
    rows = {"audio": torch.arange(NUM_SAMPLES), "imu": torch.arange(0, NUM_SAMPLES, 2)}
    split = EmbeddedSplit(SPLIT.keys, GROUPS, {"audio": SPLIT.z["audio"], "imu": SPLIT.z["imu"][::2]}, rows)
    asks = torch.arange(NUM_SAMPLES) >= NUM_POOL
    found = FusedQueries(split, INPUTS, make_heads(INPUTS, None), [task(asks)]).noisy({})["image"]
    assert {figures["queries"] for figures in found.values()} == {(NUM_SAMPLES - NUM_POOL) // 2}
    nobody = torch.zeros(NUM_SAMPLES, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"inputs=\['audio', 'imu'\]: no sample has all of them"):
        FusedQueries(split, INPUTS, make_heads(INPUTS, None), [task(nobody)])


def test_intervals_are_those_of_the_bootstrap_and_differences_are_paired():
    ranks = {PLAIN_SUM: torch.tensor([1, 2, 3, 1, 9]), "other": torch.tensor([1, 1, 3, 1, 9])}
    clusters = np.array([0, 0, 1, 2, 2])
    found = summaries(ranks, clusters)
    first = (ranks["other"] == 1).double().numpy()
    assert found["other"]["R@1"] == first.mean()
    assert found["other"]["ci95_R@1"] == list(bootstrap_ci(first, clusters, is_share=True))
    above = first - (ranks[PLAIN_SUM] == 1).double().numpy()
    assert found["other"]["above_plain_sum"] == pytest.approx(0.2)
    assert found["other"]["ci95_above_plain_sum"] == list(bootstrap_ci(above, clusters))
    assert found[PLAIN_SUM]["ci95_above_plain_sum"] == [0, 0]
