"""Parts of a binder that begin with the weights of a part of another one: a trunk that other modalities trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from bind.encoders.lora import without_adapter


def rename_parts(saved: Mapping[str, Tensor], own: Iterable[str], parts: Mapping[str, str]) -> dict[str, Tensor]:
    """The weights of parts of a saved binder, under the names of the parts that begin with them.

    A part is the beginning of a weight's name up to a dot: `encoders.audio.trunk`, `encoders.audio`, `heads.imu`. A
    trunk that modalities share has the name of the one it belongs to.

    Args:
        saved: name → weight, as `Binder.own_state_dict` names them.
        own: names of the weights of the binder that takes them.
        parts: part of this binder → part of the saved one.

    Raises:
        ValueError: where a side has no such part, where parts of this binder overlap, or where the two do not hold
            weights of the same names.

    Examples:
        >>> import torch
        >>> saved = {"encoders.audio.trunk.norm.bias": torch.ones(2), "heads.audio.norm.bias": torch.zeros(2)}
        >>> names = ["encoders.imu.trunk.norm.bias", "heads.imu.norm.bias"]
        >>> rename_parts(saved, names, {"encoders.imu.trunk": "encoders.audio.trunk"})
        {'encoders.imu.trunk.norm.bias': tensor([1., 1.])}
    """
    own_names = set(without_adapter(own).values())
    taken: dict[str, Tensor] = {}
    for target, source in parts.items():
        key = f"init_parts.{target}={source}"
        here, there = _names_below(target, own_names), _names_below(source, saved)
        if not here:
            raise ValueError(f"{key}: this binder has no {target}, it has {_describe_parts(own_names)}")
        if not there:
            raise ValueError(f"{key}: these weights hold no {source}, they hold {_describe_parts(saved)}")
        if here != there:
            raise ValueError(
                f"{key}: these weights belong to another architecture: of {source} missing {sorted(here - there)}, "
                f"unexpected {sorted(there - here)}"
            )
        weights = {f"{target}.{name}": saved[f"{source}.{name}"] for name in sorted(there)}
        if twice := sorted(weights.keys() & taken.keys()):
            raise ValueError(f"{key}: {twice[0]} is in another of init_parts too; name each part once")
        taken |= weights
    return taken


def _names_below(part: str, names: Iterable[str]) -> set[str]:
    return {name.removeprefix(f"{part}.") for name in names if name.startswith(f"{part}.")}


def _describe_parts(names: Iterable[str]) -> str:
    """The stems and trunks of encoders, and what else has a name of its own: heads and fusion by modality."""
    parts = {".".join(name.split(".")[: 3 if name.startswith("encoders.") else 2]) for name in names}
    return ", ".join(sorted(parts)) or "none"
