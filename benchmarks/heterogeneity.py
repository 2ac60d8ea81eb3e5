"""Do modalities that share a factor come out closer than those that share none? Toy worlds where that is known.

In each world sound tells one factor, motion or material, and so does the IMU; all else in them is drawn by chance. In
two worlds both tell the same factor, in two a different one, so over the four worlds every modality tells every factor
equally often among those that share and those that do not: neither the difficulty of a factor nor its number of words
can make the difference. Encoders, pairs, pictures and steps are equal. What an encoder learns does not depend on the
other one, so each is trained once per seed and used in both worlds that it belongs to.

    python benchmarks/heterogeneity.py
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import bind
from bind.metrics.heterogeneity import Heterogeneity
from bind.model.binder import Binder
from bind.runs.parts import Parts
from bind.runs.run_config import open_run
from bind.studies.heterogeneity.starts import measure_starts
from bind.studies.heterogeneity.tasks import StudiedRun, make_tasks

FACTORS = ("motion", "material")
MODALITIES = ("audio", "imu")
WORLDS = tuple(itertools.product(FACTORS, repeat=2))


def overrides(world: tuple[str, str], run_dir: Path, seed: int, steps: int) -> list[str]:
    told = ",".join(f"{modality}:[{factor}]" for modality, factor in zip(MODALITIES, world, strict=True))
    sizes = [f"encoder.{m}.{size}" for m in MODALITIES for size in ("width=64", "num_layers=2")]
    return [
        "modalities=[audio,imu]",
        *(f"encoder/{m}=transformer" for m in MODALITIES),
        *sizes,
        f"data.sources.toy.carries={{{told}}}",
        "data.num_train=4000",
        "data.num_test_queries=1",
        f"seed={seed}",
        f"run_dir={run_dir}",
        "trainer.max_epochs=1",
        f"data.steps_per_epoch={steps}",
        "trainer.gradient_clip_val=null",  # the norm over both encoders would let one's gradient scale the other's
        "trainer.enable_progress_bar=false",
        "evaluation.num_gallery_queries=0",
        "evaluation.num_scatter_samples=0",
    ]


def trained(factor: str, folder: Path, seed: int, steps: int) -> Path:
    """A run in which both modalities tell `factor`."""
    run_dir = folder / f"{factor}-{seed}"
    if not (run_dir / "metrics.json").is_file():
        bind.train(overrides((factor, factor), run_dir, seed, steps))
    return run_dir


def world_of(world: tuple[str, str], runs: dict[str, Path]) -> StudiedRun:
    """The parts of a run in this world, put together from the runs whose encoders are the same."""
    _, config = open_run(str(runs[world[0]]))
    config["data"]["sources"]["toy"]["carries"] = {m: [f] for m, f in zip(MODALITIES, world, strict=True)}
    binder, other = Binder.load(runs[world[0]]), Binder.load(runs[world[1]])
    binder.encoders["imu"], binder.heads["imu"] = other.encoders["imu"], other.heads["imu"]
    parts = StudiedRun.of(Parts.build(config, binder, trust=()), ())
    parts.fill_anchor_cache()
    return parts


def bits_in(world: tuple[str, str], runs: dict[str, Path], seed: int, steps: int, head: bool) -> np.ndarray:
    """Bits (3, 2): starts from nothing, sound and IMU; tasks of sound and IMU."""
    parts = world_of(world, runs)
    columns = []
    for task in make_tasks(parts.pairs, parts.binder):
        bits = measure_starts(parts, task, MODALITIES, seed, steps, with_head=head, advance=lambda: None)
        columns.append([bits[start] for start in (None, *MODALITIES)])
    return np.array(columns).T


def report(bits_by_case: dict[Any, np.ndarray], seeds: list[int], head: bool) -> None:
    """One line per world, then how often sharing is closer."""
    of_world = {}
    for world in WORLDS:
        bits = np.stack([bits_by_case[head, seed, world] for seed in seeds])
        of_world[world] = Heterogeneity(bits[:, 1:], bits[:, 0])
    print(f"\ntaken over: {'trunk and head' if head else 'trunk alone'}; bits, mean ± std over {len(seeds)} seeds")
    print("audio     imu       share   d            T(imu→audio)   T(audio→imu)   T(audio→audio)  T(imu→imu)")
    for world, of in of_world.items():
        gains = [of.transfer[:, i, j] for i, j in ((1, 0), (0, 1), (0, 0), (1, 1))]
        cells = "   ".join(f"{gain.mean():+.2f} ± {gain.std(ddof=1):.2f} " for gain in gains)
        yes = "yes" if world[0] == world[1] else "no"
        print(f"{world[0]:9s} {world[1]:9s} {yes:7s} {of.distance[0, 1]:.2f} ± {of.spread[0, 1]:.2f}  {cells}")
    lost = {world: np.maximum(of.shortfall, 0) for world, of in of_world.items()}
    d = {world: each[:, 0, 1] + each[:, 1, 0] for world, each in lost.items()}
    share = np.stack([d[f, f] for f in FACTORS])
    none = np.stack([d[f, g] for f, g in WORLDS if f != g])
    closer = share.mean(axis=0) < none.mean(axis=0)
    print(f"d of each seed: share {share.mean(axis=0).round(2)}, share none {none.mean(axis=0).round(2)}")
    print(f"mean d {share.mean():.2f} where they share, {none.mean():.2f} where they share none")
    print(f"sharing is closer in {closer.sum()} of {len(seeds)} seeds")
    pairs = [(s, n) for s in share for n in none]
    wins = sum(int((s < n).sum()) for s, n in pairs)
    print(f"of a sharing world against one that shares none: closer in {wins} of {len(pairs) * len(seeds)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--train-steps", type=int, default=200, help="of the runs")
    parser.add_argument("--steps", type=int, default=40, help="of every start")
    parser.add_argument("--folder", type=Path, help="where runs are kept, and found again")
    arguments = parser.parse_args()
    started, bits_by_case = time.perf_counter(), {}
    folder = arguments.folder or Path(tempfile.mkdtemp())
    for head in (True, False):
        for number, seed in enumerate(arguments.seeds, 1):
            runs = {factor: trained(factor, folder, seed, arguments.train_steps) for factor in FACTORS}
            for world in WORLDS:
                bits = bits_by_case[head, seed, world] = bits_in(world, runs, seed, arguments.steps, head)
                print(f"seed {seed}, {'/'.join(world)}, {bits.round(2).tolist()}", flush=True)
            if number > 1:
                report(bits_by_case, arguments.seeds[:number], head)
    print(f"\n{time.perf_counter() - started:.0f} s in all")


if __name__ == "__main__":
    main()
