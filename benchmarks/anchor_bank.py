"""Do cached anchor vectors help as further negatives? python benchmarks/anchor_bank.py [--help]

Trains every data set with a small batch and no bank, with banks, and with a large batch, for equally many steps, and
prints validation figures as mean ± standard deviation over seeds. Digits and HAPT need their manifests (see README).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from bind.cli import CONFIG_DIR
from bind.run import train

DATA_SETS = {"toy": [], "digits": ["experiment=digits"], "hapt": ["experiment=hapt"]}
QUIET = {"trainer.enable_progress_bar": False, "evaluation.num_gallery_queries": 0, "trainer.max_epochs": 1}


def figures(choices: list[str], values: dict[str, Any]) -> dict[str, float]:
    """Validation R@1 over trained pairs, zero-shot top-1, and seconds of the fit, of one training."""
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"), tempfile.TemporaryDirectory() as run_dir:
        config = compose("train", overrides=choices)
        for key, value in {**QUIET, **values, "run_dir": run_dir, "evaluation.split": "val"}.items():
            OmegaConf.update(config, key, value, merge=False)
        train(config)
        metrics = json.loads((Path(run_dir) / "metrics.json").read_text())
    trained = [entry["R@1"] for entry in metrics["retrieval"].values() if entry["trained"]]
    new = [entry["top1"] for name, entry in metrics["zero_shot"].items() if not name.startswith("image")]
    return {
        "R@1": statistics.fmean(trained),
        "top-1": statistics.fmean(new),
        "seconds": metrics["seconds"]["fit"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=DATA_SETS, default=list(DATA_SETS))
    parser.add_argument("--manifest", nargs="*", default=[], metavar="NAME=FILE", help="where digits and hapt lie")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--batch-sizes", type=int, nargs=2, default=[64, 1024], metavar=("SMALL", "LARGE"))
    parser.add_argument("--banks", type=int, nargs="+", default=[1024, 8192])
    options = parser.parse_args()
    manifests = dict(each.split("=", 1) for each in options.manifest)
    small, large = options.batch_sizes
    conditions = [(small, 0), *((small, bank) for bank in options.banks), (large, 0)]
    rows = [f"{'data':8} {'batch':>6} {'bank':>6} {'val R@1':>15} {'val top-1':>15} {'fit seconds':>12}"]
    started = time.perf_counter()
    for data in options.data:
        for batch_size, bank in conditions:
            values: dict[str, Any] = {
                "data.steps_per_epoch": options.steps,
                "data.batch_size": batch_size,
                "loss.bank": bank,
            }
            if data in manifests:
                values["data.manifest"] = manifests[data]
            runs = [figures(DATA_SETS[data], {**values, "seed": seed}) for seed in options.seeds]
            mean = {name: statistics.fmean(run[name] for run in runs) for name in runs[0]}
            spread = {name: statistics.stdev([run[name] for run in runs]) if len(runs) > 1 else 0.0 for name in mean}
            shown = [f"{mean[name]:.3f} ± {spread[name]:.3f}" for name in ("R@1", "top-1")]
            rows.append(f"{data:8} {batch_size:6} {bank:6} {shown[0]:>15} {shown[1]:>15} {mean['seconds']:12.1f}")
            print(rows[-1], flush=True)
    print("\n".join(["", *rows]))
    print(f"{options.steps} steps each, seeds {options.seeds}; {time.perf_counter() - started:.0f} s in all")


if __name__ == "__main__":
    main()
