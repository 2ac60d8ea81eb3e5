"""The part of a binder that is exported: one modality's encoder and head, as a function of tensors alone."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bind.model.binder import Binder
from bind.share.spectra import without_fourier
from bind.types import Inputs, Modality

INPUT_NAME, OUTPUT_NAME = "x", "z"
ExportedEncoder = Callable[[Mapping[str, Tensor]], Tensor]
"""An open file: inputs by name, (B, …) each → unit vectors (B, D)."""


class EncoderGraph(nn.Module):
    """Encoder and head of one modality: its inputs, in the order of `input_names` → unit vectors (B, D).

    A copy in fp32 on the CPU, in evaluation mode, whose spectrograms are matrix products; the binder stays as it is.

    Raises:
        ValueError: for a modality of the anchor, or one that the binder does not know.
    """

    def __init__(self, binder: Binder, modality: Modality, input_names: Sequence[str] = (INPUT_NAME,)) -> None:
        super().__init__()
        if modality not in binder.encoders:
            raise ValueError(
                f"modalities=[{modality}]: this binder has encoders for {', '.join(binder.encoders)}; the anchor's own "
                "towers are exported with the tools of the model that they are from"
            )
        self.input_names = tuple(input_names)
        encoder = copy.deepcopy(binder.encoders[modality]).cpu().float().requires_grad_(False)
        self.encoder = without_fourier(encoder).eval()
        self.head = copy.deepcopy(binder.heads[modality]).cpu().float().requires_grad_(False).eval()

    def forward(self, *inputs: Tensor) -> Tensor:
        if self.input_names == (INPUT_NAME,):
            z_BD: Tensor = self.head(self.encoder(inputs[0]))
        else:
            z_BD = self.head(self.encoder(dict(zip(self.input_names, inputs, strict=True))))
        return z_BD


def named_inputs(inputs: Inputs) -> dict[str, Tensor]:
    """The tensors of a batch's inputs by name; a single one is `x`.

    Examples:
        >>> list(named_inputs(torch.zeros(2, 3)))
        ['x']
    """
    return dict(inputs) if isinstance(inputs, dict) else {INPUT_NAME: inputs}


def dynamic_axes(inputs: Sequence[Tensor], *, any_length: bool) -> tuple[dict[int, Any], ...]:
    """For each input the axes whose size an exported file leaves open: rows, and with `any_length` the last axis."""
    dim = torch.export.Dim
    return tuple({0: dim.DYNAMIC} | ({x.ndim - 1: dim.AUTO} if any_length else {}) for x in inputs)


def shortened(inputs: Sequence[Tensor]) -> list[Tensor]:
    """The inputs without the last quarter of their last axis."""
    return [x[..., : x.shape[-1] * 3 // 4].contiguous() for x in inputs]


def takes_any_length(graph: EncoderGraph, inputs: Sequence[Tensor]) -> bool:
    """Whether the last axis of the one input is time, and the encoder takes less of it."""
    if len(inputs) != 1 or inputs[0].ndim > 3:
        return False
    try:
        graph(*shortened(inputs))
    except (ValueError, RuntimeError):
        return False
    return True


@contextlib.contextmanager
def quiet_exporter() -> Iterator[None]:
    """Without what exporters print and warn of: their work is checked by its result."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
