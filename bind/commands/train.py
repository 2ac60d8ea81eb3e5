"""The training command in Python: `bind.train`."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from bind.build import ANY_CLASS
from bind.commands.checkout import CONFIG_DIR, TRAIN_SCRIPT
from bind.commands.overrides import advice, quote_values
from bind.commands.running import refuse_unset
from bind.runs import jobs
from bind.runs.run import Run
from bind.runs.vector_choices import choose_vectors
from bind.training.hydra_private import outside_of_any_app
from bind.training.resume import overrides_from_python

if TYPE_CHECKING:
    import lightning as L


def train(
    overrides: Iterable[str] = (), *, callbacks: Sequence[L.Callback] = (), config_dir: str | Path | None = None
) -> Run:
    """Train as `python train.py [overrides]` does, and give the run directory that it filled.

    Args:
        overrides: as on the command line, `["experiment=digits", "seed=1"]`.
        callbacks: of Lightning, called besides those of the config; for one process only.
        config_dir: a folder with configs of your own, as `--config-dir` on the command line.

    Returns:
        The run, with `.metrics`, `.binder`, `.config`, `.path` and `.evaluate(split)`.

    Raises:
        ValueError: for what is wrong with the overrides, the data or a checkpoint, with the fix.

    Examples:
        >>> import bind
        >>> run = bind.train(["debug=tiny", "seed=1"])  # doctest: +SKIP
        >>> run.metrics["retrieval"]["audio_to_image"]["R@1"]  # doctest: +SKIP
        0.0087
    """
    if isinstance(overrides, str):
        raise ValueError(f"bind.train({overrides!r}): give a list of overrides, bind.train([{overrides!r}])")
    overrides = tuple(choose_vectors(quote_values(list(overrides)), CONFIG_DIR))
    _require_main_guard()
    with outside_of_any_app():
        cfg = compose_training(overrides, config_dir)
        refuse_unset(cfg)
        _require_one_process_or_script(cfg, overrides, callbacks)
        folder = [] if config_dir is None else ["--config-dir", str(Path(config_dir).resolve())]
        token = overrides_from_python.set(overrides)
        try:
            jobs.train(cfg, callbacks=callbacks, script=[str(TRAIN_SCRIPT), *folder, *overrides])
        finally:
            overrides_from_python.reset(token)
    return Run(cfg.run_dir, trust=ANY_CLASS)


def compose_training(overrides: Sequence[str], config_dir: str | Path | None = None) -> DictConfig:
    """The config of a training; ValueError, with what may have been meant, for overrides that there are not."""
    if flags := [override for override in overrides if override.startswith("-")]:
        raise ValueError(f"{' '.join(flags)}: bind.train takes KEY=VALUE; a sweep is a loop over calls")
    search = [] if config_dir is None else [f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"]
    try:
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            return compose("train", overrides=[*overrides, *search])
    except (HydraException, OmegaConfBaseException) as error:
        lines = advice(_whole_message(error), CONFIG_DIR, "train", overrides)
        raise ValueError("\n".join(lines) or str(error)) from error


def _whole_message(error: BaseException | None) -> str:
    lines = []
    while error is not None:
        lines.append(str(error))
        error = error.__cause__ or error.__context__
    return "\n".join(lines)


def _require_main_guard() -> None:
    """Raise ValueError where another process imports the script that called this, which would train once more."""
    process: Any = multiprocessing.current_process()
    if getattr(process, "_inheriting", False):
        raise ValueError(
            "bind.train was called while a process that it started imports your script: put the call under\n"
            'if __name__ == "__main__":'
        )


def _require_one_process_or_script(cfg: DictConfig, overrides: Sequence[str], callbacks: Sequence[L.Callback]) -> None:
    """Raise ValueError for several processes from a notebook, or with callbacks that can't be handed to them."""
    devices, num_nodes = cfg.trainer.devices, cfg.trainer.num_nodes
    is_one = devices in (1, "1", "auto", None) and num_nodes in (1, None)
    if is_one:
        return
    command = f"python train.py {' '.join(overrides)}"
    if hasattr(sys, "ps1") or "ipykernel" in sys.modules:
        raise ValueError(
            f"trainer.devices={devices}: a notebook can't start several processes of one training. Run\n{command}\n"
            "in a terminal, then bind.Run(PATH) here"
        )
    if callbacks:
        raise ValueError(
            "callbacks of several processes have to be named in the config, which each of them reads: "
            f"+callbacks.NAME={{_target_: MODULE.CLASS}} (trainer.devices={devices}, trainer.num_nodes={num_nodes})"
        )
