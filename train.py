"""Train, evaluate and report: `python train.py [overrides]`, `python train.py --help`."""

import hydra
from omegaconf import DictConfig

from bind.cli import CONFIG_DIR, run_job, suggestions


@hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name="train")
def main(cfg: DictConfig) -> float:
    from bind.run import train  # torch, transformers and lightning load once the config is known to be right

    return run_job(train, cfg)


if __name__ == "__main__":
    with suggestions("train"):
        main()
