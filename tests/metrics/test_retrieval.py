import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score
from torch.nn.functional import normalize

from bind.metrics import COSINE_TIE_TOLERANCE, rank_by_cosine, rank_by_scores, retrieval, tiles, top_k
from bind.metrics.cosine import full_fp32


def oracle(scores, query_groups, pool_groups, tie_tolerance=0.0, hidden=None):
    """Query → the places of its relevant items, best first, and its pool size; from the full matrix, item by item."""
    places_of_queries = {}
    for query, (row, group) in enumerate(zip(scores, query_groups, strict=True)):
        seen = np.ones(len(row), dtype=bool) if hidden is None else hidden[1] != hidden[0][query]
        relevant = np.sort(row[seen & (pool_groups == group)])[::-1]
        others = row[seen & (pool_groups != group)]
        if len(relevant):
            ahead = [int((others >= bar - np.float32(tie_tolerance)).sum()) for bar in relevant]
            places_of_queries[query] = np.array([j + 1 + n for j, n in enumerate(ahead)]), int(seen.sum())
    return places_of_queries


def assert_agrees(ranking, places_of_queries):
    assert ranking.queries_Q.tolist() == list(places_of_queries)
    places, pools = [p for p, _ in places_of_queries.values()], [n for _, n in places_of_queries.values()]
    assert ranking.ranks_Q.tolist() == [p[0] for p in places]
    assert ranking.num_relevant_Q.tolist() == [len(p) for p in places]
    assert ranking.num_pool_Q.tolist() == pools
    per_query = ranking.per_query()
    for k in ranking.ks:
        assert per_query[f"R@{k}"].tolist() == [float(any(p <= k)) for p in places]
        np.testing.assert_allclose(per_query[f"recall@{k}"], [np.mean(p <= k) for p in places])
    np.testing.assert_allclose(per_query["map"], [np.mean(np.arange(1, len(p) + 1) / p) for p in places], rtol=1e-12)
    ideal = [sum(1 / np.log2(1 + j) for j in range(1, len(p) + 1)) for p in places]
    np.testing.assert_allclose(per_query["ndcg"] * ideal, [(1 / np.log2(1 + p)).sum() for p in places])


@st.composite
def problems(draw):
    """Scores on a coarse grid (many ties), groups and hidden ids that may be missing on either side."""
    num_queries, num_pool, num_groups = draw(st.integers(1, 12)), draw(st.integers(1, 40)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([1, 3, 1000]))
    scores = rng.integers(0, levels, size=(num_queries, num_pool)).astype(np.float32) / levels
    scores[rng.random(scores.shape) < draw(st.sampled_from([0, 0.3]))] = -np.inf
    query_groups = rng.integers(0, num_groups, size=num_queries)
    pool_groups = rng.integers(0, num_groups, size=num_pool)
    hidden = None
    if draw(st.booleans()):
        hidden = rng.integers(0, 4, size=num_queries), rng.integers(1, 5, size=num_pool)
        hidden[1][0] = 5
    query_groups[0] = pool_groups[0] = 0  # something relevant is always seen
    return scores, query_groups, pool_groups, hidden


@pytest.mark.slow
@settings(max_examples=150)
@given(problems(), st.integers(1, 60), st.sampled_from([0, 2, 16]))
def test_tiles_agree_with_the_full_matrix(problem, scores_at_once, compared_bars):
    scores, query_groups, pool_groups, hidden = problem
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "SCORES_AT_ONCE", scores_at_once)
        patch.setattr(tiles, "_COMPARED_BARS", compared_bars)
        ranking = rank_by_scores(
            lambda start, stop: torch.from_numpy(scores[start:stop]),
            len(scores),
            torch.from_numpy(query_groups),
            torch.from_numpy(pool_groups),
            (1, 2, 50),
            hidden=hidden and tuple(map(torch.from_numpy, hidden)),
        )
    places_of_queries = oracle(scores, query_groups, pool_groups, hidden=hidden)
    assert_agrees(ranking, places_of_queries)
    ranks = np.array([places[0] for places, _ in places_of_queries.values()])
    figures = ranking.summary(num_resamples=10)
    assert figures["R@50"] == figures["recall@50"] == figures["chance_R@50"] == 1.0
    assert figures["R@2"] == pytest.approx((ranks <= 2).mean())
    assert figures["mrr"] == pytest.approx((1 / ranks).mean())
    assert (figures["mean_rank"], figures["median_rank"]) == (pytest.approx(ranks.mean()), np.median(ranks))
    assert figures["map"] == pytest.approx(np.mean(ranking.average_precision_Q.numpy()))
    assert figures["queries"] + figures["queries_without_relevant"] == len(scores)


@pytest.mark.slow
@settings(max_examples=100)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([3, 64, 512]),
    st.integers(1, 60),
    st.booleans(),
    st.sampled_from([0, 30]),
)
def test_vectors_with_duplicates_agree_with_the_full_matrix(seed, dim, scores_at_once, filtered, own_items):
    generator = torch.Generator().manual_seed(seed)
    distinct = normalize(torch.randn(5, dim, generator=generator), dim=-1)
    z_pool = distinct[torch.randint(5, (23,), generator=generator)]
    z_query = normalize(distinct[torch.randint(5, (9,), generator=generator)] + 0.1, dim=-1)
    query_groups = torch.randint(6, (9,), generator=generator)
    pool_groups = torch.cat([torch.arange(4), torch.randint(4, (19,), generator=generator)])
    query_groups[4] = 2
    hidden = (torch.arange(9) % 4, torch.arange(23) % 5) if filtered else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "SCORES_AT_ONCE", scores_at_once)
        patch.setattr(tiles, "_QUERIES_PER_PRODUCT", 3)
        patch.setattr(tiles, "_ITEMS_PER_ROW", own_items)
        patch.setattr(tiles, "_RELEVANT_AT_ONCE", 8)
        ranking = rank_by_cosine(z_query, z_pool, query_groups, pool_groups, hidden=hidden)
    # Equal rows get one exact score here: the oracle needs no tolerance for duplicates.
    names, inverse = torch.unique(z_pool, dim=0, return_inverse=True)
    scores = (z_query.double() @ names.double().T)[:, inverse].numpy()
    arrays = hidden and tuple(ids.numpy() for ids in hidden)
    assert_agrees(ranking, oracle(scores, query_groups.numpy(), pool_groups.numpy(), COSINE_TIE_TOLERANCE, arrays))


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


@pytest.mark.slow
@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_map_and_ndcg_agree_with_sklearn_where_nothing_ties(seed, num_groups):
    rng = np.random.default_rng(seed)
    scores = rng.permuted(np.arange(20 * 60.0)).reshape(20, 60)
    query_groups, pool_groups = torch.arange(20) % num_groups, torch.arange(60) % num_groups
    relevant = (query_groups[:, None] == pool_groups).numpy()
    ranking = rank_by_scores(lambda start, stop: torch.from_numpy(scores[start:stop]), 20, query_groups, pool_groups)
    expected = [average_precision_score(r, s) for r, s in zip(relevant, scores, strict=True)]
    np.testing.assert_allclose(ranking.average_precision_Q, expected)
    expected = [ndcg_score(r[None].astype(float), s[None]) for r, s in zip(relevant, scores, strict=True)]
    np.testing.assert_allclose(ranking.ndcg_Q, expected)


@pytest.mark.slow
@settings(max_examples=50)
@given(problems())
def test_map_is_what_sklearn_gives_once_ties_are_broken_against_the_query(problem):
    scores, query_groups, pool_groups, _ = problem
    order = np.unique(scores, return_inverse=True)[1].reshape(scores.shape)
    relevant = query_groups[:, None] == pool_groups
    broken = order - 0.5 * relevant - 1e-3 * relevant * np.arange(scores.shape[1])
    ranking = rank_by_scores(
        lambda start, stop: torch.from_numpy(scores[start:stop]),
        len(scores),
        torch.from_numpy(query_groups),
        torch.from_numpy(pool_groups),
    )
    expected = [average_precision_score(relevant[q], broken[q]) for q in ranking.queries_Q.tolist()]
    np.testing.assert_allclose(ranking.average_precision_Q, expected)


def test_five_captions_of_one_clip():
    """One-to-many: a clip finds any of its five captions (R@k) or all of them (recall@k)."""
    z_audio, z_text = torch.eye(3), torch.eye(3).repeat_interleave(5, dim=0)
    z_text[1] = torch.eye(3)[2]  # one caption of clip 0 reads like clip 2
    clips, captions = torch.arange(3), torch.arange(3).repeat_interleave(5)
    audio_to_text = retrieval(z_audio, z_text, clips, captions)
    assert audio_to_text["R@1"] == pytest.approx(2 / 3)  # clip 2 is tied with the stray caption
    assert audio_to_text["recall@1"] == pytest.approx((1 / 5 + 1 / 5 + 0) / 3)
    assert audio_to_text["recall@5"] == pytest.approx((4 / 5 + 1 + 4 / 5) / 3)
    text_to_audio = retrieval(z_text, z_audio, captions, clips)
    assert (text_to_audio["queries"], text_to_audio["pool"]) == (15, 3)
    assert text_to_audio["R@1"] == text_to_audio["recall@1"] == pytest.approx(14 / 15)


def test_a_query_does_not_see_itself_or_its_owner():
    z = normalize(torch.randn(8, 6, generator=torch.Generator().manual_seed(0)), dim=-1)
    groups, samples, owners = torch.arange(8) // 4, torch.arange(8), torch.arange(8) // 2
    assert retrieval(z, z, groups, groups)["R@1"] == 1
    without_itself = rank_by_cosine(z, z, groups, groups, hidden=(samples, samples))
    assert without_itself.num_pool_Q.tolist() == [7] * 8
    assert without_itself.num_relevant_Q.tolist() == [3] * 8
    assert without_itself.chance(1) == pytest.approx(3 / 7)
    assert rank_by_cosine(z, z, groups, groups, hidden=(owners, owners)).num_relevant_Q.tolist() == [2] * 8
    with pytest.raises(ValueError, match="hidden from the queries"):
        rank_by_cosine(z, z, samples, samples, hidden=(owners, owners))


def test_queries_of_one_cluster_stay_together_in_the_intervals():
    z = torch.eye(40)
    groups = torch.arange(40)
    z_query = torch.where((groups % 2 == 0)[:, None], z, z.roll(1, 0))  # every second query is right
    alone = retrieval(z_query, z, groups, groups)
    halves = retrieval(z_query, z, groups, groups, clusters=np.array(["right", "wrong"])[groups % 2])
    assert (alone["resampled"], alone["clusters"]) == ("queries", 40)
    assert (halves["resampled"], halves["clusters"]) == ("clusters", 2)
    assert alone["R@1"] == halves["R@1"] == 0.5
    assert halves["ci95_R@1"] == [0, 1]
    assert 0.3 < alone["ci95_R@1"][0] < alone["ci95_R@1"][1] < 0.7
    figures = {name.removeprefix("ci95_") for name in alone if name.startswith("ci95_")}
    at_k = {f"{kind}@{k}" for kind in ("R", "recall") for k in (1, 5, 10)}
    assert figures == at_k | {"median_rank", "mean_rank", "mrr", "map", "ndcg"}
    for name in figures:
        lo, hi = alone[f"ci95_{name}"]
        assert lo <= alone[name] <= hi


def test_late_fusion_by_scores_equals_retrieval_of_the_same_cosines():
    generator = torch.Generator().manual_seed(0)
    z_query = normalize(torch.randn(30, 8, generator=generator), dim=-1)
    z_pool = normalize(torch.randn(40, 8, generator=generator), dim=-1)
    query_groups, pool_groups = torch.arange(30) % 10, torch.arange(40) % 10
    by_scores = rank_by_scores(
        lambda start, stop: z_query[start:stop] @ z_pool.T, 30, query_groups, pool_groups, tie_tolerance=1e-6
    )
    assert by_scores.summary() == retrieval(z_query, z_pool, query_groups, pool_groups)


def test_close_scores_differ_in_the_precision_they_came_in():
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


@pytest.mark.slow
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


def test_matrix_products_arefull_fp32_only_where_scores_are_made():
    backends = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        allowed = [backend.fp32_precision for backend in backends]
        with full_fp32():
            assert [backend.fp32_precision for backend in backends] == ["ieee", "ieee"]
        assert [backend.fp32_precision for backend in backends] == allowed == ["tf32", "bf16"]
    finally:
        torch.set_float32_matmul_precision(before)


def test_figures_are_plain_numbers_and_repeat():
    z = normalize(torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), dim=-1).requires_grad_()
    groups = torch.arange(12) % 5
    figures = retrieval(z, z, groups, groups)
    assert figures == retrieval(z, z, groups, groups)
    assert {type(value) for value in figures.values()} == {float, int, list, str}
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
        rank_by_scores(lambda start, stop: scores, 3, G, G)
