import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from bind.metrics import geometry
from bind.metrics.geometry import alignment, effective_rank, hubness, mean_cosine, modality_gap, space, uniformity
from bind.types import Embeddings, Pair

OF_ONE = (mean_cosine, uniformity, effective_rank)
OF_TWO = (modality_gap, alignment, lambda a, b: hubness(a, b, k=3))


def unit(num_rows, dim, seed=0):
    return normalize(torch.randn(num_rows, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def naive_uniformity(z, t):
    distances = torch.pdist(z.double())
    return float((-t * distances.square()).exp().mean().log())


def naive_effective_rank(z):
    p = np.linalg.svd(z.double().numpy(), compute_uv=False)
    p = p[p > 0] / p.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def naive_hubness(z_query, z_pool, k):
    nearest = np.argsort(-(z_query.double() @ z_pool.double().T).numpy(), axis=1)[:, :k]
    counts = np.bincount(nearest.flatten(), minlength=len(z_pool)).astype(float)
    return float(((counts - counts.mean()) ** 3).mean() / counts.std() ** 3)


def test_vectors_that_are_all_equal():
    z = unit(1, 16).expand(50, -1)
    assert mean_cosine(z) == pytest.approx(1.0)
    assert uniformity(z) == pytest.approx(0.0, abs=1e-5)
    assert effective_rank(z) == pytest.approx(1.0, abs=1e-3)
    assert modality_gap(z, z) == 0.0
    assert alignment(z, z) == 0.0
    assert hubness(z, z) == pytest.approx(0.0, abs=1e-6)  # all tie for every place


def test_two_orthogonal_clusters():
    z = torch.eye(8)[:2].repeat_interleave(20, dim=0)
    assert mean_cosine(z) == pytest.approx(19 / 39)  # of the 39 others, 19 are equal
    assert uniformity(z) == pytest.approx(math.log((19 + 20 * math.exp(-4)) / 39))
    assert effective_rank(z) == pytest.approx(2.0)
    assert modality_gap(z[:20], z[20:]) == pytest.approx(math.sqrt(2))
    assert alignment(z[:20], z[20:]) == pytest.approx(2.0)
    assert alignment(z[:20], z[20:], power=1) == pytest.approx(math.sqrt(2))


@pytest.mark.slow
def test_vectors_spread_evenly_over_the_sphere():
    z = unit(4000, 256)
    assert mean_cosine(z) == pytest.approx(0.0, abs=1e-3)
    # E exp(-4 + 4 c) with c normal of variance 1 / D.
    assert uniformity(z) == pytest.approx(-4 + 8 / 256, abs=1e-3)
    assert effective_rank(z) > 240
    assert modality_gap(z[:2000], z[2000:]) == pytest.approx(math.sqrt(2 / 2000), rel=0.1)
    assert effective_rank(torch.eye(6)) == pytest.approx(6.0)


def test_a_hub_is_near_to_every_query():
    # The first item is the middle of all; the others are far from each other.
    others = torch.eye(31)[1:]
    pool = torch.cat([normalize(others.sum(0), dim=0)[None], others])
    assert hubness(others, pool, k=2) > 4
    circle = torch.arange(40) * 2 * math.pi / 40
    z = torch.stack([circle.cos(), circle.sin()], dim=1)
    assert hubness(z, z, k=3) == pytest.approx(0.0, abs=1e-6)


def test_the_cone_of_a_modality_is_its_mean_cosine():
    z = unit(30, 5)
    products = z.double() @ z.double().T
    assert mean_cosine(z) == pytest.approx(float(products.sum() - products.trace()) / (30 * 29))


@pytest.mark.slow
@settings(max_examples=25)
@given(seed=st.integers(0, 999), num_rows=st.integers(5, 40), dim=st.integers(2, 12), tile=st.integers(1, 300))
def test_tiles_equal_the_whole_matrix(seed, num_rows, dim, tile):
    z, other = unit(num_rows, dim, seed), unit(num_rows + 3, dim, seed + 1)
    places = (z @ other.T).sort(dim=1).values
    assume(bool((places[:, -3] - places[:, -4] > 1e-5).all()))  # numpy's order knows no ties
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(geometry, "SCORES_AT_ONCE", tile)
        for t in (0.5, 2.0, 8.0):
            assert uniformity(z, t) == pytest.approx(naive_uniformity(z, t), abs=1e-4)
        assert hubness(z, other, k=3) == pytest.approx(naive_hubness(z, other, 3), abs=1e-3)
    assert effective_rank(z) == pytest.approx(naive_effective_rank(z), rel=1e-3)


@pytest.mark.slow
@settings(max_examples=25)
@given(seed=st.integers(0, 999), num_rows=st.integers(4, 30), dim=st.integers(2, 10))
def test_neither_a_rotation_nor_the_order_changes_a_figure(seed, num_rows, dim):
    a, b = unit(num_rows, dim, seed), unit(num_rows, dim, seed + 1)
    generator = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(torch.randn(dim, dim, generator=generator)).Q
    order = torch.randperm(num_rows, generator=generator)
    for figure in OF_ONE:
        assert figure((a @ rotation)[order]) == pytest.approx(figure(a), abs=1e-3)
    for figure in OF_TWO:
        assert figure((a @ rotation)[order], (b @ rotation)[order]) == pytest.approx(figure(a, b), abs=1e-3)


@pytest.mark.slow
@settings(max_examples=25)
@given(seed=st.integers(0, 999), num_rows=st.integers(2, 30), dim=st.integers(2, 10))
def test_figures_stay_within_their_bounds(seed, num_rows, dim):
    z = unit(num_rows, dim, seed)
    assert 1 <= effective_rank(z) <= min(num_rows, dim) + 1e-6
    assert -8 <= uniformity(z) <= 1e-6  # no pair is further apart than 2
    assert 0 <= modality_gap(z, z.flip(0)) <= 2
    assert 0 <= alignment(z, z.flip(0)) <= 4


def test_half_precision_and_autocast_change_nothing_that_matters():
    z = unit(200, 64)
    with torch.autocast("cpu", torch.bfloat16):
        assert uniformity(z) == pytest.approx(naive_uniformity(z, 2.0), abs=1e-4)
    assert uniformity(z.bfloat16()) == pytest.approx(naive_uniformity(z, 2.0), abs=1e-2)


def test_bad_input_is_refused():
    z = unit(5, 4)
    for figure in OF_ONE:
        with pytest.raises(ValueError, match="unit length"):
            figure(2 * z)
    with pytest.raises(ValueError, match="at least 2"):
        uniformity(z[:1])
    with pytest.raises(ValueError, match="row by row"):
        alignment(z, z[:3])
    with pytest.raises(ValueError, match="one dimension"):
        modality_gap(z, unit(5, 3))
    with pytest.raises(ValueError, match="pool size 5"):
        hubness(z, z, k=6)


def split_of(**z):
    return Embeddings(z, {m: torch.arange(len(x)) for m, x in z.items()}, max(map(len, z.values())))


def test_the_space_of_a_split_has_a_name_for_every_figure():
    figures = space(split_of(audio=unit(20, 4), image=unit(30, 4, 1), imu=unit(1, 4)), [Pair("audio", "image")])
    assert set(figures) == {"audio", "image", "audio-image", "audio_to_image", "image_to_audio"}
    assert set(figures["audio"]) == {"mean_cosine", "uniformity", "effective_rank"}
    assert figures["audio-image"]["alignment"] == pytest.approx(alignment(unit(20, 4), unit(30, 4, 1)[:20]))
    assert figures["image_to_audio"]["hubness"] == pytest.approx(hubness(unit(30, 4, 1)[:20], unit(20, 4)))


def test_a_pair_is_measured_on_the_samples_that_have_both():
    z = {"audio": unit(4, 3), "image": unit(6, 3, 1)}
    rows = {"audio": torch.tensor([0, 0, 2, 5]), "image": torch.tensor([0, 1, 2, 2, 3, 4])}
    figures = space(Embeddings(z, rows, 6), [Pair("audio", "image"), Pair("imu", "image")])
    assert figures["audio-image"]["gap"] == pytest.approx(modality_gap(z["audio"][[0, 2]], z["image"][[0, 2]]))
    assert figures["audio"]["mean_cosine"] == pytest.approx(
        mean_cosine(z["audio"][[0, 2, 3]])
    )  # first value of a sample
    assert "audio_to_image" not in figures  # ten nearest of two say nothing


def test_a_large_split_is_seen_through_evenly_spread_samples(monkeypatch):
    monkeypatch.setattr(geometry, "MAX_SAMPLES", 3)
    z = unit(9, 4)
    assert space(split_of(audio=z), [])["audio"]["uniformity"] == pytest.approx(uniformity(z[[0, 4, 8]]))
