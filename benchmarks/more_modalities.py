"""Do modalities help each other? python benchmarks/more_modalities.py --digits MANIFEST --hapt MANIFEST --out OUT

The claim of HighMMT (Liang et al. 2022, arXiv 2203.01311) for shared trunks, asked of binding:

1. *In one run.* Sound, IMU and depth of the toy world, each alone and all three over one trunk, with equally many steps
   of equally large batches for every modality.
2. *For a new modality.* Spoken digits and phone motion from a trunk that one or several modalities of the toy world
   trained, and from nothing, on 1 % and on all of their training data. Stem and head are new in every arm, and within
   one seed the same; steps, batches and architecture are equal.

MANIFEST are those of `data_scripts/fsdd.py` and `data_scripts/hapt.py`. Checkpoints are chosen on the validation
split. Every finished cell is a line of OUT/cells.jsonl: a command that was stopped goes on with what is missing. Tables
of what is there are printed in the end.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pretrained_study import CellStore, FitClock, run_missing

import bind
from bind.files.writing import write_text

SEEDS = (0, 1, 2)
SHARES = (0.01, 1.0)
"""Of the training data of a new modality."""
WORLDS = ("audio", "imu", "depth", "audio+imu+depth")
"""What is trained in the toy world: each modality alone, and all over one trunk."""
OTHERS = {"digits": "imu+depth", "hapt": "audio+depth"}
"""Data → a trunk of several modalities, none of which is of the data's own kind."""
MODALITY = {"digits": "audio", "hapt": "imu"}
LABEL_SET = {"digits": "audio", "hapt": "imu/basic6"}
NOTHING = "nothing"
SIZES = ("width=64", "num_layers=2")
"""Of every encoder, so that every trunk fits every other one."""
TOY_STEPS, TOY_VALIDATIONS = 400, 4
NEW_STEPS, NEW_VALIDATIONS = 300, 5
BATCH_ROWS = 64
FEW_ROWS = 15
"""Rows of a batch where only 1 % is trained on: as many as 1 % of the digits."""

Figures = dict[str, Any]
FiguresOf = Callable[["Cell"], Figures | None]


@dataclass(frozen=True)
class Cell:
    """One training.

    Attributes:
        data: `toy`, `digits` or `hapt`.
        trunk: of the toy world: the modalities that train, joined by `+`. Else those whose trunk it starts from.
        seed: of weights, batches, and which rows are the share.
        share: of the training rows.
    """

    data: str
    trunk: str
    seed: int
    share: float = 1.0

    @property
    def name(self) -> str:
        share = "" if self.data == "toy" else f"/{100 * self.share:g}%"
        return f"{self.data}{share}/{self.trunk}/{self.seed}"

    @property
    def start(self) -> Cell | None:
        """The cell that trained its trunk."""
        return None if self.data == "toy" or self.trunk == NOTHING else Cell("toy", self.trunk, self.seed)

    @property
    def overrides(self) -> list[str]:
        """All but places of files."""
        return [*COMMON, *(toy_overrides(self) if self.data == "toy" else new_overrides(self))]

    @property
    def recipe(self) -> dict[str, Any]:
        """What its figures depend on besides data and code; as JSON gives it back."""
        return {"overrides": self.overrides, "share": self.share, "start": self.start and self.start.recipe}


COMMON = [
    "data.num_workers=0",
    "data.evaluation_batch_size=128",
    "trainer=cpu",
    "trainer.check_val_every_n_epoch=1",
    # The norm of all gradients together would let one modality's scale another's.
    "trainer.gradient_clip_val=null",
    "trainer.enable_progress_bar=false",
    "callbacks.early_validation=null",
    "callbacks.forecast=null",
    "evaluation.num_gallery_queries=0",
    "evaluation.num_scatter_samples=0",
]


def encoder_overrides(modalities: Sequence[str]) -> list[str]:
    """Transformers of equal trunks; all use that of the first."""
    return [
        f"modalities=[{','.join(modalities)}]",
        *(f"encoder/{modality}=transformer" for modality in modalities),
        *(f"encoder.{modality}.{size}" for modality in modalities for size in SIZES),
        *(f"encoder.{modality}.share={modalities[0]}" for modality in modalities[1:]),
    ]


def steps(num_steps: int, num_validations: int) -> list[str]:
    return [f"data.steps_per_epoch={num_steps // num_validations}", f"trainer.max_epochs={num_validations}"]


def toy_overrides(cell: Cell) -> list[str]:
    modalities = cell.trunk.split("+")
    return [
        *encoder_overrides(modalities),
        *steps(TOY_STEPS, TOY_VALIDATIONS),
        f"data.batch_size={BATCH_ROWS}",
        "data.num_train=4000",
        "data.num_val_queries=4",
        "data.num_test_queries=8",
        f"evaluation.modalities=[image,{','.join(modalities)}]",
    ]


def new_overrides(cell: Cell) -> list[str]:
    modality = MODALITY[cell.data]
    first = cell.trunk.split("+")[0]
    start = [f"init_parts={{encoders.{modality}.trunk: encoders.{first}.trunk}}"] if cell.start else []
    return [
        f"experiment={cell.data}",
        *encoder_overrides([modality]),
        *steps(NEW_STEPS, NEW_VALIDATIONS),
        f"data.batch_size={BATCH_ROWS if cell.share == 1 else FEW_ROWS}",
        *start,
    ]


def all_cells() -> list[Cell]:
    """In the order in which they run: seed by seed, so that what was stopped has whole comparisons; extra arms last."""
    cells = []
    for seed in SEEDS:
        cells += [Cell("toy", world, seed) for world in WORLDS]
        cells += [
            Cell(data, trunk, seed, share) for share in SHARES for data in MODALITY for trunk in (NOTHING, *WORLDS)
        ]
    for seed in SEEDS:
        for data, trunk in OTHERS.items():
            cells += [Cell("toy", trunk, seed), *(Cell(data, trunk, seed, share) for share in SHARES)]
    return cells


def rows_in_turns(labels: Sequence[str], num_rows: int, seed: int) -> list[int]:
    """So many rows, drawn by chance, every label in its turn: their places, in order."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    turn: dict[str, int] = {}
    turns = []
    for place in order:
        turns.append(turn.setdefault(labels[place], 0))
        turn[labels[place]] += 1
    return sorted(order[np.argsort(turns, kind="stable")][:num_rows].tolist())


def write_share(manifest: Path, out: Path, share: float, seed: int, modality: str) -> Path:
    """A manifest of a share of the training rows and of all others, beside OUT's cells."""
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    training = [row for row in rows if row["split"] == "train"]
    chosen = rows_in_turns([row["label"] for row in training], round(share * len(training)), seed)
    rows = [*(training[place] for place in chosen), *(row for row in rows if row["split"] != "train")]
    for row in rows:
        for key in {modality, "image"} & row.keys():
            row[key] = os.path.relpath(manifest.parent / row[key], out)
    path = out / f"{modality}-{share:g}-{seed}.jsonl"
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
    return path


def run_cell(cell: Cell, options: argparse.Namespace) -> Figures:
    """Train it, and give its figures."""
    places = [f"cache.dir={options.out / 'cache'}", f"run_dir={run_dir(options.out, cell)}"]
    if cell.data != "toy":
        manifest = getattr(options, cell.data).resolve()
        if cell.share < 1:
            manifest = write_share(manifest, options.out, cell.share, cell.seed, MODALITY[cell.data])
        places.append(f"data.manifest={manifest}")
    if cell.start:
        places.append(f"init_from={run_dir(options.out, cell.start)}")
    clock = FitClock()
    run = bind.train([*cell.overrides, *places, f"seed={cell.seed}", "overwrite=true"], callbacks=[clock])
    return {
        **figures_of_run(cell, run.metrics),
        "validation": clock.score,
        "fit_cpu_seconds": round(clock.cpu_seconds, 1),
        "total_seconds": run.metrics["seconds"]["total"],
    }


def figures_of_run(cell: Cell, metrics: Figures) -> Figures:
    """R@1 of each modality of the toy world, or zero-shot top-1; each with its 95 % interval."""
    if cell.data == "toy":
        found = {m: (metrics["retrieval"][f"{m}_to_image"], "R@1") for m in cell.trunk.split("+")}
    else:
        found = {MODALITY[cell.data]: (metrics["zero_shot"][LABEL_SET[cell.data]], "top1")}
    return {
        "scores": {m: figures[name] for m, (figures, name) in found.items()},
        "intervals": {m: figures[f"ci95_{name}"] for m, (figures, name) in found.items()},
        "mrr": {m: figures["mrr"] for m, (figures, _) in found.items() if "mrr" in figures},
    }


def run_dir(out: Path, cell: Cell) -> Path:
    return out / "runs" / cell.name.replace("/", "-").replace("%", "percent")


def select_cells(pattern: str) -> list[Cell]:
    """Those whose name fits a pattern, and before each what it starts from."""
    chosen: dict[str, Cell] = {}
    for cell in all_cells():
        if fnmatch.fnmatchcase(cell.name, pattern):
            chosen |= {needed.name: needed for needed in (cell.start, cell) if needed}
    return list(chosen.values())


def tables(figures_of: FiguresOf) -> str:
    """Both questions in Markdown, of the seeds that are finished."""
    return "\n".join([*world_table(figures_of), "", *new_table(figures_of), "", *trunk_table(figures_of)])


def world_table(figures_of: FiguresOf) -> list[str]:
    """A row for each modality of the toy world: alone, with the others, and the difference of each seed."""
    together = WORLDS[-1]
    lines = [
        "| test R@1 to pictures | alone | all three, one trunk | difference | MRR, difference |",
        "|---|---|---|---|---|",
    ]
    for modality in WORLDS[:-1]:
        of_seed = [(figures_of(Cell("toy", modality, s)), figures_of(Cell("toy", together, s))) for s in SEEDS]
        both = [(alone, joint) for alone, joint in of_seed if alone and joint]
        cells = [describe_scores([pair[i] for pair in both], modality) for i in (0, 1)]
        cells += [
            describe_differences([(b[of][modality], a[of][modality]) for a, b in both]) for of in ("scores", "mrr")
        ]
        lines.append(f"| {modality} | {' | '.join(cells)} |")
    return lines


def new_table(figures_of: FiguresOf) -> list[str]:
    """A row for each start of a new modality, and how far it is from a start from nothing, seed by seed."""
    lines = ["| test top-1 | data | trunk from | top-1 | difference to nothing |", "|---|---|---|---|---|"]
    for data in MODALITY:
        for share in SHARES:
            for trunk in (NOTHING, *WORLDS, OTHERS[data]):
                pairs = [
                    (figures_of(Cell(data, trunk, s, share)), figures_of(Cell(data, NOTHING, s, share))) for s in SEEDS
                ]
                both = [(start, nothing) for start, nothing in pairs if start and nothing]
                modality = MODALITY[data]
                scores = describe_scores([start for start, _ in both], modality)
                gains = describe_differences([(a["scores"][modality], b["scores"][modality]) for a, b in both])
                gains = "" if trunk == NOTHING else gains
                lines.append(f"| {data} | {100 * share:g} % | {trunk} | {scores} | {gains} |")
    return lines


def trunk_table(figures_of: FiguresOf) -> list[str]:
    """How far a start from the trunk of all three is from a start from that of one, seed by seed."""
    ones = WORLDS[:-1]
    lines = [
        f"| test top-1 | data | {' | '.join(f'three less {one}' for one in ones)} | three less the mean of these |"
    ]
    lines.append("|---" * (len(ones) + 3) + "|")
    for data, modality in MODALITY.items():
        for share in SHARES:
            pairs: dict[str, list[tuple[float, float]]] = {one: [] for one in (*ones, "mean")}
            for seed in SEEDS:
                found = [figures_of(Cell(data, trunk, seed, share)) for trunk in WORLDS]
                scores = [figures["scores"][modality] for figures in found if figures]
                if len(scores) == len(WORLDS):
                    for one, score in zip(pairs, [*scores[:-1], statistics.fmean(scores[:-1])], strict=True):
                        pairs[one].append((scores[-1], score))
            cells = " | ".join(describe_differences(of_one) for of_one in pairs.values())
            lines.append(f"| {data} | {100 * share:g} % | {cells} |")
    return lines


def describe_scores(figures: Sequence[Figures], modality: str) -> str:
    """Mean, every seed, and the 95 % interval, the mean of each end over the seeds."""
    if not figures:
        return "–"
    scores = [each["scores"][modality] for each in figures]
    low, high = (statistics.fmean(each["intervals"][modality][end] for each in figures) for end in (0, 1))
    seeds = ", ".join(f"{score:.3f}" for score in scores)
    return f"{statistics.fmean(scores):.3f} ({seeds}; {low:.2f}–{high:.2f})"


def describe_differences(pairs: Sequence[tuple[float, float]]) -> str:
    """Mean and standard deviation over seeds of a − b, and each of them."""
    if not pairs:
        return "–"
    differences = [a - b for a, b in pairs]
    spread = f" ± {statistics.stdev(differences):.3f}" if len(differences) > 1 else ""
    return f"{statistics.fmean(differences):+.3f}{spread} ({', '.join(f'{each:+.3f}' for each in differences)})"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--digits", type=Path, default=Path("data/digits/manifest.jsonl"))
    parser.add_argument("--hapt", type=Path, default=Path("data/hapt/manifest.jsonl"))
    parser.add_argument("--out", type=Path, default=Path("runs/more_modalities"))
    parser.add_argument("--only", default="*", help="cells whose name fits this pattern, such as 'digits/*'")
    parser.add_argument("--list", action="store_true", help="which cells are finished, and train nothing")
    parser.add_argument("--tables", action="store_true", help="the tables of what is finished, and train nothing")
    options = parser.parse_args(argv)
    options.out = options.out.resolve()
    if not (cells := select_cells(options.only)):
        parser.error(f"no cell is called {options.only}; --list shows their names")
    store = CellStore(options.out / "cells.jsonl")
    if options.list:
        for cell in cells:
            print(f"{'missing ' if store.figures(cell) is None else 'finished'} {cell.name}")
        return
    if not options.tables:
        run_missing(cells, store, lambda cell: run_cell(cell, options))
    print(tables(store.figures))


if __name__ == "__main__":
    main()
