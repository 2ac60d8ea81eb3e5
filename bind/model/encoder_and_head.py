"""Encoder and head of one modality, built of their configs over an anchor."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from bind.build import build, locate_class
from bind.encoders.trainable import HEAD
from bind.types import Anchor, HeadStarter, Modality, TokenEncoder, TowerOwner


@contextlib.contextmanager
def named_by(key: str) -> Iterator[None]:
    """Call `pretrained` in an error by its whole name in the config, `key` in front: a part does not know its own.

    Examples:
        >>> with named_by("encoder.audio"):
        ...     raise ValueError("pretrained=/models/a: there is no such folder")
        Traceback (most recent call last):
        ValueError: encoder.audio.pretrained=/models/a: there is no such folder
    """
    try:
        yield
    except ValueError as error:
        if not str(error).startswith("pretrained="):
            raise
        raise ValueError(re.sub(r"(?<![\w.])pretrained=", f"{key}.pretrained=", str(error))) from error


def build_encoder(options: Mapping[str, Any], anchor: Anchor, *, trust: Sequence[str] = ()) -> nn.Module:
    """Build an encoder of its options; one that takes a `tower` gets the anchor's image tower.

    Unless its `architecture` says what it is built of.

    Raises:
        ValueError: where it can't be built, or the anchor has no tower to copy.
    """
    encoder_class = locate_class(str(options.get("_target_")), "encoder", trust)
    takes_tower = "tower" in inspect.signature(encoder_class).parameters and options.get("architecture") is None
    if takes_tower and not isinstance(anchor, TowerOwner):
        raise ValueError(
            f"{encoder_class.__name__} is a copy of the anchor's image tower, and {anchor.name} "
            f"({type(anchor).__name__}) has none that can be copied: choose anchor=toy, anchor=clip, or another encoder"
        )
    tower = {"tower": anchor.image_tower()} if takes_tower and isinstance(anchor, TowerOwner) else {}
    encoder: nn.Module = build(options, "encoder", trust=trust, **tower)
    return encoder


def build_encoder_and_head(
    options: Mapping[str, Any], head: Mapping[str, Any], anchor: Anchor, *, trust: Sequence[str] = ()
) -> tuple[nn.Module, nn.Module]:
    """Build an encoder, and the head between its features and the anchor's space.

    Args:
        options: of the encoder, see `build_encoder`; its `head` takes the place of those of `head`.
        head: of all heads.

    Raises:
        ValueError: where one of them can't be built.
    """
    options = dict(options)
    head = {**head, **(options.pop("head", None) or {})}
    encoder = build_encoder(options, anchor, trust=trust)
    built_head = build(head, "head", trust=trust, num_features=encoder.num_features, dim=anchor.dim)
    if isinstance(encoder, HeadStarter):
        encoder.start_head(built_head)
    return encoder, built_head


def token_widths(
    inputs: Sequence[Modality], encoders: Mapping[Modality, nn.Module], train: Mapping[Modality, str]
) -> dict[Modality, int]:
    """The inputs of a fusion whose encoders give tokens, and the width of these.

    A frozen encoder gives none: what it computes may come from the cache, which holds features only.
    """
    return {
        m: encoder.num_token_features
        for m, encoder in encoders.items()
        if m in inputs and isinstance(encoder, TokenEncoder) and train.get(m) != HEAD
    }
