"""The parts of a binder, built of its config."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from bind.build import build, locate_class
from bind.encoders.trainable import options_of_training
from bind.model.encoder_and_head import build_encoder_and_head, named_by, token_widths
from bind.types import Modality, Transform


@dataclass
class BinderParts:
    """What a Binder is made of; its arguments have these names."""

    anchor: Any
    encoders: dict[Modality, nn.Module] = field(default_factory=dict)
    heads: dict[Modality, nn.Module] = field(default_factory=dict)
    transforms: dict[Modality, Transform] = field(default_factory=dict)
    fusion: Any = None
    share: dict[Modality, Modality] = field(default_factory=dict)
    train: dict[Modality, str] = field(default_factory=dict)
    lora: dict[Modality, Mapping[str, Any] | None] = field(default_factory=dict)


def build_parts(config: Mapping[str, Any], trust: Sequence[str]) -> BinderParts:
    """Build `{"anchor", "modalities", "encoder", "head", "transform", "fusion"}` of plain dicts.

    Raises:
        ValueError: where a chosen modality has no encoder or transform, or a part can't be built.
    """
    parts = BinderParts(build(config["anchor"], "anchor", trust=trust))
    for modality in config["modalities"]:
        for part in ("encoder", "transform"):
            _require_options(config, modality, part)
        options = dict(config["encoder"][modality])
        if owner := options.pop("share", None):
            parts.share[modality] = owner
        parts.train[modality], parts.lora[modality] = options_of_training(options)
        with named_by(f"encoder.{modality}"):
            encoder, head = build_encoder_and_head(options, config["head"], parts.anchor, trust=trust)
        parts.encoders[modality], parts.heads[modality] = encoder, head
        with named_by(f"transform.{modality}"):
            parts.transforms[modality] = build(config["transform"][modality], "transform", trust=trust)
    fusion = config.get("fusion") or {}
    if fusion.get("_target_"):
        parts.fusion = _build_fusion(fusion, parts, trust)
    return parts


def _require_options(config: Mapping[str, Any], modality: Modality, part: str) -> None:
    if config[part].get(modality):
        return
    known = sorted(m for m, options in config[part].items() if options)
    close = difflib.get_close_matches(str(modality), known, n=1)
    hint = f"did you mean {close[0]}? If not, " if close else ""
    raise ValueError(
        f"modalities={list(config['modalities'])}: {modality} has no {part}; {hint}add one with "
        f"+{part}/{modality}=NAME (known: {', '.join(known)})"
    )


def _build_fusion(options: Mapping[str, Any], parts: BinderParts, trust: Sequence[str]) -> Any:
    """A fusion, which is told the space's width and that of its inputs' tokens where it asks for them."""
    inputs = options.get("inputs") or []
    if len(inputs) < 2:
        raise ValueError("fusion.inputs needs at least two modalities, for example fusion.inputs=[audio,imu]")
    taken = inspect.signature(locate_class(options["_target_"], "fusion", trust)).parameters
    told = {"dim": parts.anchor.dim, "token_widths": token_widths(inputs, parts.encoders, parts.train)}
    return build(options, "fusion", trust=trust, **{name: value for name, value in told.items() if name in taken})
