"""Anchor of models of one's own: a transform and a module for each modality, with a projection into one space."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bind.anchors.frozen import FrozenAnchor
from bind.files.reading import require_regular_file
from bind.types import Inputs, LoadedPart, Modality, Transform

WEIGHTS_NAME = "towers.safetensors"
MAX_DEPTH = 4
"""Objects within a transform that are looked into for its description."""


class TowersAnchor(FrozenAnchor):
    """Any two towers that share a space, such as an image and a text model with projections that were trained for them.

    A tower is called with what its transform collates, by name where that is a dict, and gives features (B_m, F). The
    towers are frozen and in eval mode whatever they were before.

    Args:
        dim: D, the size of the space.
        towers: modality → module.
        transforms: modality → its `bind.types.Transform`.
        weights: a safetensors file with the projections, `projections.MODALITY.weight` (D, F) and perhaps `.bias`, and
            with the weights of towers, `towers.MODALITY.NAME`, where these don't load theirs by themselves. A tower of
            the file is there whole, one without a projection gives D features. None: no projections.
        name: of the space, in figures and caches.

    Raises:
        ValueError: for other modalities of towers and of transforms, and for weights that are missing or left over.

    Examples:
        >>> from bind.data.transforms.vectors import VectorTransform
        >>> parts = {m: VectorTransform(width=3, unit_length=False) for m in ("image", "text")}
        >>> anchor = TowersAnchor(dim=3, towers={m: nn.Identity() for m in parts}, transforms=parts)
        >>> anchor.embed("text", anchor.transforms["text"].collate([torch.tensor([0.0, 3.0, 4.0])]))
        tensor([[0.0000, 0.6000, 0.8000]])
    """

    def __init__(
        self,
        *,
        dim: int,
        towers: Mapping[Modality, nn.Module],
        transforms: Mapping[Modality, Transform],
        weights: str | None = None,
        name: str = "towers",
    ) -> None:
        if set(towers) != set(transforms) or not towers:
            raise ValueError(
                f"anchor.towers has {sorted(towers)} and anchor.transforms {sorted(transforms)}: give both of each"
            )
        if clash := sorted(m for m in towers if "." in m or not isinstance(towers[m], nn.Module)):
            raise ValueError(f"anchor.towers: {clash} are no modules (torch.nn.Module) under the name of a modality")
        super().__init__(name, dim, transforms)
        state = {} if weights is None else _read(Path(weights))
        self.tower_of = nn.ModuleDict(towers)
        self.projections = nn.ModuleDict(_projections(state, towers, dim, weights))
        if weights is not None:
            self._load(state, weights)
        self.requires_grad_(False)
        self.train()

    def _load(self, state: Mapping[str, Tensor], weights: str) -> None:
        own = {name.replace("tower_of.", "towers.", 1): x for name, x in self.state_dict().items()}
        in_file = {m for m in self.tower_of if any(name.startswith(f"towers.{m}.") for name in state)}
        needed = [n for n in own if not n.startswith("towers.") or n.split(".")[1] in in_file]
        missing, unknown = sorted(set(needed) - set(state)), sorted(set(state) - set(own))
        other = sorted(name for name in set(state) & set(own) if state[name].shape != own[name].shape)
        if missing or unknown or other:
            raise ValueError(
                f"{weights}: these are the weights of other towers: missing {missing[:5]}, unknown {unknown[:5]}, of "
                f"another shape {other[:5]}"
            )
        renamed = {name.replace("towers.", "tower_of.", 1): x for name, x in state.items()}
        self.load_state_dict(renamed, strict=False)

    def compute_features(self, modality: Modality, inputs: Inputs) -> Tensor:
        """The tower's features, projected."""
        tower = self.tower_of[modality]
        features: Tensor = tower(**inputs) if isinstance(inputs, dict) else tower(inputs)
        projection = dict(self.projections).get(modality)
        assert projection is None or isinstance(projection, nn.Linear)
        width = self.dim if projection is None else projection.in_features
        if not isinstance(features, Tensor) or features.ndim != 2 or features.shape[1] != width:
            raise ValueError(self._describe_other_width(modality, features, width))
        return features if projection is None else projection(features)

    def _describe_other_width(self, modality: Modality, features: Any, width: int) -> str:
        tower = f"anchor.towers.{modality} ({type(self.tower_of[modality]).__name__})"
        if not isinstance(features, Tensor) or features.ndim != 2:
            given = f"shape {tuple(features.shape)}" if isinstance(features, Tensor) else type(features).__name__
            return f"{tower} gives {given} where a tower gives a tensor (B, F), one vector for each value: pool in it"
        gives, name = f"{tower} gives {features.shape[1]} features", f"projections.{modality}.weight"
        if modality in self.projections:
            return f"{gives}, and {name} of anchor.weights takes {width}: give the projection trained for this tower"
        return (
            f"{gives}, and the space has anchor.dim={width}: set anchor.dim={features.shape[1]}, or put its "
            f"projection, {name} of shape ({width}, {features.shape[1]}), into the file of anchor.weights"
        )

    def embed(self, modality: Modality, inputs: Inputs) -> Tensor:
        """Unit embeddings (B_m, D) in fp32; a tower of video takes what its own transform collates."""
        with torch.no_grad():
            return nn.functional.normalize(self.compute_features(modality, inputs).float(), dim=-1)

    def towers(self) -> Sequence[nn.Module]:
        """One for each modality, and the projections."""
        return [*self.tower_of.values(), *self.projections.values()]

    def describe_preprocessing(self) -> Sequence[str]:
        """Each modality with what its transform is made of, see `describe_transform`."""
        return [f"{m}: {describe_transform(transform)}" for m, transform in sorted(self.transforms.items())]

    def enclose(self, folder: Path) -> dict[str, Any]:
        """All weights, and of towers and transforms that are made of files how they are built without."""
        state = {name.replace("tower_of.", "towers.", 1): x for name, x in self.state_dict().items()}
        save_file({name: x.detach().cpu().clone().contiguous() for name, x in state.items()}, folder / WEIGHTS_NAME)
        parts: dict[str, Mapping[Modality, Any]] = {"towers": dict(self.tower_of), "transforms": self.transforms}
        rebuilt = {
            kind: {m: part.saved_arguments() for m, part in of_kind.items() if isinstance(part, LoadedPart)}
            for kind, of_kind in parts.items()
        }
        return {
            "weights": folder / WEIGHTS_NAME,
            **{kind: arguments for kind, arguments in rebuilt.items() if arguments},
        }


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix != ".safetensors":
        raise ValueError(f"{path}: anchor.weights is a .safetensors file; a pickle can hold commands and is not read")
    require_regular_file(path)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} can't be read ({error}): copy the file again") from error


def _projections(
    state: Mapping[str, Tensor], towers: Mapping[Modality, nn.Module], dim: int, weights: str | None
) -> dict[Modality, nn.Module]:
    """A linear layer for each projection that the file holds; its weights are loaded afterwards."""
    projections: dict[Modality, nn.Module] = {}
    for modality in towers:
        weight = state.get(f"projections.{modality}.weight")
        if weight is None:
            continue
        if weight.ndim != 2 or len(weight) != dim:
            raise ValueError(
                f"{weights}: projections.{modality}.weight is {tuple(weight.shape)}; it has to be (anchor.dim={dim}, F)"
            )
        has_bias = f"projections.{modality}.bias" in state
        projections[modality] = nn.utils.skip_init(nn.Linear, weight.shape[1], dim, bias=has_bias)
    return projections


def describe_transform(transform: Any, depth: int = MAX_DEPTH) -> str:
    """What a transform is made of, as text: its class, and all it keeps that is plain, or holds plain values in turn.

    A transform with `fingerprint_parts()` is described by that instead, such as one around a tokenizer.

    Examples:
        >>> from bind.data.transforms.vectors import VectorTransform
        >>> describe_transform(VectorTransform(width=3))
        'bind.data.transforms.vectors.VectorTransform {"unit_length": "True", "width": "3"}'
    """
    if isinstance(transform, str | int | float | bool | None):
        return repr(transform)
    if isinstance(transform, np.ndarray | Tensor):
        array = np.ascontiguousarray(torch.as_tensor(transform).cpu().numpy())
        return f"{array.dtype} {array.shape} {hashlib.blake2b(array.data, digest_size=16).hexdigest()}"
    if isinstance(transform, Mapping):
        items = sorted((str(key), describe_transform(value, depth - 1)) for key, value in transform.items())
        return json.dumps(items)
    if isinstance(transform, list | tuple | set | frozenset):
        items_of = [describe_transform(value, depth - 1) for value in transform]
        return json.dumps(sorted(items_of) if isinstance(transform, set | frozenset) else items_of)
    cls = type(transform)
    path = f"{cls.__module__}.{cls.__qualname__}"
    if hasattr(transform, "fingerprint_parts"):
        return f"{path} {transform.fingerprint_parts()!r}"
    kept = vars(transform) if depth > 0 and hasattr(transform, "__dict__") else {}
    return f"{path} {json.dumps({k: describe_transform(v, depth - 1) for k, v in sorted(kept.items())})}"
