"""An exported program of torch: an encoder for whoever has torch alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from bind.share.graph import EncoderGraph, dynamic_axes, quiet_exporter

SUFFIX = ".pt2"


def require_runtime() -> None:
    """Torch is there."""


def runtime() -> str:
    """Name and version of what checks the file."""
    return f"torch {torch.__version__}"


def write(graph: EncoderGraph, inputs: Sequence[Tensor], path: Path, *, any_length: bool) -> None:
    """Write a file that takes any number of rows, and with `any_length` inputs of any length."""
    with quiet_exporter():
        program = torch.export.export(
            graph, tuple(inputs), dynamic_shapes=(dynamic_axes(inputs, any_length=any_length),)
        )
        torch.export.save(program, str(path))


def run(path: Path, inputs: dict[str, Tensor]) -> Tensor:
    """What the program makes of the inputs: (B, D)."""
    with quiet_exporter(), torch.no_grad():
        z_BD: Tensor = torch.export.load(str(path)).module()(*inputs.values())
    return z_BD
