"""Train, evaluate and report: `python train.py [overrides]`, `python train.py --help`."""

import sys

import hydra
from omegaconf import DictConfig

from bind.cli import CONFIG_DIR, run_train, suggestions, sweeps


@hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name="train")
def main(cfg: DictConfig) -> float | None:
    return run_train(cfg)


if __name__ == "__main__":
    with suggestions("train"), sweeps(sys.argv[1:]):
        main()
