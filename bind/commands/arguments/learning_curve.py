"""Arguments of `bindspace learning-curve`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

USAGE = """usage: bindspace learning-curve [shares=[0.5,1]] [seeds=[0]] [run_dir=FOLDER] [overrides as for train]

Trains on an eighth, a quarter, half and all of the owners (persons, recordings) of the training split, each as many
steps as on all, and fits a power law: what would twice as many owners bring?

  shares=[0.25,0.5,1]   of the owners, by default [0.125,0.25,0.5,1]; a smaller share is part of a larger one
  seeds=[0,1,2]         of weights, batches and which owners: the more, the narrower the interval
  run_dir=FOLDER        a folder per training, learning_curve.csv and learning_curve.png (default: runs/learning_curve)

The same command again goes on where it was stopped: finished trainings stay. More shares and seeds may be added;
other overrides need another run_dir.

Examples:
  bindspace learning-curve experiment=hapt
  bindspace learning-curve experiment=hapt seeds=[0,1,2,3,4] run_dir=runs/hapt_curve
  bindspace learning-curve data=manifest data.manifest=my.csv modalities=[imu] shares=[0.5,1]"""
OWN_KEYS = ("shares", "seeds", "run_dir")
SET_HERE = ("seed", "data.owner_share", "ckpt", "overwrite")


@dataclass(frozen=True, slots=True)
class LearningCurveArguments:
    """Shares of the owners and seeds of the trainings, their folder, and the overrides that they have in common."""

    shares: Sequence[float]
    seeds: Sequence[int]
    folder: Path
    overrides: Sequence[str]


def read_arguments(arguments: Sequence[str]) -> LearningCurveArguments:
    """What the command line says; where it asks for help, print that and end.

    Raises:
        ValueError: for shares or seeds that are none, and overrides that the command sets itself.
    """
    if any(argument in ("-h", "--help", "help") for argument in arguments):
        print(USAGE)
        raise SystemExit(0)
    own, overrides = _split_arguments(arguments)
    shares = _numbers("shares", own.get("shares", "[0.125,0.25,0.5,1]"), float)
    seeds = [int(seed) for seed in _numbers("seeds", own.get("seeds", "[0]"), int)]
    if not all(0 < share <= 1 for share in shares):
        raise ValueError(f"shares={own['shares']}: give shares above 0, up to 1, [0.25,0.5,1]")
    return LearningCurveArguments(shares, seeds, Path(own.get("run_dir", "runs/learning_curve")), overrides)


def _split_arguments(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    own: dict[str, str] = {}
    overrides = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key.lstrip("+") in SET_HERE:
            raise ValueError(f"{argument}: the command sets this itself; seeds=[0,1] and shares=[0.5,1] choose")
        if key in OWN_KEYS:
            own[key] = value
        else:
            overrides.append(argument)
    return own, overrides


def _numbers(key: str, text: str, kind: type[int] | type[float]) -> list[float]:
    try:
        numbers = [kind(part) for part in re.sub(r"^\[|\]$", "", text.strip()).split(",")]
    except ValueError:
        raise ValueError(f"{key}={text}: give numbers, {key}=[0,1]") from None
    return list(dict.fromkeys(numbers))
