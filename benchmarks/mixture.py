"""What becomes of a modality with little data beside one with much? python benchmarks/mixture.py [--help]

Two toy sources in one run, one with sound, one with motion, for equally many steps: first both whole, then motion cut
to a share of its recordings, with sources drawn in proportion to size ** alpha. Validation R@1, mean ± standard
deviation over seeds; chance is 0.022.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile

import bind

PAIRS = ("audio_to_image", "imu_to_image")
ALWAYS = [
    "~data.sources.toy",
    "~data.zero_shot.motion",
    "evaluation.split=val",
    "evaluation.num_gallery_queries=0",
    "evaluation.num_scatter_samples=0",
    "trainer.enable_progress_bar=false",
    "trainer.max_epochs=1",
]


def source(name: str, modality: str, num_train: int) -> str:
    """The override that adds a toy source of recordings that never change, as real ones don't."""
    counts = f"num_train:{num_train},num_val_queries:4,num_test_queries:1"
    target = "bind.data.sources.toy.world.ToySource"
    return f"+data.sources.{name}={{_target_:{target},name:{name},modalities:[image,{modality}],fresh:[],{counts}}}"


def recalls(num_sounds: int, num_motions: int, alpha: float, steps: int, seed: int) -> list[float]:
    """Validation R@1 of each pair, after one training."""
    sources = [source("sound", "audio", num_sounds), source("motion", "imu", num_motions)]
    values = [f"data.alpha={alpha}", f"data.steps_per_epoch={steps}", f"seed={seed}"]
    with tempfile.TemporaryDirectory() as run_dir:
        retrieval = bind.train([*ALWAYS, *sources, *values, f"run_dir={run_dir}"]).metrics["retrieval"]
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
