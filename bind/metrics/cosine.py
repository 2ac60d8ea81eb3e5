"""Cosines of unit vectors, in full fp32 and with a stated tie."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.functional import normalize

COSINE_TIE_TOLERANCE = 1e-6
"""Cosines closer than this are tied. In fp32 one ulp below 1 is 6e-8, and the product of a query with copies of one
vector (D = 64 … 2048) was seen to spread over up to 5.4e-7, depending on the copy's column and the tile's shape."""

_UNIT_TOLERANCE = 4e-3  # two roundings to bfloat16; such vectors are normalised again in fp32


def check_unit(name: str, z: Tensor) -> None:
    """ValueError unless `z` is a non-empty (N, D) floating-point tensor of unit vectors."""
    if z.ndim != 2 or len(z) == 0 or not z.is_floating_point():
        raise ValueError(f"{name} must be floating-point vectors (N, D) with N > 0, got {z.dtype} {tuple(z.shape)}")
    norms = torch.linalg.vector_norm(z, dim=-1, dtype=torch.float32)
    wrong = (~((norms - 1).abs() <= _UNIT_TOLERANCE)).nonzero().flatten()  # NaN compares false
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(
            f"{name}: {len(wrong)} of {len(z)} vectors are not of unit length; row {row} has "
            f"norm {float(norms[row]):.6g}: normalise them (torch.nn.functional.normalize), or find what made them NaN"
        )


def check_query_and_pool(z_query: Tensor, z_pool: Tensor) -> None:
    """ValueError unless both are unit vectors of one dimension on one device."""
    check_unit("z_query", z_query)
    check_unit("z_pool", z_pool)
    if z_query.shape[1] != z_pool.shape[1] or z_query.device != z_pool.device:
        raise ValueError(
            "z_query and z_pool must have one dimension and one device, got "
            f"{z_query.shape[1]} on {z_query.device} and {z_pool.shape[1]} on {z_pool.device}"
        )


def unit_fp32(z: Tensor) -> Tensor:
    """(N, D) normalised again in fp32, since vectors may come in half precision."""
    return normalize(z.detach().float(), dim=-1)


def cosines(z_query: Tensor, z_pool: Tensor) -> Tensor:
    """(Q, P) products of fp32 unit vectors (Q, D) and (P, D), whatever autocast or TF32 setting surrounds it."""
    with torch.autocast(z_pool.device.type, enabled=False), full_fp32():
        return z_query @ z_pool.T


@contextmanager
def full_fp32() -> Iterator[None]:
    """No TF32 or bf16 inside matrix products, whatever the trainer allowed: their rounding is larger than real gaps."""
    backends = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision
