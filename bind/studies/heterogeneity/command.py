"""`bindspace heterogeneity`: distances between the modalities of a run, and between the ways that pairs interact."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from omegaconf import DictConfig
from rich.progress import Progress

from bind.files.writing import write_text
from bind.metrics.heterogeneity import Heterogeneity, find_clusters
from bind.model.device import best_device
from bind.report.terminal_table import print_cells
from bind.runs.parts import Parts
from bind.runs.results import writes_results
from bind.runs.run_config import as_list, open_run
from bind.studies.heterogeneity.advice import write_advice
from bind.studies.heterogeneity.fused import learn_fusions, make_fused_tasks, measure_fusion_transfer
from bind.studies.heterogeneity.show import heterogeneity_cells, plot_heterogeneity
from bind.studies.heterogeneity.starts import fine_tune, make_learner, measure_starts, start_from
from bind.studies.heterogeneity.tasks import SPLIT, StudiedRun, TransferTask, make_tasks


@writes_results("heterogeneity")
def heterogeneity(cfg: DictConfig) -> None:
    """How far apart a run's modalities are, in bits: `bindspace heterogeneity run=PATH [steps=40] [seeds=[0,1,2]]`.

    Learned is on the training split, measured on the validation split. Writes `heterogeneity.json` and
    `heterogeneity.png` into the run directory.

    Raises:
        ValueError: where encoders have trunks that do not fit each other, or the run can't be used.
    """
    seeds, counts = as_list(cfg.seeds), {name: cfg[name] for name in ("steps", "fusion_steps", "fusion_batches")}
    if len(set(seeds)) < 2 or not all(isinstance(seed, int) and seed >= 0 for seed in seeds):
        raise ValueError(
            f"seeds={seeds}: give two or more that differ, such as seeds=[0,1,2]; one says nothing of the spread"
        )
    if wrong := [f"{name}={count}" for name, count in counts.items() if not isinstance(count, int) or count < 1]:
        raise ValueError(f"{' '.join(wrong)}: give a number of at least 1")
    run_dir, config = open_run(cfg.run)
    trust = list(cfg.trust)
    parts = StudiedRun.of(Parts.load(run_dir, config, trust=trust, device=best_device()), trust)
    if parts.binder.share:
        keys = " ".join(f"encoder.{modality}.share={owner}" for modality, owner in parts.binder.share.items())
        raise ValueError(
            f"run={cfg.run} has {keys}: one trunk can't be compared with itself; take a run with a trunk each"
        )
    tasks = make_tasks(parts.pairs, parts.binder)
    require_alike_trunks(parts, tasks, with_head=cfg.head)
    parts.fill_anchor_cache()
    study: dict[str, Any] = {"split": SPLIT, "seeds": seeds, "head": bool(cfg.head), **counts}
    study["modalities"] = compare_modalities(parts, tasks, seeds, cfg.steps, with_head=cfg.head)
    study["fused"] = compare_fusions(parts, tasks, seeds, **counts)
    study["advice"] = write_advice(study)
    write_text(run_dir / "heterogeneity.json", json.dumps(study, indent=2) + "\n")
    plot_heterogeneity(study, run_dir / "heterogeneity.png")
    for cells in heterogeneity_cells(study):
        print_cells(cells)
    print("\n".join(study["advice"]))
    print(f"{run_dir / 'heterogeneity.json'}\n{run_dir / 'heterogeneity.png'}")


def require_alike_trunks(parts: StudiedRun, tasks: Sequence[TransferTask], *, with_head: bool) -> None:
    """Raise ValueError, before any work, where what one modality has learned does not fit another."""
    for task in tasks:
        fresh = make_learner(parts, task, seed=0)
        for source in tasks:
            start_from(fresh, task, parts, source.modality, with_head=with_head)


def compare_modalities(
    parts: StudiedRun, tasks: Sequence[TransferTask], seeds: Sequence[int], steps: int, *, with_head: bool
) -> dict[str, Any]:
    """Every task from every start and seed."""
    names = [task.modality for task in tasks]
    seconds = sum(measure_step_seconds(parts, task) for task in tasks) * len(seeds) * steps * (len(names) + 1)
    print(
        f"about {max(1, round(seconds / 60))} min: {len(names)} tasks from {len(names) + 1} starts, {steps} steps "
        f"each, {len(seeds)} seeds",
        flush=True,
    )
    bits_SMM, fresh_SM = np.zeros((len(seeds), len(names), len(names))), np.zeros((len(seeds), len(names)))
    with Progress(transient=True, disable=not sys.stdout.isatty()) as bar:
        total = bar.add_task("heterogeneity", total=len(seeds) * len(names) * steps)
        for s, seed in enumerate(seeds):
            for j, task in enumerate(tasks):
                bar.update(total, description=f"{task.modality} to {task.target}, seed {seed}")
                bits = measure_starts(
                    parts, task, names, seed, steps, with_head=with_head, advance=lambda: bar.advance(total)
                )
                fresh_SM[s, j] = bits[None]
                bits_SMM[s, :, j] = [bits[name] for name in names]
    targets = {task.modality: task.target for task in tasks}
    return {"targets": targets, **figures(names, Heterogeneity(bits_SMM, fresh_SM))}


def measure_step_seconds(parts: StudiedRun, task: TransferTask) -> float:
    """Of one start, its share of loading included; the second step of two, the first of which warms up."""
    device = next(parts.binder.parameters()).device
    ends: list[float] = []
    fine_tune(
        [make_learner(parts, task, 0).to(device)], parts, task, 0, 2, advance=lambda: ends.append(time.perf_counter())
    )
    return ends[1] - ends[0]


def compare_fusions(
    parts: StudiedRun,
    tasks: Sequence[TransferTask],
    seeds: Sequence[int],
    *,
    steps: int,
    fusion_steps: int,
    fusion_batches: int,
) -> dict[str, Any]:
    """Learned fusions of all pairs, and what they are to each other; `skipped` says why there is nothing of either."""
    with Progress(transient=True, disable=not sys.stdout.isatty()) as bar:
        work = bar.add_task("embed for fusion", total=None)

        def advance() -> None:
            bar.advance(work)

        pairs = make_fused_tasks(parts, tasks, fusion_batches, advance)
        if not pairs:
            return {"pairs": {}, "skipped": "no two modalities look for the same target in the same samples"}
        transfers = len(seeds) * len(pairs) * len(pairs) * 2 if len(pairs) > 1 else 0
        bar.reset(work, total=len(seeds) * len(pairs) + transfers, description="fusions")
        study, fusions = learn_fusions(parts, pairs, seeds, fusion_steps, advance)
        of_pairs = {task.name: figures_of_pair for task, figures_of_pair in zip(pairs, study, strict=True)}
        if len(pairs) < 2:
            return {"pairs": of_pairs, "skipped": "one pair: there is no other whose fusion it could start from"}
        transfer = measure_fusion_transfer(parts, pairs, fusions, seeds, steps, advance=advance)
    return {"pairs": of_pairs, "skipped": None, **figures(list(of_pairs), transfer)}


def figures(names: Sequence[str], study: Heterogeneity) -> dict[str, Any]:
    """What `heterogeneity.json` says of M modalities or pairs; matrices have sources in rows and tasks in columns."""

    def over_seeds(values: np.ndarray) -> dict[str, Any]:
        return {"mean": values.mean(axis=0).tolist(), "std": values.std(axis=0, ddof=1).tolist()}

    of, order = find_clusters(study.separation)
    return {
        "names": list(names),
        "fresh_bits": over_seeds(study.fresh_SM),
        "bits": over_seeds(study.bits_SMM),
        "transfer": over_seeds(study.transfer),
        "shortfall": over_seeds(study.shortfall),
        "distance": study.distance.tolist(),
        "distance_std": study.spread.tolist(),
        "unrelated_distance": study.unrelated_distance.tolist(),
        "separation": study.separation.tolist(),
        "clusters": of,
        "order": order,
    }
