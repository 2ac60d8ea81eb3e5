"""Protocols of a binder's parts: transforms, encoders, frozen towers and the cache of what those computed.

Shapes: B_m items of a modality, L tokens, F features, D embedding, V values of a sample.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from bind.types.batches import Inputs
from bind.types.samples import Modality

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from torch.nn import Parameter


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

    num_token_features: int

    def tokens(self, x: Any) -> tuple[Tensor, Tensor]:
        """Tokens (B_m, L, F) and which of them are there, bool (B_m, L)."""


@runtime_checkable
class MaskedEncoder(TokenEncoder, Protocol):
    """An encoder with a token per patch of its input, some of which can be hidden from it, for `objective.masked`.

    No patch may hold what another one holds too: it could be read there.
    """

    num_patch_values: int

    def patches(self, x: Any) -> tuple[Tensor, Tensor]:
        """Values of each patch (B_m, L, `num_patch_values`), and which patches are there, bool (B_m, L)."""

    def masked_tokens(self, x: Any, is_masked_BL: Tensor, mask_token_F: Tensor, /) -> tuple[Tensor, Tensor]:
        """As `tokens`, where nothing but the place of a masked patch is seen: `mask_token_F` stands for its values."""


@runtime_checkable
class TokenFusion(Protocol):
    """A fusion that attends to the tokens of those inputs whose encoders give them."""

    token_widths: dict[Modality, int]

    def __call__(
        self,
        z: Mapping[Modality, Tensor],
        present: Mapping[Modality, Tensor],
        tokens: Mapping[Modality, tuple[Tensor, Tensor]],
    ) -> Tensor: ...


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


@runtime_checkable
class SensorTransform(Protocol):
    """A transform of sensor recordings: which channels it takes, and how much of a recording is a window."""

    window_seconds: float

    def select_channels(self, channels: Sequence[str], name: str) -> list[int]:
        """The columns that it takes of these channels; ValueError, with the recording's `name`, where one lacks."""

    def frames_of_window(self, sample_rate_hz: float, name: str) -> int:
        """How many frames of a recording at this rate hold a window."""


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
        """Unit embeddings (B_m, D), or features (B_m, F), of processed inputs."""

    def parameters(self) -> Iterator[Parameter]: ...

    def to(self, device: torch.device) -> Any: ...


class Anchor(FrozenTower, Protocol):
    """The frozen model that defines a Binder's space, a `torch.nn.Module` too: all that the rest of bind asks of one.

    `bind.anchors.frozen.FrozenAnchor` is one to inherit from. An encoder for one of its modalities takes that one's
    place.
    """

    def towers(self) -> Sequence[nn.Module]:
        """The modules that hold its weights, whose parts may be called one by one."""

    def enclose(self, folder: Path) -> dict[str, Any]:
        """Copy the files of this machine that building it again needs into an empty folder, that of a saved binder.

        Returns:
            Arguments of the constructor that take the place of those in the config; a `Path` is one in `folder`. Empty
            where no file of this machine is needed.
        """


@runtime_checkable
class TowerOwner(Protocol):
    """An anchor whose image tower encoders can copy."""

    def image_tower(self) -> tuple[nn.Module, nn.Module | None]:
        """A vision model of transformers, and the linear projection of its pooled output; None where it has none."""


@runtime_checkable
class HeadStarter(Protocol):
    """An encoder that knows with which weights a head behind it may start."""

    def start_head(self, head: nn.Module) -> None:
        """Give a head that was just built its weights, where it is such a one; else leave it as it is."""


@runtime_checkable
class TextLookup(Protocol):
    """An anchor without a text tower: `known_texts` are the texts whose vectors it has, maybe none."""

    known_texts: Collection[str]


@runtime_checkable
class CuttingTransform(Protocol):
    """A transform of texts that cuts what its tower does not take."""

    max_tokens: int

    @property
    def notice_of_cut(self) -> str:
        """The message of a text that is cut."""

    def find_cut(self, texts: Sequence[str]) -> list[str]:
        """Those of `texts` that have more than `max_tokens` tokens."""


@dataclass(frozen=True, slots=True)
class CachedVectors:
    """What was computed of the values of some samples, one sample after the other.

    Attributes:
        vectors_ND: unit embeddings (N, D), or features (N, F): a row per value, or per clip of it.
        num_values_B: int64 (B,), values of each sample, 0 where it has none.
        num_clips_V: int64 (V,), clips of each value; None: each has one, N = V.
    """

    vectors_ND: Tensor
    num_values_B: np.ndarray
    num_clips_V: np.ndarray | None = None


class EmbeddingCache(Protocol):
    """Embeddings of the anchor and features of frozen encoders, computed earlier and looked up by sample key."""

    def take(
        self,
        modality: Modality,
        keys: Sequence[str],
        *,
        source: int,
        split: str,
        rngs: Sequence[np.random.Generator] | None = None,
    ) -> CachedVectors | None:
        """The vectors of these samples; None where this is not cached.

        `source` is the place of the key's source in the mixture. Where several views are cached, the sample's generator
        in `rngs` draws one; without generators it is the plain one.
        """
