"""Protocols of a binder's parts: transforms, encoders, frozen towers and the cache of what those computed.

Shapes: B_m items of a modality, L tokens, F features, D embedding, V values of a sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import Parameter

from bind.types.batches import Inputs
from bind.types.samples import Modality


@runtime_checkable
class Transform(Protocol):
    """From one value of a sample to one tensor, and from several tensors to an encoder's inputs."""

    def __call__(self, value: Any, rng: np.random.Generator | None) -> Any:
        """`rng` is the sample's own generator in training and None in evaluation, which is deterministic.

        A list of tensors is several clips of the value, whose embeddings are averaged into one.
        """

    def collate(self, items: list[Any]) -> Inputs:
        """Stack what `__call__` returned for B_m values, clip by clip."""


@runtime_checkable
class Encoder(Protocol):
    """A trainable encoder, stem and trunk: a modality's tensor (B_m, …) → features (B_m, `num_features`)."""

    num_features: int

    def __call__(self, x: Tensor) -> Tensor: ...


@runtime_checkable
class TokenEncoder(Protocol):
    """An encoder that also gives the tokens behind its features, for fusions that attend to them."""

    def tokens(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B_m, L, F) and which of them are there, bool (B_m, L)."""


@runtime_checkable
class LayeredEncoder(Protocol):
    """An encoder that names the layers of its trunk, for `train=last_N` and `train=lora`."""

    def layers(self) -> Sequence[nn.Module]:
        """The trunk's layers in the order in which they are passed."""


@runtime_checkable
class LoadedPart(Protocol):
    """An encoder or a transform that was made of files, and says how it is built again where they are not."""

    def saved_arguments(self) -> dict[str, Any]:
        """Plain arguments (JSON) of the constructor that name no file: `pretrained` null, the architecture in full.

        They take the place of those in the config when a binder is saved; its weights come from the binder's file.
        """


class FrozenTower(Protocol):
    """What a feature cache computes with: frozen towers of some modalities, with the transforms that feed them.

    `fingerprint` changes with the weights and with the preprocessing; `trainable` are the modalities whose vectors
    training changes, which can't be cached; vectors have `dim` numbers.
    """

    name: str
    dim: int
    modalities: tuple[Modality, ...]
    transforms: dict[Modality, Transform]

    @property
    def trainable(self) -> Sequence[Modality]: ...

    @property
    def fingerprint(self) -> str: ...

    def embed(self, modality: Modality, inputs: Inputs) -> Tensor:
        """Unit embeddings (B_m, D) of processed inputs."""

    def parameters(self) -> Iterator[Parameter]: ...

    def to(self, device: torch.device) -> Any: ...


class EmbeddingCache(Protocol):
    """Anchor embeddings computed earlier, looked up by sample key."""

    def lookup(
        self,
        modality: Modality,
        keys: Sequence[str],
        *,
        source: int,
        split: str,
        rngs: Sequence[np.random.Generator] | None = None,
    ) -> list[Tensor] | None:
        """One (V, D) tensor of unit vectors per key (V values, 0 if missing); None where this is not cached.

        `source` is the place of the key's source in the mixture. Where several views are cached, the sample's generator
        in `rngs` draws one; without generators it is the plain one.
        """
