"""Trunks that encoders of several modalities share: each keeps its stem, the layers are the same weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from bind.types import Modality


def share_trunks(encoders: Mapping[Modality, nn.Module], share: Mapping[Modality, Modality]) -> None:
    """Put the trunk of `share[modality]` into the encoder of every modality in `share`, in place.

    Of a chain (depth from thermal, thermal from audio) all use the last one's. Dropout in a trunk has to be equal too.

    Raises:
        ValueError: naming the keys, where a modality is not there, shares in a circle or has no trunk, or where two
            trunks are not built alike.

    Examples:
        >>> from bind.encoders.map_cnn import MapCNN
        >>> encoders = {"depth": MapCNN(), "thermal": MapCNN()}
        >>> share_trunks(encoders, {"thermal": "depth"})
        >>> encoders["thermal"].trunk is encoders["depth"].trunk
        True
        >>> encoders["thermal"].stem is encoders["depth"].stem
        False
    """
    owners = {modality: _owner(modality, encoders, share) for modality in share}
    for modality, owner in owners.items():
        key = f"encoder.{modality}.share={share[modality]}"
        trunk = _trunk(encoders[owner], f"encoder.{owner}", key)
        replaced = _trunk(encoders[modality], f"encoder.{modality}", key)
        if not any(True for _ in trunk.parameters()):
            raise ValueError(f"{key}: the trunk of encoder.{owner} has no weights to share; raise its num_layers")
        if difference := _difference(replaced, trunk, with_dropout=True):
            raise ValueError(
                f"{key}: the trunk of encoder.{modality} has {difference[0]} where that of encoder.{owner} has "
                f"{difference[1]}; "
                f"give both the same settings, for example encoder/{modality}=transformer encoder/{owner}=transformer"
            )
    for modality, owner in owners.items():
        encoders[modality].trunk = encoders[owner].trunk


def copy_trunk(source: nn.Module, target: nn.Module) -> None:
    """Copy the weights of one encoder's trunk into another's.

    Raises:
        ValueError: where one has no trunk, or the two are not built alike (dropout may differ).
    """
    names = [type(encoder).__name__ for encoder in (source, target)]
    trunks = [_trunk(e, name, "copying a trunk") for e, name in zip((source, target), names, strict=True)]
    if difference := _difference(*trunks, with_dropout=False):
        raise ValueError(
            f"the trunk of {names[0]} has {difference[0]} where that of {names[1]} has {difference[1]}: "
            "give both the same sizes"
        )
    trunks[1].load_state_dict(trunks[0].state_dict())


def _owner(modality: Modality, encoders: Mapping[Modality, nn.Module], share: Mapping[Modality, Modality]) -> Modality:
    chain = [modality]
    while chain[-1] in share:
        owner = share[chain[-1]]
        key = f"encoder.{chain[-1]}.share={owner}"
        if owner in chain:
            circle = " → ".join([*chain[chain.index(owner) :], owner])
            raise ValueError(f"{key}: {circle} is a circle; set encoder.{owner}.share=null")
        for name in (chain[-1], owner):
            if name not in encoders:
                here = ",".join(encoders)
                raise ValueError(f"{key}: {name} has no encoder here; choose it too, now modalities=[{here}]")
        chain.append(owner)
    return chain[-1]


def _trunk(encoder: nn.Module, name: str, needed_for: str) -> nn.Module:
    trunk = getattr(encoder, "trunk", None)
    if not isinstance(trunk, nn.Module):
        raise ValueError(
            f"{needed_for}: {name} ({type(encoder).__name__}) has no trunk; keep the layers that do not depend on its "
            "input's shape in a module `self.trunk`"
        )
    return trunk


def _difference(a: nn.Module, b: nn.Module, *, with_dropout: bool) -> tuple[str, str] | None:
    """The first thing in which two trunks are not alike, as each of them has it."""
    plan_a, plan_b = _plan(a, with_dropout), _plan(b, with_dropout)
    for place in dict.fromkeys([*plan_a, *plan_b]):
        if plan_a.get(place) != plan_b.get(place):
            return _describe_difference(place, plan_a.get(place)), _describe_difference(place, plan_b.get(place))
    return None


def _plan(trunk: nn.Module, with_dropout: bool) -> dict[str, tuple[Any, str]]:
    """Place → class and settings of every module, then shape of every weight."""
    modules = {
        name: (type(module), module.extra_repr())
        for name, module in trunk.named_modules()
        if with_dropout or not hasattr(module, "p")  # the rate of a dropout or a drop path
    }
    return modules | {name: (None, str(tuple(x.shape))) for name, x in trunk.state_dict().items()}


def _describe_difference(place: str, layer: tuple[Any, str] | None) -> str:
    if layer is None:
        return f"no {place}"
    cls, settings = layer
    return f"{cls.__name__}({settings})" + (f" at {place}" if place else "") if cls else f"{place} of shape {settings}"
