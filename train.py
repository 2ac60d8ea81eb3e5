"""Train, evaluate and report: `python train.py [overrides]`, `python train.py --help`."""

import sys

from bind.commands.checkout import CONFIG_DIR
from bind.commands.failures import report_interrupt
from bind.commands.overrides import suggestions
from bind.commands.running import run_train
from bind.commands.sweeping import sweeps
from bind.terminal import prepare_terminal

prepare_terminal()
sys.excepthook = report_interrupt  # before the imports that take time

import hydra  # noqa: E402
from omegaconf import DictConfig  # noqa: E402


@hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name="train")
def main(cfg: DictConfig) -> float | None:
    return run_train(cfg)


if __name__ == "__main__":
    with suggestions(CONFIG_DIR, "train"), sweeps(sys.argv[1:]):
        main()
