import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import tiny
from support.cache_cases import ENGINE, World, options

from bind.anchors.dual_encoder import PretrainedAnchor
from bind.cache.build import build_cache
from bind.cache.lookup import AnchorCache, CachedEmbeddings, RowsInMemory, hash_keys, index_keys
from bind.types import Sample, stable_id


@pytest.fixture(scope="module")
def anchor(tmp_path_factory):
    return PretrainedAnchor(str(tiny.write_anchor(tmp_path_factory.mktemp("anchor"))))


def entry(counts, num_views=1, dim=3):
    """Row r of view k is (r, k, 1) before it gets unit norm."""
    num_rows = sum(counts)
    z_RKD = np.ones((num_rows, num_views, dim), np.float16)
    z_RKD[..., 0] = np.arange(num_rows)[:, None]
    z_RKD[..., 1] = np.arange(num_views)
    hashes = hash_keys(samples(f"k{i}" for i in range(len(counts))))
    return CachedEmbeddings(*index_keys(hashes, np.array(counts)), RowsInMemory(z_RKD))


def samples(keys):
    return [Sample(key, "train", {}) for key in keys]


def row_and_view(z_D):
    return round(float(z_D[0] / z_D[2])), round(float(z_D[1] / z_D[2]))


@pytest.mark.slow
@settings(max_examples=40)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_every_key_gets_its_own_rows_in_order(counts, random):
    cached = entry(counts)
    positions = [random.randrange(len(counts)) for _ in range(20)]
    for index, z in zip(positions, cached.lookup([f"k{i}" for i in positions]), strict=True):
        first = sum(counts[:index])
        assert [row_and_view(z_D)[0] for z_D in z] == list(range(first, first + counts[index]))
        torch.testing.assert_close(z.norm(dim=-1), torch.ones(len(z)))


def test_a_sample_draws_its_view_and_evaluation_sees_the_plain_one():
    cached = entry([2, 0, 1], num_views=4)
    assert [row_and_view(z) for z in cached.lookup(["k0"])[0]] == [(0, 0), (1, 0)]
    drawn = set()
    for seed in range(20):
        both, none, last = cached.lookup(["k0", "k1", "k2"], [np.random.default_rng([seed, i]) for i in range(3)])
        assert len(none) == 0
        assert [row_and_view(z)[0] for z in both] == [0, 1]
        views = [np.random.default_rng([seed, i]).integers(4) for i in range(3)]
        assert [row_and_view(z)[1] for z in both] == [views[0]] * 2
        assert row_and_view(last[0]) == (2, views[2])
        drawn.add(int(views[0]))
    assert drawn == {0, 1, 2, 3}


def test_one_view_draws_nothing():
    rngs = [np.random.default_rng(3)]
    entry([1]).lookup(["k0"], rngs)
    assert rngs[0].random() == np.random.default_rng(3).random()


def test_a_key_that_was_never_cached_is_reported():
    with pytest.raises(ValueError, match="lacks the key 'elsewhere'"):
        entry([1, 2]).lookup(["k0", "elsewhere"])
    with pytest.raises(ValueError, match="lacks the key"):
        entry([1]).lookup([max((f"x{i}" for i in range(100)), key=stable_id)])


def test_two_keys_with_one_hash_are_refused_by_name(monkeypatch):
    with pytest.raises(ValueError, match="the key 'b' comes twice"):
        hash_keys(samples("abcb"))
    monkeypatch.setattr("bind.cache.lookup.stable_id", lambda key: int(key[1:]) // 2)
    with pytest.raises(ValueError, match="'k2' and 'k3' have the same 63-bit hash"):
        hash_keys(samples(["k2", "k9", "k3"]))


def test_places_are_kept_apart():
    cache = AnchorCache({(0, "train", "text"): entry([1]), (1, "train", "text"): entry([0, 2])})
    assert [len(z) for z in cache.lookup("text", ["k1", "k0"], source=1, split="train")] == [2, 0]
    for place in ({"source": 2, "split": "train"}, {"source": 0, "split": "val"}):
        assert cache.lookup("text", ["k0"], **place) is None
    assert cache.lookup("image", ["k0"], source=0, split="train") is None


@pytest.mark.slow
@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("modality", ["image", "text"])
def test_vectors_are_those_of_the_tower(anchor, tmp_path, on_disk, modality):
    world = World()
    place = (0, "train", modality)
    cache = build_cache(anchor, [world], [place], options(tmp_path if on_disk else None), ENGINE, show=False)
    order = np.random.default_rng(0).permutation(len(world.samples("train"))).tolist()
    keys = [world.samples("train")[i].key for i in order]
    vectors = cache.lookup(modality, keys, source=0, split="train")
    transform = anchor.transforms[modality]
    for index, z in zip(order, vectors, strict=True):
        values = world.values(modality, index)
        assert len(z) == len(values)
        if values:
            exact = anchor.embed(modality, transform.collate([transform(value) for value in values]))
            assert (z - exact).abs().max() < 2**-11
            torch.testing.assert_close(z.norm(dim=-1), torch.ones(len(z)))


@pytest.mark.slow
def test_an_open_tower_is_not_cached(anchor):
    opened = PretrainedAnchor(anchor.name, train=["text"])
    with pytest.raises(ValueError, match=r"anchor\.train=\['text'\]"):
        build_cache(opened, [World()], [(0, "train", "text")], options(None), ENGINE)
