"""Inputs of a mapper: vectors of the space, or the tokens of one encoder, which are large and computed when needed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from rich.progress import track
from torch import Tensor
from torch.nn.functional import normalize

from bind.model.binder import Binder
from bind.model.frozen import weights_fingerprint
from bind.model.tokens import TokenBatch, embed_tokens, token_widths_of
from bind.types import Clip, Modality

TEXT = "text"

KEPT_AT_ONCE = 64
"""Values whose tokens are computed as one batch before they are kept."""


class MapperInputs(Protocol):
    """What a mapper reads, by row: a tensor of unit vectors (N, D), a `TokenBatch`, or `TokensOfValues`."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: list[int], /) -> Any:
        """What the mapper is called with."""


class TokensOfValues:
    """The tokens of values of one modality, computed when they are asked for, but for those that are kept.

    Args:
        fetch: the values of these rows.
        names: of the values, by which a training knows them again.

    Examples:
        >>> import numpy as np
        >>> sizes = {"size_px": 64, "width": 32, "num_layers": 1}
        >>> binder = Binder.from_config({
        ...     "anchor": {"_target_": "bind.anchors.dual_encoder.PretrainedAnchor", "pretrained": "toy"},
        ...     "modalities": ["depth"],
        ...     "encoder": {"depth": {"_target_": "bind.encoders.map_vit.MapViT", **sizes}},
        ...     "head": {"_target_": "bind.encoders.heads.ProjectionHead"},
        ...     "transform": {"depth": {"_target_": "bind.data.transforms.depth.DepthTransform"}},
        ... })
        >>> tokens = TokensOfValues.of(binder, "depth", [np.full((64, 64), 2.0, np.float32)])
        >>> tokens[[0, 0]].x_BLF.shape
        torch.Size([2, 16, 32])
    """

    def __init__(
        self, binder: Binder, modality: Modality, fetch: Callable[[list[int]], Sequence[Any]], names: Sequence[str]
    ) -> None:
        self.binder, self.modality, self.fetch, self.names = binder, modality, fetch, list(names)
        self._kept: list[Tensor] = []

    @classmethod
    def of(cls, binder: Binder, modality: Modality, values: Sequence[Any]) -> TokensOfValues:
        """Of files (paths) or values."""
        names = [
            str(value) if isinstance(value, str | Path | Clip) else f"{type(value).__name__} {row}"
            for row, value in enumerate(values)
        ]
        return cls(binder, modality, lambda rows: [values[row] for row in rows], names)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, rows: list[int]) -> TokenBatch:
        absent = sorted({row for row in rows if row >= len(self._kept)})
        tokens: dict[int, Tensor] = {row: self._kept[row] for row in rows if row < len(self._kept)}
        if absent:
            computed = embed_tokens(self.binder, self.modality, self.fetch(absent))
            tokens |= dict(zip(absent, computed.unpadded(), strict=True))
        return TokenBatch.of([tokens[row] for row in rows])

    def keep(self, max_bytes: int, *, show: bool = False) -> None:
        """Compute the tokens of the first values, as many as fit into `max_bytes`, and keep them in memory.

        Always in the same batches: whoever does it again gets the same numbers, bit for bit.
        """
        num_bytes, starts = 0, range(len(self._kept), len(self), KEPT_AT_ONCE)
        for start in track(starts, "compute tokens", transient=True, disable=not show):
            rows = list(range(start, min(start + KEPT_AT_ONCE, len(self))))
            tokens = embed_tokens(self.binder, self.modality, self.fetch(rows)).unpadded()
            num_bytes += sum(x.numel() * x.element_size() for x in tokens)
            if num_bytes > max_bytes:
                return
            self._kept += tokens

    @property
    def num_kept(self) -> int:
        """Values whose tokens are in memory, the first ones."""
        return len(self._kept)

    def then(self, others: TokensOfValues) -> TokensOfValues:
        """These and then `others`, of the same binder and modality; nothing is kept."""
        assert (others.binder, others.modality) == (self.binder, self.modality)
        num = len(self)

        def fetch(rows: list[int]) -> list[Any]:
            here, there = [row for row in rows if row < num], [row - num for row in rows if row >= num]
            values = iter(self.fetch(here) if here else ())
            other_values = iter(others.fetch(there) if there else ())
            return [next(values if row < num else other_values) for row in rows]

        return TokensOfValues(self.binder, self.modality, fetch, [*self.names, *others.names])

    def fingerprint(self) -> str:
        """A hash of the encoder, the values' names, and the tokens that are kept."""
        digest = hashlib.blake2b(weights_fingerprint(self.binder.encoders[self.modality]).encode(), digest_size=16)
        digest.update(repr((self.modality, self.names)).encode())
        for x_LF in self._kept:
            digest.update(x_LF.cpu().contiguous().view(torch.uint8).numpy().data)
        return digest.hexdigest()


def fingerprint_inputs(inputs: MapperInputs) -> str:
    """A hash of all that a mapper may read."""
    if isinstance(inputs, TokensOfValues):
        return inputs.fingerprint()
    assert isinstance(inputs, Tensor)
    content = inputs.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def take_with_noise(inputs: MapperInputs, rows: list[int], noise: float, generator: torch.Generator) -> Any:
    """Rows of unit vectors with Gaussian noise of this length, unit vectors again; tokens as they are.

    Noise stands for the gap between texts and others. Tokens are those of the very modality that is read later.
    """
    chosen = inputs[rows]
    if not isinstance(chosen, Tensor):
        return chosen
    noise_RD = torch.randn(len(rows), chosen.shape[1], generator=generator).to(chosen)
    return normalize(chosen + noise * noise_RD / chosen.shape[1] ** 0.5, dim=1)


def width_of_tokens(binder: Binder, modality: Modality | None) -> int:
    """The width of the tokens of a modality that a mapper can read; not of texts, which are what it has to say.

    Raises:
        ValueError: where this binder's encoders give no tokens of it, with what they do.
    """
    widths = {m: width for m, width in token_widths_of(binder).items() if m != TEXT}
    if isinstance(modality, str) and modality in widths:  # of a file it may be anything
        return widths[modality]
    there = f"tokens of {', '.join(widths)}" if widths else "no tokens"
    known = "none is named" if modality is None else f"this binder's encoder of {modality} gives none"
    if modality is not None and str(modality) not in binder.encoders:
        known = f"{modality} has no encoder of its own"
    raise ValueError(
        f"mapper.modality={'null' if modality is None else modality}: a mapper of tokens reads those of one modality, "
        f"and {known}; this binder's encoders give {there}. Encoders that do: encoder/audio=transformer, "
        "encoder/imu=transformer, encoder/audio=whisper, … ; mapper=mlp reads vectors, of every modality"
    )
