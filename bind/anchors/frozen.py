"""Base of anchors: towers that stay frozen, unit vectors, and a fingerprint of weights and preprocessing."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bind.types import Inputs, Modality, Transform


class FrozenAnchor(nn.Module):
    """An anchor (`bind.types.Anchor`) whose towers stay in eval mode and out of the graph.

    A subclass gives `compute_features` and, where its preprocessing decides vectors, `describe_preprocessing`; one that
    is made of files of this machine also gives `enclose`.

    Args:
        name: hub id, or the name of a folder or a class.
        dim: D, the size of the space.
        transforms: modality → its transform; these are the anchor's modalities.

    Examples:
        >>> from bind.data.transforms.vectors import VectorTransform
        >>> class Rotated(FrozenAnchor):
        ...     def __init__(self) -> None:
        ...         super().__init__("rotated", 2, {"image": VectorTransform(width=2)})
        ...         self.turn = nn.Linear(2, 2, bias=False)
        ...
        ...     def compute_features(self, modality, inputs):
        ...         return self.turn(inputs)
        >>> anchor = Rotated()
        >>> z_BD = anchor.embed("image", torch.tensor([[3.0, 4.0]]))
        >>> round(float(z_BD.norm()), 4), z_BD.requires_grad, len(anchor.fingerprint)
        (1.0, False, 32)
    """

    trainable: Sequence[Modality] = ()

    def __init__(self, name: str, dim: int, transforms: Mapping[Modality, Transform]) -> None:
        super().__init__()
        self.name, self.dim = name, dim
        self.transforms: dict[Modality, Transform] = dict(transforms)
        self.modalities: tuple[Modality, ...] = tuple(transforms)
        self._fingerprint: tuple[Any, str] | None = None

    def train(self, mode: bool = True) -> FrozenAnchor:
        """Keep all modules but this one in eval mode; nothing is dropped, no statistics are updated."""
        super().train(False)
        self.training = mode
        return self

    def compute_features(self, modality: Modality, inputs: Inputs) -> Tensor:
        """What a tower gives for collated inputs, (B_m, D), of any length.

        Of a modality with frames, `video`, this is given the image tower's inputs of one frame of each video.
        """
        raise NotImplementedError

    def describe_preprocessing(self) -> Sequence[str]:
        """All that decides vectors besides the weights, such as the size of pictures and the tokenizer's vocabulary."""
        return ()

    def embed(self, modality: Modality, inputs: Inputs) -> Tensor:
        """Unit embeddings (B_m, D) in fp32 of processed inputs; without a graph where the tower is frozen.

        Args:
            modality: one of `modalities`.
            inputs: what its transform collates; of `video` that of `image` with an axis of frames more, (B_m, T, …).

        Raises:
            ValueError: where the features have another width than `dim`.
        """
        frozen = modality not in self.trainable
        with torch.no_grad() if frozen else contextlib.nullcontext():
            if modality == "video":
                return self._embed_frames(inputs)
            return self._unit_vectors(modality, inputs)

    def _unit_vectors(self, modality: Modality, inputs: Inputs) -> Tensor:
        features = self.compute_features(modality, inputs)
        if features.ndim != 2 or features.shape[1] != self.dim:
            raise ValueError(
                f"anchor {self.name}: {type(self).__name__}.compute_features gives {modality} the shape "
                f"{tuple(features.shape)}, which has to be (B, {self.dim}): its dim is {self.dim}. Give it the dim of "
                "its towers, or project their features"
            )
        return nn.functional.normalize(features.float(), dim=-1)

    def _embed_frames(self, inputs: Inputs) -> Tensor:
        """The mean of the unit embeddings of `{"pixel_values": (B, T, 3, H, W)}`, normalised once."""
        assert isinstance(inputs, dict)
        num_frames = inputs["pixel_values"].shape[1]
        frames = ({name: x[:, t] for name, x in inputs.items()} for t in range(num_frames))
        z_TBD = torch.stack([self._unit_vectors("image", x) for x in frames])
        return nn.functional.normalize(z_TBD.mean(dim=0), dim=-1)

    def towers(self) -> Sequence[nn.Module]:
        """The modules that hold the weights."""
        return list(self.children())

    def enclose(self, folder: Path) -> dict[str, Any]:
        """See `bind.types.Anchor.enclose`; this one is made of no file."""
        return {}

    @property
    def fingerprint(self) -> str:
        """A hash of the weights and of the preprocessing: two anchors that share it give the same vectors.

        It is computed again only where a weight has been written since; moving them to a device writes none.
        """
        weights = [(name, id(p), p.dtype, 0 if p.is_inference() else p._version) for name, p in self.named_parameters()]
        buffers = [(name, x.dtype, tuple(x.shape)) for name, x in self.named_buffers()]
        state = (weights, buffers, self.describe_preprocessing())
        if self._fingerprint is None or self._fingerprint[0] != state:
            self._fingerprint = state, self._hash()
        return self._fingerprint[1]

    def _weights(self) -> Mapping[str, Tensor]:
        return self.state_dict()

    def _hash(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for name, tensor in sorted(self._weights().items()):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
        for part in self.describe_preprocessing():
            digest.update(part.encode())
        return digest.hexdigest()
