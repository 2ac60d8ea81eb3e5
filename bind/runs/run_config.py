"""Config of a run that is there, which says what the run is before anything of it is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from bind.files.plain_data import Kind, require_kinds, require_plain_yaml
from bind.terminal import printable_errors

CONFIG_VERSION = 3
KINDS: dict[str, Kind] = {
    "modalities": list,
    "anchor": dict,
    "encoder": dict,
    "transform": dict,
    "head": dict,
    "pairs": dict,
    "loss": dict,
    "data": dict,
    "evaluation": dict,
    "cache": dict,
    "seed": int,
}
OPTIONAL_KINDS: dict[str, Kind] = {"fusion": (dict, type(None)), "monitor": str, "run_dir": str}
"""What the config of a run holds."""


@printable_errors()
def open_run(run: str) -> tuple[Path, dict[str, Any]]:
    """A finished run's directory and its resolved config."""
    path = Path(run) / "config.yaml"
    if not path.is_file():
        raise ValueError(f"run={run}: no config.yaml there; pass a run directory, the last line that training printed")
    require_plain_yaml(path)
    try:
        loaded = OmegaConf.to_container(OmegaConf.load(path))
    except Exception as error:  # of YAML, of OmegaConf and of what its values are converted by
        raise ValueError(f"{path}: no config of a run ({' '.join(str(error).split())}); copy it again") from error
    config = require_kinds(loaded, {"version": (int, str)}, str(path))
    if config.get("version") != CONFIG_VERSION:
        raise ValueError(
            f"{path} has version {config.get('version')}, this bind reads {CONFIG_VERSION}: classes that its config "
            f"names have moved. Its binder still loads: Binder.load, or a new training with init_from={run}"
        )
    require_kinds(config, KINDS, str(path), optional=OPTIONAL_KINDS)
    return Path(run).resolve(), config


def run_or_binder(cfg: DictConfig) -> str:
    """Which of the two a command works on, `run` or `binder`; ValueError where it names none or both."""
    if (cfg.run is None) == (cfg.binder is None):
        raise ValueError("pass either run=PATH, a run directory, or binder=PATH, a folder that Binder.save wrote")
    return "binder" if cfg.run is None else "run"


def as_list(value: Any) -> list[Any]:
    """The values of a key that takes several: one value, `modalities=audio`, is a list of one; null is none."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple | ListConfig) else [value]
