"""Rounded copies of vectors that are scanned in their place, and how far each may be from its vector."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

UNIT_ROUNDOFF = 2.0**-24
"""Of fp32."""


@functools.cache
def has_bf16_products() -> bool:
    """Whether this processor multiplies matrices of bf16 in its own instructions."""
    cpu = torch.cpu
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(cpu, name, lambda: False)()) for name in checks)


def is_multiplied_as_stored(scan: str) -> bool:
    """Whether what is scanned needs no cast to fp32 on this processor."""
    return scan == "bf16" and has_bf16_products()


def default_scan() -> str:
    """`bf16` where the processor multiplies it, else `fp16`: the vectors themselves."""
    return "bf16" if has_bf16_products() else "fp16"


def round_vectors(vectors_ND: Tensor, scan: str) -> tuple[Tensor | None, Tensor | None, float]:
    """The copy that is scanned, scales (N,) of its rows where it has any, and the longest difference to a vector.

    Args:
        vectors_ND: fp16.
        scan: `fp16` for no copy, `bf16`, or `int8` with a scale per vector.

    Examples:
        >>> copy, scales, residual = round_vectors(torch.tensor([[0.5, 0.25, -1.0]]).half(), "int8")
        >>> copy, residual < 0.01
        (tensor([[  64,   32, -127]], dtype=torch.int8), True)
    """
    if scan == "fp16":
        return None, None, 0.0
    exact = vectors_ND.float()
    if scan == "bf16":
        copy, scales = exact.bfloat16(), None
        restored = copy.float()
    else:
        scales = exact.abs().amax(dim=1).clamp_min(2.0**-24) / 127
        copy = (exact / scales[:, None]).round().clamp(-127, 127).to(torch.int8)
        restored = copy.float() * scales[:, None]
    residual = float((exact - restored).double().norm(dim=1).max()) if len(exact) else 0.0
    return copy, scales, residual * (1 + 2.0**-20)


def product_error(num_terms: int) -> float:
    """How far a dot product in fp32 may be from the exact one, of vectors of norm 1, in any order of summation.

    Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, section 3.1: n·u / (1 − n·u); two more terms
    for the rounding of the exact score, and of a scale.
    """
    n = (num_terms + 2) * UNIT_ROUNDOFF
    return n / (1 - n)


def scan_errors(queries_QD: Tensor, scan: str, max_norm: float, residual: float) -> Tensor:
    """How far a score of the scan may be from the fp32 score of the stored vector, (Q,) float64, for every query."""
    dim = queries_QD.shape[1]
    norms_Q = queries_QD.double().norm(dim=1)
    error_Q: Tensor = norms_Q * (max_norm + residual) * product_error(dim) + norms_Q * residual
    if is_multiplied_as_stored(scan):
        rounded_QD = queries_QD.bfloat16()
        error_Q += (queries_QD.double() - rounded_QD.double()).norm(dim=1) * (max_norm + residual)
        error_Q += 2.0**-8 * rounded_QD.double().norm(dim=1) * (max_norm + residual)  # of the products, which are bf16
    return error_Q


def tile_scores(queries_QD: Tensor, tile_RD: Tensor, scales_R: Tensor | None, buffer_RD: Tensor) -> Tensor:
    """Scores (Q, R) fp32 of a tile of what is scanned; `buffer_RD` fp32 takes the tile where it has to be cast."""
    if tile_RD.dtype == torch.bfloat16 and has_bf16_products():
        return torch.mm(queries_QD.bfloat16(), tile_RD.T).float()
    cast_RD = buffer_RD[: len(tile_RD)]
    cast_RD.copy_(tile_RD)
    scores_QR = torch.mm(queries_QD, cast_RD.T)
    return scores_QR if scales_R is None else scores_QR.mul_(scales_R)
