"""Interpolations of a config, `${encoder.audio.pretrained}`, put into plain values."""

from __future__ import annotations

import re
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError

OF_PRETRAINED = "bind.data.transforms.pretrained."
"""Modules of transforms that belong to an encoder; each has the name of its choice of `encoder/…`."""


def resolved(config: DictConfig) -> dict[str, Any]:
    """A config, or a part of one, as plain dicts.

    Raises:
        ValueError: where a value is taken from a key that the other choices do not have, with what to choose.
    """
    try:
        return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]
    except InterpolationKeyError as error:
        missing = re.search(r"'(.+?)' not found", str(error))
        if missing is None or error.full_key is None:
            raise
        raise ValueError(_explain(error.parent_node, str(error.full_key), missing[1])) from error


def _explain(options: Any, key: str, missing: str) -> str:
    """What to do about `key`, one of these options, which is taken from a key that is not there."""
    message = f"{key} is taken from {missing}, which there is not"
    part, _, rest = key.partition(".")
    modality = rest.partition(".")[0]
    if part == "transform" and missing.startswith(f"encoder.{modality}."):
        target = str(options.get("_target_"))
        name = target.split(".")[-2] if target.startswith(OF_PRETRAINED) else "NAME"
        return (
            f"{message}: this transform belongs to an encoder, which brings it along. Choose encoder/{modality}={name} "
            f"and leave transform/{modality}= out, or set {key}=VALUE"
        )
    if part == "encoder" and missing.startswith(f"transform.{modality}."):
        return (
            f"{message}: this encoder takes another transform. Leave transform/{modality}= out or choose another, or "
            f"set {key}=VALUE"
        )
    return f"{message}: set {key}=VALUE, or +{missing}=VALUE"
