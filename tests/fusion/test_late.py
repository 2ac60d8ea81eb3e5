import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from bind.fusion.early import EarlyFusion
from bind.fusion.late import LateFusion

WEIGHTS = {"audio": 2.0}
METHODS = ["sum", "rrf", "softmax"]
masks = st.lists(st.integers(1, 3), min_size=1, max_size=6)
"""Each row as a bit mask of its two modalities: never none."""


def make(modalities: list[str], rows: list[int], seed: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    z = {m: normalize(torch.randn(len(rows), 6, generator=generator), dim=-1) for m in modalities}
    return z, {m: torch.tensor([bool(row >> i & 1) for row in rows]) for i, m in enumerate(modalities)}


def naive(method, query, pool, query_present, pool_present) -> torch.Tensor:
    """One query, one item and one pair of modalities at a time."""
    num_queries, num_pool = len(next(iter(query.values()))), len(next(iter(pool.values())))
    scores = torch.zeros(num_queries, num_pool)
    for q in range(num_queries):
        for p in range(num_pool):
            total = weights = 0.0
            for a in query:
                for b in pool:
                    if not (query_present[a][q] and pool_present[b][p]):
                        continue
                    listed = [float(query[a][q] @ pool[b][i]) for i in range(num_pool) if pool_present[b][i]]
                    own = float(query[a][q] @ pool[b][p])
                    share = len(listed) / num_pool
                    value = {
                        "sum": own,
                        "rrf": 1 / (60 + (1 + sum(other > own + 1e-7 for other in listed)) / share),
                        "softmax": share * math.exp(own / 0.07) / sum(math.exp(other / 0.07) for other in listed),
                    }[method]
                    weight = WEIGHTS.get(a, 1.0) * WEIGHTS.get(b, 1.0)
                    total += weight * value
                    weights += weight
            scores[q, p] = total / weights
    return scores


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=15)
@given(query_rows=masks, pool_rows=masks)
def test_scores_equal_the_naive_ones(method, query_rows, pool_rows):
    query, query_present = make(["audio", "imu"], query_rows, seed=0)
    pool, pool_present = make(["audio", "image"], pool_rows, seed=1)
    scores = LateFusion(inputs=["audio", "imu"], weights=WEIGHTS, method=method).scores(
        query, pool, query_present, pool_present
    )
    torch.testing.assert_close(scores, naive(method, query, pool, query_present, pool_present), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("query_rows", [[3] * 8, [1, 2, 3, 3, 2, 1, 3, 1]])
def test_sum_ranks_a_pool_of_single_vectors_as_early_fusion_does(query_rows):
    query, query_present = make(["audio", "imu"], query_rows, seed=0)
    pool, pool_present = make(["image"], [1] * 50, seed=1)
    late = LateFusion(inputs=["audio", "imu"], weights=WEIGHTS).scores(query, pool, query_present, pool_present)
    early = EarlyFusion(inputs=["audio", "imu"], weights=WEIGHTS)(query, query_present) @ pool["image"].T
    assert torch.equal(late.argsort(dim=1), early.argsort(dim=1))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=15)
@given(rows=masks, garbage=st.sampled_from([float("nan"), float("inf"), 9.0]))
def test_what_missing_rows_hold_changes_nothing(method, rows, garbage):
    z, present = make(["audio", "imu"], rows, seed=0)
    spoiled = {m: z[m].masked_fill(~present[m][:, None], garbage) for m in z}
    late = LateFusion(inputs=["audio", "imu"], weights=WEIGHTS, method=method)
    assert torch.equal(late.scores(spoiled, spoiled, present, present), late.scores(z, z, present, present))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=10)
@given(data=st.data(), pool_rows=masks)
def test_scores_follow_the_pool_when_it_is_permuted_and_the_queries_when_they_are_tiled(method, data, pool_rows):
    query, query_present = make(["audio", "imu"], [1, 2, 3, 3], seed=0)
    pool, pool_present = make(["audio", "image"], pool_rows, seed=1)
    late = LateFusion(inputs=["audio", "imu"], weights=WEIGHTS, method=method)
    whole = late.scores(query, pool, query_present, pool_present)
    order = data.draw(st.permutations(range(len(pool_rows))))
    tile = late.scores(
        {m: z[1:3] for m, z in query.items()},
        {m: z[order] for m, z in pool.items()},
        {m: present[1:3] for m, present in query_present.items()},
        {m: present[order] for m, present in pool_present.items()},
    )
    torch.testing.assert_close(tile, whole[1:3][:, order], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_an_item_that_all_modalities_agree_on(method):
    pool, pool_present = make(["image"], [1] * 20, seed=0)
    noise, present = make(["audio", "imu"], [3] * 20, seed=1)
    query = {m: normalize(pool["image"] + 0.2 * z, dim=-1) for m, z in noise.items()}
    scores = LateFusion(inputs=["audio", "imu"], method=method).scores(query, pool, present, pool_present)
    assert torch.equal(scores.argmax(dim=1), torch.arange(20))


def test_a_row_without_any_modality_is_an_error():
    z, present = make(["audio", "imu"], [3, 0], seed=0)
    with pytest.raises(AssertionError, match="has no score"):
        LateFusion(inputs=["audio", "imu"]).scores(z, z, present, present)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"method": "max"}, "sum, rrf, softmax"), ({"rrf_k": 0.0}, "rrf_k"), ({"temperature": -1.0}, "temperature")],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        LateFusion(inputs=["audio", "imu"], **settings)
