import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from torch.nn.functional import normalize

from bind.metrics import COSINE_TIE_TOLERANCE, rank_by_cosine, rank_by_scores, retrieval, retrieval_from_scores, top_k
from bind.metrics.retrieval import _full_fp32


def oracle(scores: np.ndarray, query_groups: np.ndarray, pool_groups: np.ndarray, tie_tolerance: float = 0.0):
    """Best ranks and average precisions from the full matrix, one item at a time."""
    ranks, precisions = [], []
    for row, group in zip(scores, query_groups, strict=True):
        relevant = np.sort(row[pool_groups == group])[::-1]
        others = row[pool_groups != group]
        if len(relevant) == 0:
            continue
        ahead = [int((others >= bar - np.float32(tie_tolerance)).sum()) for bar in relevant]
        ranks.append(1 + ahead[0])
        precisions.append(np.mean([(j + 1) / (j + 1 + n) for j, n in enumerate(ahead)]))
    return np.array(ranks), np.array(precisions)


@st.composite
def problems(draw):
    """Scores on a coarse grid (many ties), groups that may be missing on either side."""
    num_queries, num_pool, num_groups = draw(st.integers(1, 12)), draw(st.integers(1, 15)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([1, 3, 1000]))
    scores = rng.integers(0, levels, size=(num_queries, num_pool)).astype(np.float32) / levels
    query_groups = rng.integers(0, num_groups, size=num_queries)
    query_groups[0] = 0
    pool_groups = rng.integers(0, num_groups, size=num_pool)
    pool_groups[rng.integers(num_pool)] = 0
    return scores, query_groups, pool_groups, draw(st.integers(1, 40))


@settings(max_examples=150, deadline=None)
@given(problems())
def test_tiles_agree_with_the_full_matrix(problem):
    scores, query_groups, pool_groups, scores_at_once = problem
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[rank_by_scores.__module__], "_SCORES_AT_ONCE", scores_at_once)
        ranking = rank_by_scores(
            lambda start, stop: torch.from_numpy(scores[start:stop]),
            len(scores),
            torch.from_numpy(query_groups),
            torch.from_numpy(pool_groups),
        )
    ranks, precisions = oracle(scores, query_groups, pool_groups)
    assert ranking.ranks_Q.tolist() == ranks.tolist()
    np.testing.assert_allclose(ranking.average_precision_Q, precisions, rtol=1e-12)
    assert ranking.queries_Q.tolist() == np.flatnonzero(np.isin(query_groups, pool_groups)).tolist()
    figures = ranking.summary((1, 2, 30))
    assert figures["R@2"] == pytest.approx((ranks <= 2).mean())
    assert figures["R@30"] == figures["chance_R@30"] == 1.0
    assert figures["mrr"] == pytest.approx((1 / ranks).mean())
    assert figures["median_rank"] == np.median(ranks)
    assert figures["map"] == pytest.approx(precisions.mean())
    assert figures["queries"] + figures["queries_without_relevant"] == len(scores)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 64, 512]))
def test_vectors_with_duplicates_agree_with_the_full_matrix(seed, dim):
    generator = torch.Generator().manual_seed(seed)
    distinct = normalize(torch.randn(5, dim, generator=generator), dim=-1)
    z_pool = distinct[torch.randint(5, (23,), generator=generator)]
    z_query = normalize(distinct[torch.randint(5, (9,), generator=generator)] + 0.1, dim=-1)
    query_groups = torch.randint(4, (9,), generator=generator)
    pool_groups = torch.cat([torch.arange(4), torch.randint(4, (19,), generator=generator)])
    ranking = rank_by_cosine(z_query, z_pool, query_groups, pool_groups)
    # Equal rows get one exact score here: the oracle needs no tolerance for duplicates.
    names, inverse = torch.unique(z_pool, dim=0, return_inverse=True)
    scores = (z_query.double() @ names.double().T)[:, inverse].numpy()
    ranks, precisions = oracle(scores, query_groups.numpy(), pool_groups.numpy(), COSINE_TIE_TOLERANCE)
    assert ranking.ranks_Q.tolist() == ranks.tolist()
    np.testing.assert_allclose(ranking.average_precision_Q, precisions)


@pytest.mark.parametrize("dim", [64, 512, 2048])
def test_copies_of_the_relevant_vector_in_other_groups_all_stand_before_it(dim):
    generator = torch.Generator().manual_seed(dim)
    z = normalize(torch.randn(1, dim, generator=generator), dim=-1)
    z_query = normalize(z + 0.05 * torch.randn(6, dim, generator=generator), dim=-1)
    for relevant in (0, 500, 1002):
        pool_groups = torch.ones(1003, dtype=torch.long)
        pool_groups[relevant] = 0
        ranking = rank_by_cosine(
            z_query, z.expand(1003, dim).contiguous(), torch.zeros(6, dtype=torch.long), pool_groups
        )
        assert ranking.ranks_Q.tolist() == [1003] * 6


def test_one_vector_rounded_differently_is_still_one_vector():
    generator = torch.Generator().manual_seed(0)
    z = normalize(torch.randn(64, generator=generator), dim=-1)
    rounding = 1 + 6e-8 * torch.randint(-1, 2, (1000, 64), generator=generator)
    z_pool = torch.cat([z[None], z * rounding])
    assert (z_pool[1:] @ z).unique().numel() > 1
    ranking = rank_by_cosine(z[None], z_pool, torch.tensor([0]), torch.arange(1001))
    assert ranking.ranks_Q.tolist() == [1001]


def test_map_agrees_with_sklearn_where_nothing_ties():
    generator = torch.Generator().manual_seed(0)
    z_query = normalize(torch.randn(20, 16, generator=generator), dim=-1)
    z_pool = normalize(torch.randn(200, 16, generator=generator), dim=-1)
    query_groups, pool_groups = torch.arange(20) % 7, torch.arange(200) % 7
    scores = (z_query @ z_pool.T).numpy()
    relevant = (query_groups[:, None] == pool_groups).numpy()
    expected = np.mean([average_precision_score(r, s) for r, s in zip(relevant, scores, strict=True)])
    assert retrieval(z_query, z_pool, query_groups, pool_groups)["map"] == pytest.approx(expected)


def test_late_fusion_by_scores_equals_retrieval_of_the_same_cosines():
    generator = torch.Generator().manual_seed(0)
    z_query = normalize(torch.randn(30, 8, generator=generator), dim=-1)
    z_pool = normalize(torch.randn(40, 8, generator=generator), dim=-1)
    query_groups, pool_groups = torch.arange(30) % 10, torch.arange(40) % 10
    by_scores = retrieval_from_scores(
        lambda start, stop: z_query[start:stop] @ z_pool.T, 30, query_groups, pool_groups, tie_tolerance=1e-6
    )
    assert by_scores == retrieval(z_query, z_pool, query_groups, pool_groups)


def test_close_scores_are_told_apart_in_the_precision_they_came_in():
    scores = torch.tensor([[1.0, 1.0 - 1e-12]], dtype=torch.float64)
    ranking = rank_by_scores(lambda start, stop: scores, 1, torch.tensor([0]), torch.tensor([0, 1]))
    assert ranking.ranks_Q.tolist() == [1]


def test_an_item_without_a_score_stands_last():
    scores = torch.tensor([[-torch.inf, -torch.inf, 0.2]])
    ranking = rank_by_scores(lambda start, stop: scores, 1, torch.tensor([0]), torch.tensor([0, 1, 2]))
    assert ranking.ranks_Q.tolist() == [3]


def test_chance_is_what_random_orders_reach():
    query_groups, pool_groups = torch.tensor([0, 1, 1]), torch.tensor([0, 1, 1, 1, 2, 2, 2, 2])
    ranking = rank_by_scores(lambda start, stop: torch.zeros(stop - start, 8), 3, query_groups, pool_groups)
    assert ranking.chance(1) == pytest.approx((1 / 8 + 3 / 8 + 3 / 8) / 3)
    hit = [1 - math.comb(8 - r, 3) / math.comb(8, 3) for r in (1, 3, 3)]
    assert ranking.chance(3) == pytest.approx(np.mean(hit))
    assert ranking.chance(8) == ranking.chance(99) == 1.0


def test_half_precision_autocast_and_reduced_matmul_precision_do_not_change_the_figures():
    generator = torch.Generator().manual_seed(0)
    z_pool = normalize(torch.randn(300, 64, generator=generator), dim=-1)
    z_query = normalize(z_pool + 0.2 * torch.randn(300, 64, generator=generator), dim=-1)
    groups = torch.arange(300)
    expected = retrieval(z_query, z_pool, groups, groups)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert retrieval(z_query, z_pool, groups, groups) == expected
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    as_stored = retrieval(z_query.bfloat16(), z_pool.bfloat16(), groups, groups)
    assert as_stored["R@1"] == pytest.approx(expected["R@1"], abs=0.02)


def test_matrix_products_are_full_fp32_only_where_scores_are_made():
    backends = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        allowed = [backend.fp32_precision for backend in backends]
        with _full_fp32():
            assert [backend.fp32_precision for backend in backends] == ["ieee", "ieee"]
        assert [backend.fp32_precision for backend in backends] == allowed == ["tf32", "bf16"]
    finally:
        torch.set_float32_matmul_precision(before)


def test_figures_are_plain_numbers_and_repeat():
    z = normalize(torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), dim=-1).requires_grad_()
    groups = torch.arange(12) % 5
    figures = retrieval(z, z, groups, groups)
    assert figures == retrieval(z, z, groups, groups)
    assert {type(value) for value in figures.values()} == {float, int, list}
    lo, hi = figures["ci95_R@1"]
    assert 0 <= lo <= figures["R@1"] <= hi <= 1


def test_top_k_gives_the_best_first_and_ties_in_pool_order():
    z_pool = torch.eye(4)[[0, 1, 0, 2]]
    scores, positions = top_k(normalize(torch.tensor([[1.0, 0.5, 0, 0]]), dim=-1), z_pool, 3)
    assert positions.tolist() == [[0, 2, 1]]
    assert scores[0].tolist() == pytest.approx([0.894427, 0.894427, 0.447214])
    with pytest.raises(ValueError, match="pool size 4"):
        top_k(z_pool, z_pool, 5)


Z, G = torch.eye(3), torch.arange(3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2 * Z, Z, G, G), "z_query: 3 of 3 vectors are not of unit length"),
        (
            (Z, Z.index_fill(0, torch.tensor([1]), torch.nan), G, G),
            "z_pool: 1 of 3 vectors are not of unit length; row 1",
        ),
        ((Z, torch.eye(4), G, torch.arange(4)), "one dimension"),
        ((Z, Z, G[:2], G), "query_groups"),
        ((Z, Z, G, G.float()), "pool_groups"),
        ((Z, Z, G, G + 3), "none of the 3 queries"),
        ((Z, torch.empty(0, 3), G, G[:0]), "z_pool must be"),
        ((Z.long(), Z, G, G), "z_query must be"),
        ((Z, Z, G, G, (0, 5)), "ks must be"),
    ],
)
def test_refuses_what_it_cannot_rank(arguments, message):
    with pytest.raises(ValueError, match=message):
        retrieval(*arguments)


@pytest.mark.parametrize(("scores", "message"), [(torch.full((3, 3), torch.nan), "NaN"), (torch.ones(3, 2), "gave")])
def test_refuses_scores_that_are_not_scores(scores, message):
    with pytest.raises(ValueError, match=message):
        retrieval_from_scores(lambda start, stop: scores, 3, G, G)
