"""What becomes of a modality with little data beside one with much? python benchmarks/mixture.py [--help]

Two toy sources in one run, one with sound, one with motion, for equally many steps: first both whole, then motion cut
to a share of its recordings, with sources drawn in proportion to size ** alpha. Validation R@1, mean ± standard
deviation over seeds; chance is 0.022.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from bind.commands.cli import CONFIG_DIR
from bind.runs.jobs import train

PAIRS = ("audio_to_image", "imu_to_image")
QUIET = {
    "trainer.enable_progress_bar": False,
    "evaluation.num_gallery_queries": 0,
    "evaluation.num_scatter_samples": 0,
    "trainer.max_epochs": 1,
}


def source(name: str, modality: str, num_train: int) -> dict[str, Any]:
    """A toy source of recordings that never change, as real ones don't."""
    modalities = ["image", modality]
    counts = {"num_train": num_train, "num_val_queries": 4, "num_test_queries": 1}
    return {
        "_target_": "bind.data.sources.toy.world.ToySource",
        "name": name,
        "modalities": modalities,
        "fresh": [],
        **counts,
    }


def recalls(num_sounds: int, num_motions: int, alpha: float, steps: int, seed: int) -> list[float]:
    """Validation R@1 of each pair, after one training."""
    values = {
        "data.sources": {
            "sound": source("sound", "audio", num_sounds),
            "motion": source("motion", "imu", num_motions),
        },
        "data.zero_shot": {},
        "data.alpha": alpha,
        "data.steps_per_epoch": steps,
        "evaluation.split": "val",
        "seed": seed,
    }
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"), tempfile.TemporaryDirectory() as run_dir:
        config = compose("train")
        for key, value in {**QUIET, **values, "run_dir": run_dir}.items():
            OmegaConf.update(config, key, value, merge=False)
        train(config)
        retrieval = json.loads((Path(run_dir) / "metrics.json").read_text())["retrieval"]
    return [retrieval[pair]["R@1"] for pair in PAIRS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-train", type=int, default=8000, help="recordings of a whole source")
    parser.add_argument("--share", type=float, default=0.05, help="of the motion recordings that are left")
    parser.add_argument("--alphas", type=float, nargs="+", default=[1.0, 0.5, 0.0])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    whole, few = options.num_train, round(options.num_train * options.share)
    rows = [f"{'sounds':>8} {'motions':>8} {'alpha':>6} {'audio→image':>15} {'imu→image':>15}"]
    for num_motions, alpha in [(whole, 1.0), *((few, alpha) for alpha in options.alphas)]:
        runs = [recalls(whole, num_motions, alpha, options.steps, seed) for seed in options.seeds]
        cells = [
            f"{statistics.fmean(each):.3f} ± {statistics.stdev(each) if len(each) > 1 else 0.0:.3f}"
            for each in zip(*runs, strict=True)
        ]
        rows.append(f"{whole:8} {num_motions:8} {alpha:6} {cells[0]:>15} {cells[1]:>15}")
        print(rows[-1], flush=True)
    print("\n".join(["", *rows, f"{options.steps} steps each, seeds {options.seeds}"]))


if __name__ == "__main__":
    main()
