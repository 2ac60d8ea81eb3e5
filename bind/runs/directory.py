"""Run directories: where a run writes, and the resolved config in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from bind.data.sources.shards.patterns import absolute_shards
from bind.plain_data import Kind, require_kinds, require_plain_yaml
from bind.terminal import printable_errors
from bind.training.hydra_private import output_dir

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
LISTS_OF_NAMES = (("evaluation", "modalities"), ("fusion", "inputs"), ("anchor", "train"))


def prepare_run_dir(cfg: DictConfig) -> tuple[Path, dict[str, Any]]:
    """The run directory, and the resolved config as plain dicts."""
    if (folder := output_dir()) is not None:
        with open_dict(cfg):
            cfg.run_dir = str(folder)
    run_dir = Path(cfg.run_dir).resolve()
    run_dir.mkdir(parents=True, exist_ok=True)
    with open_dict(cfg):
        cfg.run_dir = str(run_dir)
        if cfg.data.get("manifest"):  # a run can be evaluated again from any folder
            cfg.data.manifest = str(Path(cfg.data.manifest).resolve())
        for name, path in cfg.data.get("manifests", {}).items():
            cfg.data.manifests[name] = str(Path(path).resolve())
        if cfg.data.get("shards"):
            cfg.data.shards = absolute_shards(cfg.data.shards)
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    config["modalities"] = as_list(config["modalities"])
    for group, key in LISTS_OF_NAMES:
        if isinstance((config[group] or {}).get(key), str):
            config[group][key] = as_list(config[group][key])
    config = {"version": CONFIG_VERSION, **{k: v for k, v in config.items() if k not in ("experiment", "debug")}}
    return run_dir, config


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


def as_list(value: Any) -> list[Any]:
    """The values of a key that takes several: one value, `modalities=audio`, is a list of one; null is none."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple | ListConfig) else [value]
