"""What motion without words adds to a few people with words: python benchmarks/unpaired.py CUT WHOLE OUT

CUT is what `data_scripts/hapt.py` wrote, WHOLE what it wrote with `--continuous`. Texts, labels and groups of 1, 3 and
5 of the training people are used, chosen by the seed. Without the unpaired part nothing else trains; with it every
other step takes windows of all training people's recordings, two of each place, for `pairs.imu-imu`, beside as many
steps on the pairs as before. Checkpoints are chosen on the validation people in both. `--arms "with hidden patches"`
has these windows for `objective.masked.imu`; it and what it is compared with need `--more encoder/imu=transformer`,
and an OUT of their own.

Each training has a folder in OUT; the same command again goes on where it was stopped, and prints what is finished.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from bind.commands.train import train

STEPS_PER_EPOCH, NUM_EPOCHS = 100, 6
FELT = [
    f"data.steps_per_epoch={2 * STEPS_PER_EPOCH}",
    "data.alpha=0",
    "+data.sources.felt._target_=bind.data.sources.recordings.source.RecordingSource",
    "+data.sources.felt.annotations=null",
    "+data.sources.felt.window_seconds=2.56",
    "+data.sources.felt.stride_seconds=1.28",
    "+data.sources.felt.unlabelled=true",
]
ARMS = {
    "pairs alone": [f"data.steps_per_epoch={STEPS_PER_EPOCH}"],
    "with imu-imu": ["pairs.imu-imu.weight=1", *FELT],
    "with hidden patches": ["objective.masked.imu.weight=1", *FELT],
}
LABEL_SET = "imu/basic6"


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_rows(path: Path, rows: list[dict[str, Any]], folder: Path) -> Path:
    """A manifest somewhere else than the files that it names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [row | {"imu": str((folder / row["imu"]).resolve())} for row in rows]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def with_words(rows: list[dict[str, Any]], num_people: int, seed: int) -> list[dict[str, Any]]:
    """All rows of validation and test, and those of so many training people."""
    people = sorted({row["owner"] for row in rows if row["split"] == "train"})
    chosen = set(np.random.default_rng(seed).permutation(people)[:num_people].tolist())
    return [row for row in rows if row["split"] != "train" or row["owner"] in chosen]


def main() -> None:
    """Train what is missing, and print a row per arm and number of people."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cut", type=Path)
    parser.add_argument("whole", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--people", type=int, nargs="+", default=[1, 3, 5])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=["pairs alone", "with imu-imu"])
    parser.add_argument("--more", nargs="*", default=[], help="overrides of every training")
    args = parser.parse_args()
    rows = read_rows(args.cut / "manifest.jsonl")
    recordings = [row | {"key": f"felt/{row['key']}"} for row in read_rows(args.whole / "recordings.jsonl")]
    felt = [row for row in recordings if row["split"] == "train"]
    felt_table = write_rows(args.out / "felt.jsonl", felt, args.whole)
    for num_people in args.people:
        for seed in args.seeds:
            told = with_words(rows, num_people, seed)
            told_table = write_rows(args.out / f"told_{num_people}_{seed}.jsonl", told, args.cut)
            for arm in args.arms:
                own = ARMS[arm]
                folder = folder_of(args.out, arm, num_people, seed)
                if (folder / "metrics.json").is_file():
                    continue
                more = [f"+data.sources.felt.manifest={felt_table}"] if len(own) > 1 else []
                run = [f"data.manifest={told_table}", f"seed={seed}", f"run_dir={folder}", "ckpt=auto"]
                epochs = f"trainer.max_epochs={NUM_EPOCHS}"
                train(["experiment=hapt", epochs, *run, *own, *more, *args.more])
    print("people with words", *args.people, sep=" | ")
    for arm in args.arms:
        print(arm, *(describe(args.out, arm, num_people, args.seeds) for num_people in args.people), sep=" | ")


def folder_of(out: Path, arm: str, num_people: int, seed: int) -> Path:
    return out / f"{arm.replace(' ', '_')}_{num_people}_{seed}"


def describe(out: Path, arm: str, num_people: int, seeds: list[int]) -> str:
    """The mean top-1 on the test people, and that of each seed."""
    files = [folder_of(out, arm, num_people, seed) / "metrics.json" for seed in seeds]
    scores = [json.loads(file.read_text())["zero_shot"][LABEL_SET]["top1"] for file in files if file.is_file()]
    return f"{np.mean(scores):.3f} ({', '.join(f'{score:.3f}' for score in scores)})" if scores else "–"


if __name__ == "__main__":
    main()
