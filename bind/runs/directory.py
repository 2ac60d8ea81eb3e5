"""Run directories: where a run writes, and the resolved config in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from bind.data.sources.shards.patterns import absolute_shards
from bind.files.locks import FolderInUseError, lock_folder
from bind.files.writing import remove_failed_start
from bind.runs.interpolations import resolved
from bind.runs.ownership import refuse_links
from bind.runs.run_config import CONFIG_VERSION, as_list
from bind.training.hydra_private import current_job, is_multirun, output_dir, set_run_dir
from bind.training.lightning_private import is_first_process

OF_ONE_START = ("experiment", "debug", "overwrite")
"""Keys that say nothing of what a run is."""
LISTS_OF_NAMES = (("evaluation", "modalities"), ("evaluation", "known"), ("fusion", "inputs"), ("anchor", "train"))


@contextmanager
def owned_run_dir(cfg: DictConfig) -> Iterator[None]:
    """Own the run directory of a training until it ends; a name by the time that is taken gets a number behind it.

    Its other processes, on this node or others, write where the first one does, and belong to it. Where the training
    fails before its first step, a folder that was not there before is not there afterwards.

    Raises:
        ValueError: where another process writes there, or the folder holds a finished run that nothing asks to change.
    """
    if not is_first_process():
        yield
        return
    unresolved: Any = OmegaConf.to_container(cfg, resolve=False)
    is_by_time = "${now:" in str(unresolved["run_dir"]) and not is_multirun()
    folder = Path(output_dir() or cfg.run_dir).resolve()
    advice = "choose another run_dir, or wait until it has ended"
    refuse_links(folder)
    with ExitStack() as stack:
        for number in count(1):
            numbered = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
            stack.enter_context(remove_failed_start(numbered))
            try:
                stack.enter_context(lock_folder(numbered, advice))
            except FolderInUseError:
                if not is_by_time:
                    raise
                stack.close()
                continue
            if is_finished(numbered) and not (cfg.ckpt or cfg.overwrite):
                if is_by_time:
                    stack.close()
                    continue
                raise ValueError(
                    f"run_dir={numbered} holds a finished run: choose another one, go on with it by ckpt=last (and a "
                    "larger trainer.max_epochs), or write over it with overwrite=true"
                )
            break
        if numbered != folder:
            with open_dict(cfg):
                cfg.run_dir = str(numbered)
            if current_job() is not None:
                set_run_dir(numbered)
        yield


def is_finished(run_dir: Path) -> bool:
    """Whether the folder holds a training that has come to its figures."""
    return (run_dir / "config.yaml").is_file() and (run_dir / "metrics.json").is_file()


def prepare_run_dir(cfg: DictConfig) -> tuple[Path, dict[str, Any]]:
    """The run directory, and the resolved config as plain dicts."""
    if (folder := output_dir()) is not None:
        with open_dict(cfg):
            cfg.run_dir = str(folder)
    run_dir = Path(cfg.run_dir).resolve()
    run_dir.mkdir(parents=True, exist_ok=True)
    with open_dict(cfg):
        cfg.run_dir = str(run_dir)
        for table in ("manifest", "annotations"):  # a run can be evaluated again from any folder
            if cfg.data.get(table):
                cfg.data[table] = str(Path(cfg.data[table]).resolve())
        for name, path in cfg.data.get("manifests", {}).items():
            cfg.data.manifests[name] = str(Path(path).resolve())
        if cfg.data.get("shards"):
            cfg.data.shards = absolute_shards(cfg.data.shards)
    config = resolved(cfg)
    config["modalities"] = as_list(config["modalities"])
    for group, key in LISTS_OF_NAMES:
        if isinstance((config[group] or {}).get(key), str):
            config[group][key] = as_list(config[group][key])
    for name in OF_ONE_START:
        config.pop(name, None)
    config = {"version": CONFIG_VERSION, **config}
    return run_dir, config
