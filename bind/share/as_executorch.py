"""ExecuTorch: an encoder for phones and boards, on XNNPACK (extra `executorch`)."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from bind.files.writing import write_bytes
from bind.share.graph import EncoderGraph, ExportedEncoder, quiet_exporter

SUFFIX = ".pte"


def require_runtime() -> None:
    """Raise ValueError where the extra is not installed."""
    try:
        import executorch.runtime  # noqa: F401
    except ImportError as error:
        raise ValueError(f"to=executorch needs its extra ({error}): pip install 'bindspace[executorch]'") from error


def runtime() -> str:
    """Name and version of what checks the file."""
    return f"executorch {importlib.metadata.version('executorch')}"


def write(graph: EncoderGraph, inputs: Sequence[Tensor], path: Path, *, any_length: bool) -> None:
    """Write a file that takes one row of the shape of these: sizes are fixed on a device, whatever `any_length` is."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    with quiet_exporter():
        program = torch.export.export(graph, tuple(x[:1].contiguous() for x in inputs))
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        write_bytes(path, lowered.to_executorch().buffer)


def open_file(path: Path) -> ExportedEncoder:
    """The program in its runtime, which is given row after row."""
    from executorch.runtime import Runtime

    forward = Runtime.get().load_program(str(path)).load_method("forward")

    def run(inputs: Mapping[str, Tensor]) -> Tensor:
        rows = zip(*(x.split(1) for x in inputs.values()), strict=True)
        return torch.cat([forward.execute([x.contiguous() for x in row])[0].clone() for row in rows])

    return run
