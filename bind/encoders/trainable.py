"""Trained part of an encoder: all of it, its last layers, an adapter beside it, or nothing but the head behind it."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from bind.encoders.lora import add_adapter
from bind.types import LayeredEncoder, LoadedPart, Modality

FULL, HEAD, LORA = "full", "head", "lora"
BatchNorm = nn.modules.batchnorm._BatchNorm


def set_trained_part(encoder: nn.Module, train: str, key: str, lora: Mapping[str, Any] | None = None) -> None:
    """Freeze all of `encoder` but what `train` names, in place.

    What is frozen takes no gradient and stays in eval mode whatever `train()` is called: no dropout and no masking of
    spectrograms. BatchNorm of an encoder that was made of files stays in eval mode too.

    Args:
        encoder: any module; `last_N` asks it for its `layers`.
        train: `full`; `head`, which freezes all of it; `last_N`, which leaves the last N of its layers and all modules
            that it registers behind them; `lora`, which puts an adapter beside its layers.
        key: of the config, for messages.
        lora: options of `add_adapter`.

    Raises:
        ValueError: for another `train`; `last_N` of an encoder that has fewer layers or names none; an adapter that
            can't be.

    Examples:
        >>> from bind.encoders.map_vit import MapViT
        >>> encoder = MapViT(size_px=32, width=16, num_layers=3, num_heads=2)
        >>> set_trained_part(encoder, "last_1", "encoder.depth")
        >>> sorted({name.rpartition(".")[0] for name, p in encoder.named_parameters() if p.requires_grad})[:2]
        ['trunk.layers.2.mlp.0', 'trunk.layers.2.mlp.3']
        >>> encoder.train().trunk.layers[0].training
        False
    """
    if train == LORA:
        keep_in_eval_mode(encoder, add_adapter(encoder, lora or {}, key))
        return
    trained = _trained_modules(encoder, train, key)
    if train != FULL:
        trained = [module for module in trained if not isinstance(module, BatchNorm)]
        encoder.requires_grad_(False)
        for module in trained:
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(True)
    elif isinstance(encoder, LoadedPart):
        trained = [module for module in trained if not isinstance(module, BatchNorm)]
    keep_in_eval_mode(encoder, trained)


def keep_in_eval_mode(encoder: nn.Module, trained: list[nn.Module]) -> None:
    """Have `encoder.train()` leave every module in eval mode that is not in `trained`."""
    kept = set(encoder.modules()) - set(trained)
    if kept:
        encoder.train = functools.partial(_train, encoder, kept)  # type: ignore[method-assign]
        encoder.train(encoder.training)


def _train(encoder: nn.Module, kept: set[nn.Module], mode: bool = True) -> nn.Module:
    type(encoder).train(encoder, mode)
    for module in kept:
        module.training = False
    return encoder


def _trained_modules(encoder: nn.Module, train: str, key: str) -> list[nn.Module]:
    modules = list(encoder.modules())
    if train == FULL:
        return modules
    if train == HEAD:
        return []
    number = re.fullmatch(r"last_([1-9]\d*)", str(train))
    if number is None:
        raise ValueError(f"{key}.train={train}: give full, head, lora, or last_N such as last_4")
    if not isinstance(encoder, LayeredEncoder):
        raise ValueError(
            f"{key}.train={train}: {type(encoder).__name__} names no layers; give it a method layers() that returns "
            "them in order, or set train=full or head"
        )
    layers = list(encoder.layers())
    if int(number[1]) > len(layers):
        raise ValueError(f"{key}.train={train}: it has {len(layers)} layers; set train=last_{len(layers)} or full")
    of_first_layer = set(layers[-int(number[1])].modules())
    first = next(position for position, module in enumerate(modules) if module in of_first_layer)
    return modules[first:]


def is_frozen(encoder: nn.Module) -> bool:
    """Whether nothing of it trains, so that the same input has the same features for good."""
    return not encoder.training and not any(parameter.requires_grad for parameter in encoder.parameters())


def require_equal_parts(train: Mapping[Modality, str], share: Mapping[Modality, Modality]) -> None:
    """Raise ValueError where encoders with one trunk would train different parts of it."""
    for modality, owner in share.items():
        of_both = [train.get(m, FULL) for m in (modality, owner)]
        if of_both[0] != of_both[1]:
            raise ValueError(
                f"encoder.{modality}.train={of_both[0]} and encoder.{owner}.train={of_both[1]}: they share a trunk, "
                f"give both the same"
            )
        if LORA in of_both:
            raise ValueError(
                f"encoder.{modality}.train=lora does not go with encoder.{modality}.share={owner}: an adapter belongs "
                "to one encoder; set share=null"
            )


def options_of_training(options: dict[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Take `train` and `lora` out of an encoder's options; those of configs from before there were any are `full`."""
    return options.pop("train", None) or FULL, options.pop("lora", None) or {}
