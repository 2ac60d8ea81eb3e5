"""A binder's files as they are written: weights without adapters, its description, and the adapters beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bind.encoders.lora import merged_state_dict, save_adapter
from bind.encoders.trainable import FULL, LORA
from bind.files.writing import write_text
from bind.model.description import WEIGHTS_NAME, describe_with_anchor
from bind.model.places import CONFIG_NAME
from bind.types import LoadedPart

if TYPE_CHECKING:
    from bind.model.binder import Binder

ADAPTERS_FOLDER = "adapters"


def write_binder(binder: Binder, folder: Path) -> None:
    """Write weights, config and adapters into a folder that is there, and may hold the anchor already.

    Raises:
        ValueError: for a Binder that was not built of a config.
    """
    from safetensors.torch import save_file

    if binder.config is None:
        raise ValueError("this Binder has no config to save: build it with Binder.from_config")
    own = binder.own_state_dict()
    for modality in binder.adapted:
        prefix = f"encoders.{modality}."
        merged = merged_state_dict(binder.encoders[modality])
        own = {name: tensor for name, tensor in own.items() if not name.startswith(prefix)}
        own |= {f"{prefix}{name}": tensor for name, tensor in merged.items()}
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in own.items()}
    save_file(state, folder / WEIGHTS_NAME)
    for modality in binder.adapted:
        save_adapter(binder.encoders[modality], folder / ADAPTERS_FOLDER / modality)
    described = describe_with_anchor(_config_without_files(binder, binder.config), binder.anchor, folder)
    write_text(folder / CONFIG_NAME, json.dumps(described, indent=2) + "\n")


def _config_without_files(binder: Binder, config: dict[str, Any]) -> dict[str, Any]:
    """The config, in which parts that were made of files are described without them."""
    parts: dict[str, Any] = {"encoder": binder.encoders, "transform": binder.transforms}
    saved = {
        kind: {
            m: options | parts[kind][m].saved_arguments() if isinstance(parts[kind][m], LoadedPart) else options
            for m, options in config[kind].items()
        }
        for kind in parts
    }
    for modality, part in binder.trained_parts.items():
        options = saved["encoder"][modality]
        if part == LORA or "lora" in options:  # which may name a folder
            saved["encoder"][modality] = {**options, "lora": None, "train": FULL if part == LORA else part}
    return {**config, **saved}
