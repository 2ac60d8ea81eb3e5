"""Projections of embeddings onto a plane, and the samples that are shown of a split."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from bind.evaluation.embedded import EmbeddedSplit
from bind.types import Modality

SEED = 0  # of the samples that are shown and of UMAP: the page of a run is always the same
NUM_NEIGHBOURS = 15
TILE = 65_536
MIN_UMAP_POINTS = 100  # for UMAP, whose compilation takes longer than all the rest


@dataclass(frozen=True)
class Projection:
    """Points (n, 2) within [-1, 1], both axes to one scale, and what to know when looking at them."""

    name: str
    points_n2: Tensor
    note: str


def shown_samples(num_samples: int, wanted: int) -> list[int]:
    """Up to `wanted` samples of a split, drawn without replacement; fewer are the beginning of more."""
    return torch.randperm(num_samples, generator=torch.Generator().manual_seed(SEED))[:wanted].tolist()


def projections(split: EmbeddedSplit, shown: dict[Modality, Tensor]) -> list[Projection]:
    """Planes for the vectors at the positions `shown` of each modality, one modality after the other.

    Principal components are those of the whole split: of its vectors, and of its vectors less the mean of their
    modality. UMAP (McInnes et al., 2018; the extra `umap`) knows only the points that are shown.
    """
    means = {m: z.mean(dim=0) for m, z in split.z.items()}
    counts = {m: len(z) for m, z in split.z.items()}
    total = sum(counts.values())
    mean = sum((means[m] * (counts[m] / total) for m in means), torch.zeros(()))
    within_DD = sum((_covariance(split.z[m]) * (counts[m] / total) for m in means), torch.zeros(()))
    offsets = torch.stack([(means[m] - mean) * (counts[m] / total) ** 0.5 for m in means]).double()
    plain = torch.cat([split.z[m][positions] - mean for m, positions in shown.items()])
    centred = torch.cat([split.z[m][positions] - means[m] for m, positions in shown.items()])
    apart = "each modality about its own mean, so that the gap between modalities is gone"
    planes = [
        _principal("PCA", within_DD + offsets.T @ offsets, plain, "all modalities about one mean"),
        _principal("PCA, centred", within_DD, centred, apart),
    ]
    neighbours = _umap(plain + mean, planes[0].points_n2)
    return [*planes, neighbours] if neighbours else planes


def _covariance(z_ND: Tensor) -> Tensor:
    """Double (D, D), without a second copy of all vectors."""
    mean = z_ND.mean(dim=0)
    tiles = ((tile - mean).double() for tile in torch.split(z_ND, TILE))
    return sum((tile.T @ tile for tile in tiles), torch.zeros(())) / len(z_ND)


def _principal(name: str, covariance_DD: Tensor, centred_nD: Tensor, about: str) -> Projection:
    variances, axes = torch.linalg.eigh(covariance_DD)
    axes_D2, share = axes.flip(1)[:, :2], variances.flip(0)[:2] / variances.sum().clamp_min(1e-12)
    # The sign of an axis is arbitrary: its largest weight points up.
    largest = axes_D2.abs().argmax(dim=0)
    axes_D2 = axes_D2 * axes_D2[largest, torch.arange(2)].sign()
    text = f"{share[0]:.0%} and {share[1]:.0%} of the variance of the whole split; {about}"
    return Projection(name, _within_frame(centred_nD.double() @ axes_D2), text)


def _umap(z_nD: Tensor, start_n2: Tensor) -> Projection | None:
    """None where UMAP is not installed, or where there are too few points for neighbourhoods."""
    if len(z_nD) < MIN_UMAP_POINTS:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its libraries' deprecations
            from umap import UMAP
    except ImportError:
        return None
    model = UMAP(
        n_neighbors=NUM_NEIGHBOURS, metric="cosine", init=start_n2.float().numpy(), random_state=SEED, n_jobs=1
    )
    points = torch.from_numpy(model.fit_transform(z_nD.float().numpy())).double()
    note = f"neighbourhoods of {NUM_NEIGHBOURS} by cosine, seed {SEED}; distances between clusters mean little"
    return Projection("UMAP", _within_frame(points), note)


def _within_frame(points_n2: Tensor) -> Tensor:
    low, high = points_n2.min(dim=0).values, points_n2.max(dim=0).values
    return (points_n2 - (low + high) / 2) / ((high - low).max() / 2).clamp_min(1e-12)
