import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from bind.evaluation.embedded import EmbeddedSplit
from bind.report.scatter import MIN_UMAP_POINTS, projections, shown_samples


def split_of(counts, dim=6, seed=0):
    """Modalities of as many vectors, each around a place of its own."""
    generator = torch.Generator().manual_seed(seed)
    z = {
        m: normalize(2 * torch.randn(dim, generator=generator) + torch.randn(n, dim, generator=generator), dim=1)
        for m, n in counts.items()
    }
    n = max(counts.values())
    rows = {m: torch.arange(count) for m, count in counts.items()}
    return EmbeddedSplit([str(i) for i in range(n)], torch.arange(n), z, rows)


def naive(z_fit, z_shown):
    """Principal components by singular values, each axis with its largest weight upwards, framed."""
    mean = z_fit.mean(axis=0)
    _, sizes, axes = np.linalg.svd(z_fit - mean, full_matrices=False)
    points = (z_shown - mean) @ np.stack([a * np.sign(a[np.abs(a).argmax()]) for a in axes[:2]], axis=1)
    low, high = points.min(axis=0), points.max(axis=0)
    return (points - (low + high) / 2) / ((high - low).max() / 2), sizes[:2] ** 2 / (sizes**2).sum()


def test_samples_are_drawn_without_replacement_and_fewer_are_the_beginning_of_more():
    many = shown_samples(1000, 300)
    assert len(set(many)) == 300
    assert max(many) < 1000
    assert shown_samples(1000, 20) == many[:20] != list(range(20))
    assert sorted(shown_samples(7, 300)) == list(range(7))


def test_principal_components_are_those_of_the_whole_split():
    split = split_of({"image": 50, "audio": 20, "text": 35})
    shown = {"image": torch.tensor([3, 1]), "audio": torch.arange(20), "text": torch.tensor([34])}
    plain, centred = projections(split, shown)
    z = {m: x.double().numpy() for m, x in split.z.items()}
    expected, shares = naive(
        np.concatenate(list(z.values())), np.concatenate([z[m][p.numpy()] for m, p in shown.items()])
    )
    np.testing.assert_allclose(plain.points_n2, expected, atol=1e-5)
    assert plain.note.startswith(f"{shares[0]:.0%} and {shares[1]:.0%} of the variance")
    own = {m: x - x.mean(axis=0) for m, x in z.items()}
    expected, _ = naive(
        np.concatenate(list(own.values())), np.concatenate([own[m][p.numpy()] for m, p in shown.items()])
    )
    np.testing.assert_allclose(centred.points_n2, expected, atol=1e-5)


def test_points_lie_in_the_frame_and_touch_it():
    split = split_of({"a": 30, "b": 30})
    for projection in projections(split, {m: torch.arange(30) for m in "ab"}):
        assert projection.points_n2.shape == (60, 2)
        assert float(projection.points_n2.abs().max()) == pytest.approx(1)


def test_equal_vectors_are_one_point():
    z = torch.zeros(4, 3) + torch.tensor([1.0, 0, 0])
    split = EmbeddedSplit(list("abcd"), torch.arange(4), {"image": z}, {"image": torch.arange(4)})
    for projection in projections(split, {"image": torch.arange(4)}):
        assert torch.equal(projection.points_n2, torch.zeros(4, 2, dtype=torch.double))


@pytest.mark.filterwarnings("ignore")
def test_umap_keeps_clusters_together_and_is_the_same_again():
    pytest.importorskip("umap")
    split = split_of({"a": MIN_UMAP_POINTS, "b": MIN_UMAP_POINTS}, dim=32)
    shown = {m: torch.arange(MIN_UMAP_POINTS) for m in "ab"}
    first, again = projections(split, shown)[2], projections(split, shown)[2]
    assert torch.equal(first.points_n2, again.points_n2)
    a, b = first.points_n2.split(MIN_UMAP_POINTS)
    assert (a.mean(dim=0) - b.mean(dim=0)).norm() > 2 * max(a.std(dim=0).max(), b.std(dim=0).max())
    few = {m: torch.arange(MIN_UMAP_POINTS // 4) for m in "ab"}
    assert [p.name for p in projections(split, few)] == ["PCA", "PCA, centred"]
