"""Does a pretrained encoder pay? python benchmarks/pretrained_study.py [--help]

Five comparisons, each arm with three seeds and equally many steps: Whisper on spoken digits, frozen and with LoRA; few
recordings, Whisper against an encoder from nothing; Whisper's 30 s against 2.5 s; and two worlds, digits and the toy
world, with an encoder from nothing, a copy of the anchor's image tower, and a trunk that the other world trained.

Every finished cell is a line of OUT/cells.jsonl: a command that was stopped goes on with what is missing. Tables of
what is there are printed in the end. The steps are few, so that all of it takes one processor about two hours.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np

import bind
from bind.files.writing import write_text

SEEDS = (0, 1, 2)
FEW = (1, 2, 5)
"""Recordings of each digit and training speaker."""
WHISPER = ("encoder/audio=whisper",)
SHORT = "encoder.audio.max_seconds=2.5"
WORLDS = {"digits": "zero-shot, unseen speakers", "toy": "validation R@1, sound → picture"}

WORLD_SUBSETS = {"digits": (50, 0, 0.4), "toy": None}


@dataclass(frozen=True)
class Cell:
    """One training.

    Attributes:
        table: the comparison that it belongs to.
        arm: its row.
        seed: of weights, batches and augmentation.
        overrides: its own, besides those that all have.
        world: the data, `digits` or `toy`.
        subset: of the digits: recordings of each digit and training speaker, the seed that draws them, and the share
            of the other speakers' recordings that is used; None: all.
        start: the cell whose weights it starts from.
    """

    table: str
    arm: str
    seed: int
    overrides: tuple[str, ...]
    world: str = "digits"
    subset: tuple[int, int, float] | None = None
    start: Cell | None = None

    @property
    def name(self) -> str:
        return f"{self.table}/{self.arm}/{self.seed}"

    @property
    def recipe(self) -> dict[str, Any]:
        """What its figures depend on besides data, weights and code; as JSON gives it back."""
        subset = None if self.subset is None else list(self.subset)
        start = None if self.start is None else self.start.recipe
        return {"overrides": list(self.overrides), "subset": subset, "start": start}


@dataclass
class CellStore:
    """The finished cells of a file, a JSON line each, written whole at every one that is added.

    Args:
        path: of the file; it may be missing.

    Raises:
        ValueError: for a line that is no finished cell.
    """

    path: Path
    lines: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        text = self.path.read_text() if self.path.is_file() else ""
        for number, line in enumerate(text.splitlines(), 1):
            try:
                cell = json.loads(line)
                self.lines[cell["cell"]] = {"recipe": cell["recipe"], "figures": cell["figures"]}
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{self.path}, line {number}: no finished cell; delete that line") from error

    def figures(self, cell: Cell) -> dict[str, Any] | None:
        """Those of a cell that was run as it stands; None where it was not, or with another recipe."""
        line = self.lines.get(cell.name)
        return line["figures"] if line and line["recipe"] == cell.recipe else None

    def add(self, cell: Cell, figures: dict[str, Any]) -> None:
        self.lines[cell.name] = {"recipe": cell.recipe, "figures": figures}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.path, "".join(json.dumps({"cell": name, **line}) + "\n" for name, line in self.lines.items()))


class FitClock(L.Callback):
    """Processor seconds of the fit, and how many weights it trains of encoders and heads."""

    cpu_seconds = 0.0
    num_trained = 0
    score = float("nan")

    def on_train_start(self, trainer: L.Trainer, module: Any) -> None:
        parts = [*module.binder.encoders.parameters(), *module.binder.heads.parameters()]
        self.num_trained = sum(p.numel() for p in parts if p.requires_grad)
        self.cpu_seconds = -time.process_time()

    def on_validation_end(self, trainer: L.Trainer, module: Any) -> None:
        self.score = max(float(trainer.callback_metrics["val/mean_R@1"]), self.score)

    def on_train_end(self, trainer: L.Trainer, module: Any) -> None:
        self.cpu_seconds += time.process_time()


def steps(num_steps: int, validations: int = 1) -> tuple[str, ...]:
    """Overrides for so many steps with that many validations, the best of which is evaluated."""
    return (f"data.steps_per_epoch={num_steps // validations}", f"trainer.max_epochs={validations}")


def all_cells() -> list[Cell]:
    """In the order in which they run: what says most comes first, what costs most last."""
    seconds = sorted([*seconds_cells("2.5"), *seconds_cells("null")], key=lambda cell: cell.seed)
    return [*few_cells(), *seconds[:4], *whisper_cells(), *world_cells(), *seconds[4:]]


def whisper_cells() -> list[Cell]:
    """Whisper on all digits: a head on its frozen features, then adapters beside it."""
    cells = []
    lora = ("encoder.audio.train=lora", "optimizer.lr=3e-4", "data.batch_size=32", *steps(40))
    for seed in SEEDS:
        frozen = Cell("whisper", "frozen", seed, (*WHISPER, SHORT, *steps(575, 5)))
        cells += [frozen, Cell("whisper", "frozen, then LoRA", seed, (*WHISPER, SHORT, *lora), start=frozen)]
    return cells


def few_cells() -> list[Cell]:
    """Few recordings of each digit and speaker: frozen Whisper, and the small encoder from nothing."""
    options = ("data.batch_size=30", *steps(120, 3))
    arms = {"frozen Whisper": (*WHISPER, SHORT), "from nothing": ()}
    return [
        Cell("few", f"{number} of each, {arm}", seed, (*choice, *options), subset=(number, seed, 0.2))
        for seed in SEEDS
        for number in FEW
        for arm, choice in arms.items()
    ]


def seconds_cells(seconds: str) -> list[Cell]:
    """Whisper over windows of so many seconds, its mean over the sound or over the silence behind it too."""
    length = "30 s" if seconds == "null" else f"{seconds} s"
    options = ("data.batch_size=30", *steps(120, 3))
    return [
        Cell(
            "seconds",
            f"{length}, mean over {'all' if pool == 'all' else 'the sound'}",
            seed,
            (*WHISPER, f"encoder.audio.max_seconds={seconds}", f"encoder.audio.pool={pool}", *options),
            subset=(2, 0, 0.1),
        )
        for pool in ("sound", "all")
        for seed in SEEDS
    ]


def world_cells() -> list[Cell]:
    """From nothing, from the anchor's tower, and from a trunk that the other world trained."""
    cells = []
    options = ("data.batch_size=32", *steps(300))
    tower = ("encoder/audio=anchor_tower", "encoder.audio.num_mels=64")
    transformer = "encoder/audio=transformer"
    arms = {
        "small encoder from nothing": (),
        "transformer from nothing": (transformer,),
        "anchor_tower, all of it": tower,
        "anchor_tower, LoRA": (*tower, "encoder.audio.train=lora"),
    }
    for seed in SEEDS:
        trunks = {}
        for world in WORLDS:
            subset = WORLD_SUBSETS[world]
            of_world = {arm: Cell(world, arm, seed, (*choice, *options), world, subset) for arm, choice in arms.items()}
            trunks[world] = of_world["transformer from nothing"]
            cells += of_world.values()
        for world, other in (("digits", "toy"), ("toy", "digits")):
            start = trunks[other]
            for train, then in (("head", ""), ("lora", ", then LoRA")):
                choice = (transformer, f"encoder.audio.train={train}", *options)
                arm = f"transformer of the other world, frozen{then}"
                start = Cell(world, arm, seed, choice, world, WORLD_SUBSETS[world], start)
                cells.append(start)
    return cells


def select_cells(cells: Sequence[Cell], pattern: str) -> list[Cell]:
    """Those whose name fits a pattern, and before each what it starts from."""
    chosen: dict[str, Cell] = {}
    for cell in cells:
        if fnmatch.fnmatchcase(cell.name, pattern):
            chain = [cell]
            while chain[0].start is not None:
                chain.insert(0, chain[0].start)
            chosen |= {needed.name: needed for needed in chain}
    return list(chosen.values())


def write_subset(manifest: Path, out: Path, num_recordings: int, seed: int, share: float) -> Path:
    """A manifest of `num_recordings` per digit and training speaker, and of a share of the others' recordings."""
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    rng = np.random.default_rng(seed)
    piles: dict[tuple[str, ...], list[Any]] = {}
    for row in rows:
        piles.setdefault((row["split"], row["label"], row["owner"][0]), []).append(row)
    kept = []
    for (split, *_), pile in piles.items():
        # The others' stay the same for every draw, so that their features are computed once.
        drawn = rng.permutation(len(pile))[:num_recordings] if split == "train" else range(round(share * len(pile)))
        kept += [pile[index] for index in sorted(drawn)]
    for row in kept:
        for modality in ("audio", "image"):
            row[modality] = os.path.relpath(manifest.parent / row[modality], out)
    path = out / f"digits-{num_recordings}-{seed}-{share:g}.jsonl"
    write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
    return path


def run_missing(cells: Sequence[Cell], store: CellStore, run: Callable[[Cell], dict[str, Any]]) -> None:
    """Run the cells that the store lacks, in their order, and add each as it is finished."""
    for cell in cells:
        if store.figures(cell) is None:
            print(f"== {cell.name}", flush=True)
            figures = run(cell)
            store.add(cell, figures)
            print(f"== {cell.name}: {figures}", flush=True)


def run_cell(cell: Cell, options: argparse.Namespace) -> dict[str, Any]:
    """Train it, and give its figures."""
    overrides = [
        "modalities=[audio]",
        "data.num_workers=0",
        "data.evaluation_batch_size=32",
        "trainer=cpu",
        "trainer.check_val_every_n_epoch=1",
        "trainer.enable_progress_bar=false",
        "evaluation.num_gallery_queries=0",
        "evaluation.num_scatter_samples=0",
        f"cache.dir={options.cache or options.out / 'cache'}",
        f"run_dir={run_dir(options.out, cell.name)}",
        "overwrite=true",
        f"seed={cell.seed}",
    ]
    if cell.world == "digits":
        manifest = options.digits if cell.subset is None else write_subset(options.digits, options.out, *cell.subset)
        overrides += ["experiment=digits", f"data.manifest={manifest}"]
    else:
        overrides += ["data.num_train=2000", "data.num_val_queries=20", "data.num_test_queries=1"]
        # As of recordings: 2,000 sounds that do not change, at the rate of the digits.
        overrides += ["data.sources.toy.fresh=[]", "transform.audio.sample_rate_hz=8000", "evaluation.split=val"]
    if "encoder/audio=whisper" in cell.overrides:
        overrides.append(f"encoder.audio.pretrained={options.whisper}")
    if cell.start:
        overrides.append(f"init_from={run_dir(options.out, cell.start.name)}")
    clock = FitClock()
    run = bind.train([*overrides, *cell.overrides], callbacks=[clock])
    metrics = run.metrics
    is_toy = cell.world == "toy"
    score = metrics["retrieval"]["audio_to_image"]["R@1"] if is_toy else metrics["zero_shot"]["audio"]["top1"]
    return {
        "score": score,
        "validation": clock.score,
        "trained_weights": clock.num_trained,
        "fit_seconds": metrics["seconds"]["fit"],
        "fit_cpu_seconds": round(clock.cpu_seconds, 1),
        "cache_seconds": metrics["seconds"]["anchor_cache"],
        "evaluate_seconds": metrics["seconds"]["evaluate"],
    }


def run_dir(out: Path, name: str) -> Path:
    return out / "runs" / name.replace(", ", "-").replace(" ", "-")


def tables(cells: Sequence[Cell], figures_of: Callable[[Cell], dict[str, Any] | None]) -> str:
    """The comparisons in Markdown, of the cells that are finished; a row per arm."""
    lines = []
    for table in dict.fromkeys(cell.table for cell in cells):
        of_arm: dict[str, list[dict[str, Any]]] = {}
        for cell in cells:
            if cell.table == table and (figures := figures_of(cell)):
                of_arm.setdefault(cell.arm, []).append(figures)
        lines += ["", f"| {table} | {WORLDS.get(table, WORLDS['digits'])}: mean (seeds) | trained weights |"]
        lines[-1] += " fit, s of processor | the same, s | features, s |"
        lines.append("|---|---|---|---|---|---|")
        for arm, several in of_arm.items():
            scores = [each["score"] for each in several]
            seeds = ", ".join(f"{score:.3f}" for score in scores)
            cpu, wall = (statistics.fmean(each[key] for each in several) for key in ("fit_cpu_seconds", "fit_seconds"))
            filling = max(each["cache_seconds"] for each in several)  # later seeds find them
            weights = several[0]["trained_weights"]
            row = f"{statistics.fmean(scores):.3f} ({seeds}) | {weights:,} | {cpu:.0f} | {wall:.0f} | {filling:.0f}"
            lines.append(f"| {arm} | {row} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--digits", type=Path, default=Path("data/digits/manifest.jsonl"), help="of data_scripts/fsdd.py"
    )
    parser.add_argument("--whisper", type=Path, default=Path("whisper-tiny-en"), help="a folder of Whisper tiny.en")
    parser.add_argument("--out", type=Path, default=Path("runs/pretrained_study"))
    parser.add_argument("--cache", type=Path, help="of features and of the anchor's vectors; OUT/cache without")
    parser.add_argument("--only", default="*", help="cells whose name fits this pattern, such as 'few/*'")
    parser.add_argument("--list", action="store_true", help="which cells are finished, and train nothing")
    parser.add_argument("--tables", action="store_true", help="the tables of what is finished, and train nothing")
    options = parser.parse_args(argv)
    options.digits, options.out = options.digits.resolve(), options.out.resolve()
    cells = select_cells(all_cells(), options.only)
    if not cells:
        parser.error(f"no cell is called {options.only}; --list shows their names")
    store = CellStore(options.out / "cells.jsonl")
    if options.list:
        for cell in cells:
            print(f"{'missing ' if store.figures(cell) is None else 'finished'} {cell.name}")
        return
    if not options.tables:
        run_missing(cells, store, lambda cell: run_cell(cell, options))
    print(tables(cells, store.figures))


if __name__ == "__main__":
    main()
