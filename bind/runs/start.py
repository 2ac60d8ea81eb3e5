"""What a training starts from: the parts that are taken, and what their weights do not show."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bind.model.description import read_description
from bind.model.saved_files import locate
from bind.runs.run_config import open_run

log = logging.getLogger("bind")

OF_TRAINING = ("train", "lora", "share", "head", "pretrained", "architecture")
"""Options of an encoder that its weights show, or that change nothing of what they compute."""


def parts_to_start_from(config: dict[str, Any]) -> dict[str, str] | None:
    """`init_parts`, part of this binder → part of that in `init_from`; None: all. ValueError for anything else."""
    named = config["init_parts"]
    if named is None:
        return None
    if not isinstance(named, dict) or not named or not all(isinstance(part, str) for part in named.values()):
        raise ValueError(
            f"init_parts={named}: give parts here and the parts there that they begin with, "
            "init_parts='{encoders.imu.trunk: encoders.audio.trunk}', or null"
        )
    if config["init_from"] is None and config["ckpt"] is None:
        raise ValueError("init_parts names parts of init_from: set init_from= to a run, a saved binder or a checkpoint")
    return named


def warn_of_other_settings(config: Mapping[str, Any], start: Path, parts: Mapping[str, str] | None) -> None:
    """Warn where encoders and transforms differ from those that the weights in `start` were trained with.

    Weights fit an encoder with another number of heads of attention, which computes something else.

    Args:
        parts: as `parts_to_start_from` gives them; what they name is compared by its heads of attention alone.
    """
    before = _config_of(start)
    if parts is None:
        places = [(kind, m, m) for kind in ("encoder", "transform") for m in config["modalities"]]
    else:
        names = [(there.split("."), here.split(".")) for here, there in parts.items()]
        places = [("encoder", there[1], here[1]) for there, here in names if len(there) > 1 and len(here) > 1]
    differences = [difference for place in places for difference in differing_options(before, config, *place)]
    if parts is not None:
        differences = [difference for difference in differences if ".num_heads:" in difference]
    if differences:
        log.warning("init_from=%s: these weights were trained with other settings: %s", start, ", ".join(differences))


def differing_options(
    before: Mapping[str, Any], now: Mapping[str, Any], kind: str, modality_before: str, modality: str
) -> Iterator[str]:
    """Options that both configs set, and not alike.

    Examples:
        >>> before = {"encoder": {"imu": {"num_heads": 8, "width": 64, "dropout": 0.1}}}
        >>> now = {"encoder": {"imu": {"num_heads": 4, "width": 64}}}
        >>> list(differing_options(before, now, "encoder", "imu", "imu"))
        ['encoder.imu.num_heads: 8 there, 4 here']
    """
    there = (before.get(kind) or {}).get(modality_before) or {}
    here = (now.get(kind) or {}).get(modality) or {}
    if there.get("_target_") != here.get("_target_") and modality == modality_before:
        return  # another class, whose weights do not fit unless they are the same in all but name
    for name, value in here.items():
        if name not in there or name in OF_TRAINING or "drop" in name or isinstance(value, dict | list):
            continue
        if there[name] != value:
            yield f"{kind}.{modality}.{name}: {there[name]} there, {value} here"


def _config_of(start: Path) -> Mapping[str, Any]:
    """The config of a run or a saved binder, or of the run that a checkpoint lies in; {} where it is not known."""
    if not start.is_file():
        return read_description(locate(start), ("*",))[0]  # no place that it names is opened
    try:
        return open_run(str(start.parent.parent))[1]
    except ValueError:  # a checkpoint that lies somewhere else, or of another version, still gives its weights
        return {}
