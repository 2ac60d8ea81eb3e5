"""An exported program of torch: an encoder for whoever has torch alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from bind.share.graph import EncoderGraph, ExportedEncoder, dynamic_axes, quiet_exporter

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


def open_file(path: Path) -> ExportedEncoder:
    """The program, loaded."""
    with quiet_exporter():
        program = torch.export.load(str(path)).module()

    def run(inputs: Mapping[str, Tensor]) -> Tensor:
        with torch.no_grad():
            z_BD: Tensor = program(*inputs.values())
        return z_BD

    return run
