"""The geometry of a space: spread, dimensions, gaps between modalities, hubs.

Shapes: N vectors, Nq queries, Np pool, D embedding. Vectors are normalised again in fp32; products are made in tiles,
so that memory grows with N, and sums are taken in fp64.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from bind.metrics.cosine import COSINE_TIE_TOLERANCE, check_query_and_pool, check_unit, cosines, unit_fp32
from bind.metrics.tiles import SCORES_AT_ONCE
from bind.types import Embeddings, Pair

MAX_SAMPLES = 2048
"""`space` looks at so many samples, evenly spread over a split. With D = 512 a modality takes 0.13 s and a pair 0.3 s
on one CPU core."""


@torch.no_grad()
def mean_cosine(z: Tensor) -> float:
    """Mean cosine between two different vectors of (N, D), N > 1: 1 where all are equal, 0 where they are balanced.

    Source: the cone effect of Liang et al., Mind the Gap (2022), which is measured by this mean.

    Raises:
        ValueError: vectors that are not unit length, or fewer than two.
    """
    z = _check_and_normalise("z", z, at_least=2)
    length_squared = float(z.double().mean(dim=0).square().sum())
    return (len(z) * length_squared - 1) / (len(z) - 1)


@torch.no_grad()
def modality_gap(z_a: Tensor, z_b: Tensor) -> float:
    """Distance between the mean vectors of (Na, D) and (Nb, D), from 0 to 2.

    Source: Liang et al., Mind the Gap: Understanding the Modality Gap in Multi-modal Contrastive Representation
    Learning (2022), where it is ‖Δ_gap‖.

    Raises:
        ValueError: vectors that are not unit length, or of two dimensions or devices.

    Examples:
        >>> z_image, z_audio = torch.eye(4)[:2], torch.eye(4)[2:]  # the modalities lie in two places
        >>> modality_gap(z_image, z_audio)
        1.0
        >>> modality_gap(z_image, z_image)
        0.0
    """
    check_query_and_pool(z_a, z_b)
    return float((unit_fp32(z_a).double().mean(dim=0) - unit_fp32(z_b).double().mean(dim=0)).norm())


@torch.no_grad()
def alignment(z_a: Tensor, z_b: Tensor, power: float = 2.0) -> float:
    """Mean distance to the power of `power` between row i of (N, D) and row i of (N, D), which belong together.

    With power 2 it is 2 - 2 × the mean cosine of the pairs: 0 is perfect, 2 is orthogonal.

    Source: Wang and Isola, Understanding Contrastive Representation Learning through Alignment and Uniformity on the
    Hypersphere (2020), section 4.1, L_align.

    Raises:
        ValueError: vectors that are not unit length, or not one of `z_b` for each of `z_a`.

    Examples:
        >>> z = torch.eye(3)
        >>> alignment(z, z), alignment(z, -z)  # perfect, opposite
        (0.0, 4.0)
        >>> round(alignment(z, z[[1, 2, 0]]), 4)  # orthogonal
        2.0
    """
    check_query_and_pool(z_a, z_b)
    if len(z_a) != len(z_b):
        raise ValueError(f"z_a and z_b must belong together row by row, got {len(z_a)} and {len(z_b)} vectors")
    distances_N = (unit_fp32(z_a) - unit_fp32(z_b)).double().norm(dim=1)
    return float(distances_N.pow(power).mean())


@torch.no_grad()
def uniformity(z: Tensor, t: float = 2.0) -> float:
    """Log of the mean of exp(-t × squared distance) over all pairs of different rows of (N, D), N > 1.

    0 where all vectors are equal, lower the more evenly they cover the sphere: with t = 2 not below -4 × N / (N - 1),
    and about -4 for uniform vectors of many dimensions. A `t` of up to 20 stays within fp32.

    Source: Wang and Isola (2020), section 4.1, L_uniform.

    Raises:
        ValueError: vectors that are not unit length, or fewer than two.

    Examples:
        >>> equal, balanced = torch.eye(3)[[0, 0, 0]], torch.eye(3)
        >>> round(uniformity(equal), 4), round(uniformity(balanced), 4)
        (0.0, -4.0)
    """
    z = _check_and_normalise("z", z, at_least=2)
    total = 0.0
    for start, tile_QP in _tiles(z, z):
        kernel_QP = tile_QP.sub_(1).clamp_(max=0).mul_(2 * t).exp_()
        kernel_QP.diagonal(start).zero_()
        total += float(kernel_QP.sum(dtype=torch.float64))
    return math.log(total / (len(z) * (len(z) - 1)))


@torch.no_grad()
def effective_rank(z: Tensor) -> float:
    """exp of the entropy of the singular values of (N, D), divided by their sum: from 1 to min(N, D).

    1 where all vectors lie on one line; the vectors are not centred, so that equal ones count one dimension.

    Source: Roy and Vetterli, The Effective Rank: A Measure of Effective Dimensionality (2007), section 2.

    Raises:
        ValueError: vectors that are not unit length.

    Examples:
        >>> round(effective_rank(torch.eye(3)), 4)
        3.0
        >>> round(effective_rank(torch.eye(3)[[0, 0, 0]]), 4)  # collapsed onto one direction
        1.0
    """
    x = _check_and_normalise("z", z).double()
    # Eigenvalues of the smaller product are the squares of the singular values.
    product = x.T @ x if len(x) >= x.shape[1] else x @ x.T
    singular_values = torch.linalg.eigvalsh(product).clamp(min=0).sqrt()
    return float(torch.special.entr(singular_values / singular_values.sum()).sum().exp())


@torch.no_grad()
def hubness(z_query: Tensor, z_pool: Tensor, k: int = 10) -> float:
    """Skewness of how often each of (Np, D) is among the `k` nearest of the queries (Nq, D): 0 where all equally often.

    Well above 1, a few items ("hubs") answer very many queries. Items that tie for the last places share them.

    Source: Radovanović et al., Hubs in Space: Popular Nearest Neighbors in High-Dimensional Data (2010), section 2, the
    standardised third moment of N_k; here over two modalities.

    Raises:
        ValueError: vectors that are not unit length, or `k` outside 1 … Np.
    """
    check_query_and_pool(z_query, z_pool)
    if not 1 <= k <= len(z_pool):
        raise ValueError(f"k must lie between 1 and the pool size {len(z_pool)}, got {k}")
    occurrences_N = torch.zeros(len(z_pool), dtype=torch.float64, device=z_pool.device)
    for _, tile_QP in _tiles(unit_fp32(z_query), unit_fp32(z_pool)):
        last_Q1 = tile_QP.topk(k, dim=1).values[:, -1:]
        above_QP = tile_QP > last_Q1 + COSINE_TIE_TOLERANCE
        tied_QP = (tile_QP >= last_Q1 - COSINE_TIE_TOLERANCE) & ~above_QP
        share_Q = (k - above_QP.sum(dim=1)) / tied_QP.sum(dim=1)
        occurrences_N += above_QP.sum(dim=0) + share_Q @ tied_QP.float()
    deviations_N = occurrences_N - occurrences_N.mean()
    variance = float(deviations_N.square().mean())
    # Thirds of a place do not add up exactly.
    return float(deviations_N.pow(3).mean()) / variance**1.5 if variance > 1e-12 else 0.0


def space(embeddings: Embeddings, pairs: Sequence[Pair], k: int = 10) -> dict[str, dict[str, float]]:
    """The geometry of a split, name → figures, of at most `MAX_SAMPLES` samples evenly spread over it.

    `audio`: `mean_cosine`, `uniformity`, `effective_rank` of every modality with two samples; `audio-image`: `gap` and
    `alignment` of every pair that two samples have; `audio_to_image` and back: `hubness` of that pair, where the pool
    has more than `k`. A sample with several values of a modality counts with its first.
    """
    figures: dict[str, dict[str, float]] = {}
    for modality in embeddings.z:
        (z,), _ = embeddings.aligned([modality])
        if len(z) > 1:
            (z,) = _sample_evenly([z])
            figures[modality] = {
                "mean_cosine": mean_cosine(z),
                "uniformity": uniformity(z),
                "effective_rank": effective_rank(z),
            }
    for pair in pairs:
        if pair.a not in embeddings.z or pair.b not in embeddings.z:
            continue
        both, _ = embeddings.aligned([pair.a, pair.b])
        if len(both[0]) > 1:
            z_a, z_b = _sample_evenly(both)
            figures[pair.name] = {"gap": modality_gap(z_a, z_b), "alignment": alignment(z_a, z_b)}
            if len(z_a) > k:
                figures[f"{pair.a}_to_{pair.b}"] = {"hubness": hubness(z_a, z_b, k)}
                figures[f"{pair.b}_to_{pair.a}"] = {"hubness": hubness(z_b, z_a, k)}
    return figures


def _sample_evenly(several: Sequence[Tensor]) -> list[Tensor]:
    num_rows = len(several[0])
    if num_rows <= MAX_SAMPLES:
        return list(several)
    kept = torch.linspace(0, num_rows - 1, MAX_SAMPLES, dtype=torch.float64).round().long()
    return [z[kept] for z in several]


def _check_and_normalise(name: str, z: Tensor, at_least: int = 1) -> Tensor:
    check_unit(name, z)
    if len(z) < at_least:
        raise ValueError(f"{name} must hold at least {at_least} vectors, got {len(z)}")
    return unit_fp32(z)


def _tiles(z_query: Tensor, z_pool: Tensor) -> Iterator[tuple[int, Tensor]]:
    """First query and cosines (Q, Np) of each tile."""
    step = max(1, SCORES_AT_ONCE // len(z_pool))
    for start in range(0, len(z_query), step):
        yield start, cosines(z_query[start : start + step], z_pool)
