"""Exact search against a sort of all scores, for pools and queries of many kinds."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bind.search import rounding, scan
from bind.search.parts import OpenPart
from bind.search.scan import Stretch, search_exactly
from bind.search.store import IndexStore


class PartInMemory(OpenPart):
    """A part whose tensors are in memory."""

    def __init__(self, vectors_ND, kind):
        from bind.search.listing import IndexPart

        copy, scales, residual = rounding.round_vectors(vectors_ND, kind)
        norm = float(vectors_ND.float().norm(dim=1).max()) * (1 + 2**-20)
        super().__init__("", IndexPart("1", "audio", len(vectors_ND), norm, kind, residual, {}), vectors_ND.shape[1])
        self.__dict__ |= {"vectors": vectors_ND, "scanned": vectors_ND if copy is None else copy, "scales": scales}


def unit(num, dim, seed, num_clusters=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(num, dim, generator=generator)
    if num_clusters:
        centres = torch.randn(num_clusters, dim, generator=generator)
        x = centres[torch.randint(num_clusters, (num,), generator=generator)] + 0.05 * x
    return torch.nn.functional.normalize(x, dim=1)


def brute_force(pool, queries_QD, k, keys):
    """Row numbers and scores by a sort of all scores, equal ones by their keys."""
    vectors = torch.cat([s.take(s.part.vectors, 0, len(s)) for s in pool]).double()
    places = np.argsort(np.argsort(np.array(keys), kind="stable"))
    results = []
    for query in queries_QD.double():
        scores = (vectors * query).sum(dim=1).float().numpy()
        order = np.lexsort([places, -scores])[:k]
        results.append((scores[order].tolist(), order.tolist()))
    return results


def check(pool, queries_QD, k, keys):
    best = search_exactly(pool, queries_QD, k, lambda rows: [keys[row] for row in rows])
    for q, (scores, rows) in enumerate(brute_force(pool, queries_QD, k, keys)):
        assert best.rows_QK[q, : len(rows)].tolist() == rows
        assert best.scores_QK[q, : len(rows)].tolist() == scores
        assert (best.rows_QK[q, len(rows) :] == -1).all()
    return best


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_it_finds_what_a_sort_of_all_scores_finds(data):
    """Also of pools of several parts with other copies, of chosen rows, and with vectors that are equal."""
    dim = data.draw(st.sampled_from([1, 3, 16, 65]))
    seed = data.draw(st.integers(0, 10**6))
    rng = np.random.default_rng(seed)
    pool = []
    for number in range(data.draw(st.integers(1, 3))):
        vectors = unit(data.draw(st.integers(1, 300)), dim, seed + number, data.draw(st.sampled_from([0, 3]))).half()
        if data.draw(st.booleans()):
            vectors = vectors[torch.from_numpy(rng.integers(0, 1 + len(vectors) // 4, len(vectors)))]
        rows = None
        if data.draw(st.booleans()):
            rows = torch.from_numpy(np.flatnonzero(rng.random(len(vectors)) < 0.4))
        pool.append(Stretch(PartInMemory(vectors, data.draw(st.sampled_from(["fp16", "bf16", "int8"]))), rows))
    pool = [stretch for stretch in pool if len(stretch)]
    if not pool:
        return
    keys = [f"k{number}" for number in rng.permutation(sum(map(len, pool)))]
    queries = unit(data.draw(st.integers(1, 20)), dim, seed + 99)
    if data.draw(st.booleans()):
        queries[0] = pool[0].part.vectors[0].float()
    check(pool, queries, data.draw(st.sampled_from([1, 2, 10, 400])), keys)


@pytest.mark.parametrize("kind", ["fp16", "bf16", "int8"])
def test_equal_vectors_are_ordered_by_key_however_many_there_are(kind):
    """Five hundred equal vectors: more than candidates of the first scan, so the query is scanned again."""
    vectors = torch.cat([unit(700, 32, 0), unit(1, 32, 5).expand(500, -1), unit(700, 32, 1)]).half()
    keys = [f"{(7919 * row) % 1900:04d}" for row in range(len(vectors))]
    best = check([Stretch(PartInMemory(vectors, kind))], unit(1, 32, 5), 10, keys)
    assert best.num_scanned_again == 1


@pytest.mark.slow
def test_scores_that_differ_by_less_than_the_scan_can_tell_are_told_apart():
    """Vectors in a cluster so narrow that a copy of eight bits gives them all one score."""
    vectors = torch.nn.functional.normalize(unit(1, 64, 0) + 0.002 * unit(3000, 64, 1), dim=1).half()
    best = check([Stretch(PartInMemory(vectors, "int8"))], unit(4, 64, 2), 10, [f"{n:05d}" for n in range(3000)])
    assert best.num_scanned_again == 4
    assert check([Stretch(PartInMemory(vectors, "fp16"))], unit(4, 64, 2), 10, range(3000)).num_scanned_again < 4


def test_better_rows_may_come_last():
    """Every tile brings better rows than all before."""
    query = unit(1, 8, 0)
    sorted_vectors = unit(6000, 8, 1).half()
    order = torch.argsort((sorted_vectors.float() @ query.T).flatten())
    check([Stretch(PartInMemory(sorted_vectors[order], "fp16"))], query, 10, range(6000))


@pytest.mark.slow
@pytest.mark.parametrize("num_queries", [1, 40, 260])
def test_threads_find_the_same_and_leave_the_number_of_threads_as_it_was(num_queries, monkeypatch):
    pool = [Stretch(PartInMemory(unit(n, 16, n).half(), "fp16")) for n in (900, 1, 600)]
    before = torch.get_num_threads()
    monkeypatch.setattr(scan, "ROWS_PER_THREAD", 300)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    restored = []
    monkeypatch.setattr(torch, "set_num_threads", restored.append)
    check(pool, unit(num_queries, 16, 7), 5, range(1501))
    assert set(restored) == {1, 3}
    assert restored[-1] == 3
    monkeypatch.undo()
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("kind", ["fp16", "bf16", "int8"])
@pytest.mark.parametrize("has_bf16", [False, True])
def test_no_score_of_the_scan_is_further_away_than_the_bound(kind, has_bf16, monkeypatch):
    monkeypatch.setattr(rounding, "has_bf16_products", lambda: has_bf16)
    part = PartInMemory(unit(2000, 128, 0, num_clusters=20).half(), kind)
    queries = unit(50, 128, 0, num_clusters=20)
    scores = rounding.tile_scores(queries, part.scanned, part.scales, torch.empty(2000, 128)).double()
    exact = queries.double() @ part.vectors.double().T
    errors = (scores - exact).abs().amax(dim=1)
    bounds = rounding.scan_errors(queries, kind, part.part.max_norm, part.part.residual)
    assert (errors <= bounds).all()
    assert (errors > bounds / 300).any()  # a bound that says something


def test_an_empty_pool_has_no_best():
    best = search_exactly([], torch.ones(2, 4), 3, list)
    assert best.rows_QK.tolist() == [[-1] * 3] * 2
    assert best.scores_QK.tolist() == [[-torch.inf] * 3] * 2


def test_mapped_files_are_searched_as_tensors_in_memory(tmp_path):
    store = IndexStore.create(tmp_path / "index", 16, "print", scan="int8")
    with store.writing():
        for seed in (0, 1):
            store.add("audio", unit(200, 16, seed), {"key": [f"{seed}-{n:03d}" for n in range(200)]})
    pool = [Stretch(part) for part in IndexStore(store.folder).parts]
    check(pool, unit(5, 16, 3), 10, range(400))
