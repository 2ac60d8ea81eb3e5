"""Approximate engines: their recall is measured, what they lack is scanned, and scores are those of an exact search."""

import pytest
import torch
from torch.nn.functional import normalize

from bind.search.approximate.building import queries_of_index, share_found
from bind.search.approximate.built import place_of
from bind.search.approximate.engines import ENGINES
from bind.search.index import Index
from bind.search.pools import Pool

DIM = 24


def clustered(num, seed, spread=0.3):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(20, DIM, generator=torch.Generator().manual_seed(99))
    chosen = torch.randint(20, (num,), generator=generator)
    return normalize(centres[chosen] + spread * torch.randn(num, DIM, generator=generator), dim=1)


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.slow if name == "lancedb" else ()) for name in ENGINES])
def engine(request):
    pytest.importorskip(request.param)
    return request.param


@pytest.fixture
def index(tmp_path):
    index = Index.create(tmp_path / "index", dim=DIM)
    for seed in (0, 1):
        keys = [f"{seed}-{n:04d}" for n in range(600)]
        index.add("audio", clustered(600, seed), {"key": keys, "split": ["test", "val"] * 300})
    return index


def hits_of(index, queries, **options):
    return [[(hit.key, hit.score) for hit in hits] for hits in index.search_vectors(queries, **options)]


@pytest.mark.slow
def test_it_reaches_its_recall_with_the_scores_of_an_exact_search(index, engine):
    (about,) = index.build_approximations(engine, recall=0.9)
    assert about.recall >= 0.9
    assert 1 <= about.num_probes <= about.num_clusters == 1200 // 39
    assert "each without itself" in about.queries
    queries = clustered(50, 7)
    exact, approximate = hits_of(index, queries), hits_of(Index.open(index.store.folder, approximate=engine), queries)
    assert share_found(exact, approximate) > 0.8


@pytest.mark.slow
def test_what_comes_and_goes_later_is_respected(index, engine):
    index.build_approximations(engine, recall=1.0)
    opened = Index.open(index.store.folder, approximate=engine)
    query = clustered(1, 7)
    (best, second), *_ = opened.search_vectors(query, top=2)
    index.delete([best.key])
    index.add("audio", query, {"key": ["new"]})
    assert [hit.key for hit in opened.search_vectors(query, top=2)[0]] == ["new", second.key]
    for where in ("split = 'val'", "key = 'new'", "key like '0-00%'"):
        assert hits_of(opened, query, where=where) == hits_of(index, query, where=where)
    with index.store.writing() as store:
        store.compact(is_all=True)
    assert hits_of(opened, query) == hits_of(index, query)


@pytest.mark.slow
def test_the_recall_is_measured_with_the_users_own_queries(index, engine):
    (about,) = index.build_approximations(engine, recall=0.5, queries=clustered(1500, 5))
    assert (about.num_queries, about.queries) == (1000, "given")
    index.add("image", clustered(300, 3), {"key": [f"i{n}" for n in range(300)]})
    queries, own_rows, described = queries_of_index(index.store, Pool(index.store, "audio"))
    assert (len(queries), own_rows, described) == (300, None, "vectors of image in the index")


@pytest.mark.slow
def test_below_095_it_is_not_silent(index, engine, caplog):
    (about,) = index.build_approximations(engine, recall=0.01, queries=clustered(200, 5, spread=3.0))
    assert about.num_probes == 1
    assert about.recall < 0.95
    assert f"only {about.recall:.1%}" in about.warning
    Index.open(index.store.folder, approximate=engine)
    assert about.warning in caplog.text


@pytest.mark.slow
def test_few_vectors_and_many_wanted_are_searched_too(tmp_path, engine):
    index = Index.create(tmp_path / "few", dim=DIM)
    index.add("audio", clustered(30, 0), {"key": [str(n) for n in range(30)]})
    index.build_approximations(engine)
    opened = Index.open(index.store.folder, approximate=engine)
    for top in (1, 10, 100):
        assert hits_of(opened, clustered(3, 1), top=top) == hits_of(index, clustered(3, 1), top=top)


@pytest.mark.slow
def test_what_is_missing_or_damaged_is_named(index, engine):
    with pytest.raises(ValueError, match=f"nothing is built with {engine}"):
        Index.open(index.store.folder, approximate=engine)
    index.build_approximations(engine, recall=0.5)
    place = place_of(index.store.folder, engine, "audio")
    for path in place.rglob("*"):
        if path.is_file() and path.name != "about.json":
            path.write_bytes(b"x" * 10)
    with pytest.raises(ValueError, match="Build it again"):
        Index.open(index.store.folder, approximate=engine).search_vectors(clustered(1, 0))
    (place / "about.json").write_text('{"engine": "faiss"}')
    with pytest.raises(ValueError, match=r"about\.json: has no modality"):
        Index.open(index.store.folder, approximate=engine)


def test_engines_and_recalls_that_there_are_not_are_refused(index):
    with pytest.raises(ValueError, match="choose faiss or lancedb"):
        index.build_approximations("hnsw")
    with pytest.raises(ValueError, match=r"recall=1\.5"):
        index.build_approximations("faiss", recall=1.5)
