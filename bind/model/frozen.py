"""Frozen encoders of a Binder as the feature cache knows towers: what they are called, made of, and compute."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from bind import __version__
from bind.build import ANY_CLASS, build
from bind.encoders.lora import without_adapter
from bind.encoders.trainable import HEAD, is_frozen, set_trained_part
from bind.model.binder import Binder
from bind.model.encoder_and_head import build_encoder, named_by
from bind.types import Anchor, Inputs, LoadedPart, Modality, Transform

OF_TRAINING = ("head", "share", "train", "lora")
"""Options of an encoder that say nothing of the features that it computes."""


class FrozenEncoder:
    """A `FrozenTower` of one modality, whose vectors are the features (B_m, F) of an encoder that does not train.

    Args:
        modality: its own.
        encoder: in eval mode.
        transform: what it is given.
        options: of both in the config, as plain values.
    """

    trainable: Sequence[Modality] = ()

    def __init__(
        self, modality: Modality, encoder: nn.Module, transform: Transform, options: Mapping[str, Any]
    ) -> None:
        self.name = type(encoder).__name__
        self.modalities: tuple[Modality, ...] = (modality,)
        self.transforms = {modality: transform}
        self.encoder = encoder
        self.dim: int = encoder.num_features  # type: ignore[assignment]
        self.options = dict(options)

    def __getstate__(self) -> dict[str, Any]:
        """Its weights in place of its encoder: modules with weights that are computed of others can't be sent."""
        return {**vars(self), "encoder": self.encoder.state_dict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        encoder: nn.Module = build(state["options"]["encoder"], "encoder", trust=ANY_CLASS)
        encoder.load_state_dict(state["encoder"])
        set_trained_part(encoder, HEAD, f"encoder.{state['modalities'][0]}")
        vars(self).update(state, encoder=encoder)

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of weights, buffers and options, and of this version of the code."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(json.dumps([__version__, self.name, self.options], sort_keys=True, default=str).encode())
        _add_tensors(digest, {**dict(self.encoder.named_buffers()), **self.encoder.state_dict()})
        return digest.hexdigest()

    @torch.no_grad()
    def embed(self, modality: Modality, inputs: Inputs) -> Tensor:
        """Features (B_m, F) of processed inputs."""
        features_BF: Tensor = self.encoder(inputs)
        return features_BF

    def parameters(self) -> Iterator[Parameter]:
        return self.encoder.parameters()

    def to(self, device: torch.device) -> FrozenEncoder:
        """This one, with its encoder on `device`."""
        self.encoder.to(device)
        return self


def frozen_encoders(binder: Binder) -> list[FrozenEncoder]:
    """Those of a Binder of which nothing trains (`train=head`)."""
    assert binder.config is not None
    found = []
    for modality, encoder in binder.encoders.items():
        if is_frozen(encoder):
            parts = {"encoder": encoder, "transform": binder.transforms[modality]}
            options = {kind: _options(binder.config[kind][modality], part) for kind, part in parts.items()}
            found.append(FrozenEncoder(modality, encoder, binder.transforms[modality], options))
    return found


def weights_fingerprint(encoder: nn.Module) -> str:
    """A hash of an encoder's weights; an adapter beside them is left out, and with it the names that it gives them."""
    state = encoder.state_dict()
    digest = hashlib.blake2b(digest_size=16)
    _add_tensors(digest, {plain: state[name] for name, plain in without_adapter(state).items()})
    return digest.hexdigest()


def fingerprints_of_files(binder: Binder) -> dict[Modality, str]:
    """Modality → fingerprint of every frozen encoder that its config alone brings back, from files or the anchor."""
    options = (binder.config or {}).get("encoder", {})
    return {
        modality: weights_fingerprint(encoder)
        for modality, encoder in binder.encoders.items()
        if is_frozen(encoder)
        and isinstance(encoder, LoadedPart)
        and modality in options
        and options[modality].get("architecture") is None  # whose weights are random
    }


def _add_tensors(digest: Any, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())


def frozen_encoder_of(
    config: Mapping[str, Any], modality: Modality, anchor: Anchor, *, trust: Sequence[str] = ()
) -> FrozenEncoder:
    """The encoder of one modality alone, as a Binder of this config with `train=head` has it.

    Raises:
        ValueError: where it, or its transform, can't be built, or its weights are in no files.
    """
    of_encoder, of_transform = config["encoder"][modality], config["transform"][modality]
    own = {name: x for name, x in of_encoder.items() if name not in OF_TRAINING}
    with named_by(f"encoder.{modality}"):
        encoder = build_encoder(own, anchor, trust=trust)
    if not isinstance(encoder, LoadedPart) or own.get("architecture") is not None:
        raise ValueError(
            f"encoder.{modality}.train=head: {type(encoder).__name__} has no weights of its own, so its features "
            "are those of one training, which computes them itself. Leave it out with modalities=[…], or choose a "
            "pretrained encoder (docs/pretrained.md)"
        )
    set_trained_part(encoder, HEAD, f"encoder.{modality}")
    with named_by(f"transform.{modality}"):
        transform = build(of_transform, "transform", trust=trust)
    options = {"encoder": _options(of_encoder, encoder), "transform": _options(of_transform, transform)}
    return FrozenEncoder(modality, encoder, transform, options)


def _options(options: Mapping[str, Any], part: Any) -> dict[str, Any]:
    """What a part is built from, wherever its files lie."""
    saved = part.saved_arguments() if isinstance(part, LoadedPart) else {}
    return {name: x for name, x in {**options, **saved}.items() if name not in OF_TRAINING}
