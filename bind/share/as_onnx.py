"""ONNX: an encoder for onnxruntime and whatever else reads it (extra `onnx`)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bind.share.graph import OUTPUT_NAME, EncoderGraph, ExportedEncoder, dynamic_axes, quiet_exporter
from bind.share.spectra import CONSTANTS

SUFFIX = ".onnx"
OPSET = 20
SMALLEST_WEIGHT = 1024
"""Weights of fewer numbers stay in fp32: they take no room."""


def require_runtime() -> None:
    """Raise ValueError where the extra is not installed."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ValueError(f"to=onnx needs its extra ({error}): pip install 'bindspace[onnx]'") from error


def runtime() -> str:
    """Name and version of what checks the file."""
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__}"


def write(graph: EncoderGraph, inputs: Sequence[Tensor], path: Path, *, any_length: bool) -> None:
    """Write a file that takes any number of rows, and with `any_length` inputs of any length."""
    with quiet_exporter():
        program = torch.onnx.export(
            graph,
            tuple(inputs),
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=(dynamic_axes(inputs, any_length=any_length),),
            input_names=list(graph.input_names),
            output_names=[OUTPUT_NAME],
            verbose=False,
        )
        assert program is not None
        program.save(str(path))


def write_int8(source: Path, path: Path) -> None:
    """Write `source` with the weights of its layers in 8 bits, one scale for each output channel.

    Inputs, activations and the matrices of a spectrogram stay in fp32, so that nothing is calibrated.
    """
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(str(source))
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    stored: list[Any] = []
    for node in list(model.graph.node):
        if node.op_type not in ("Conv", "MatMul", "Gemm") or len(node.input) < 2:
            continue
        name = node.input[1]
        if name not in weights or any(constant in name for constant in CONSTANTS):
            continue
        weight = numpy_helper.to_array(weights[name])
        if weight.size < SMALLEST_WEIGHT or weight.dtype != np.float32:
            continue
        is_transposed = any(a.name == "transB" and a.i for a in node.attribute)
        axis = 0 if node.op_type == "Conv" or is_transposed else weight.ndim - 1
        others = tuple(i for i in range(weight.ndim) if i != axis)
        scales = np.maximum(np.abs(weight).max(axis=others), np.finfo(np.float32).tiny) / 127
        shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
        rounded = np.rint(weight / scales.reshape(shape)).astype(np.int8)
        model.graph.initializer.extend(
            [
                numpy_helper.from_array(rounded, f"{name}_int8"),
                numpy_helper.from_array(scales.astype(np.float32), f"{name}_scales"),
            ]
        )
        stored.append(
            helper.make_node("DequantizeLinear", [f"{name}_int8", f"{name}_scales"], [f"{name}_fp32"], axis=axis)
        )
        node.input[1] = f"{name}_fp32"
    used = {name for node in model.graph.node for name in node.input}
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name in weights and tensor.name not in used]:
        model.graph.initializer.remove(tensor)
    nodes = [*stored, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def open_file(path: Path) -> ExportedEncoder:
    """The file in onnxruntime, on as many threads as torch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(inputs: Mapping[str, Tensor]) -> Tensor:
        [z_BD] = session.run([OUTPUT_NAME], {name: x.numpy() for name, x in inputs.items()})
        return torch.from_numpy(np.asarray(z_BD))

    return run
