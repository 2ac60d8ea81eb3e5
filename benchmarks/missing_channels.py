"""Figures of sensors with channels missing, turned or slower: python benchmarks/missing_channels.py DATA RUN …

DATA is what `data_scripts/hapt.py` wrote, the runs are of `experiment=hapt` or `experiment=hapt_channels`. Each
recording is written again in each of `CHANGES`, and the windows of the split are read from there.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from bind import Run
from bind.evaluation.label_sets import LabelSet
from bind.media.resample import rate_ratio, resample
from bind.types import Clip

Recording = tuple[np.ndarray, dict]
"""Values (T, C) and what the JSON beside them says."""


def without(columns: slice, *, zeros: bool) -> Callable[[Recording], Recording]:
    """Leave channels out, or put zeros in their place."""

    def change(recording: Recording) -> Recording:
        x_TC, about = recording
        if zeros:
            x_TC = x_TC.copy()
            x_TC[:, columns] = 0
            return x_TC, about
        kept = np.delete(np.arange(x_TC.shape[1]), columns)
        named = {name: [about[name][c] for c in kept] for name in ("channels", "units")}
        return x_TC[:, kept], about | named

    return change


def exchange_axes(recording: Recording) -> Recording:
    """The columns in another order, and named so."""
    x_TC, about = recording
    order = [4, 2, 0, 5, 1, 3]
    return x_TC[:, order], about | {name: [about[name][c] for c in order] for name in ("channels", "units")}


def turn(recording: Recording) -> Recording:
    """The phone turned by 90° about its z axis: y points where x did."""
    x_TC, about = recording
    turned_TC = x_TC[:, [1, 0, 2, 4, 3, 5]] * np.float32([1, -1, 1, 1, -1, 1])
    return turned_TC, about


def slow_down(recording: Recording) -> Recording:
    """25 Hz."""
    x_TC, about = recording
    ratio = rate_ratio(25, about["sample_rate_hz"], "a recording")
    return resample(x_TC, ratio, "line").astype(np.float32), about | {"sample_rate_hz": 25}


CHANGES: dict[str, Callable[[Recording], Recording]] = {
    "as it is": lambda recording: recording,
    "no gyroscope": without(slice(3, 6), zeros=False),
    "no accelerometer": without(slice(0, 3), zeros=False),
    "gyroscope zero": without(slice(3, 6), zeros=True),
    "accelerometer zero": without(slice(0, 3), zeros=True),
    "axes exchanged": exchange_axes,
    "turned by 90°": turn,
    "25 Hz": slow_down,
}


def main() -> None:
    """Print a row per run and a column per change."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--split", default="test")
    parser.add_argument("--labels", default="basic6")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = [json.loads(line) for line in (args.data / "manifest.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["split"] == args.split]
    runs = {path: Run(path) for path in args.runs}
    print(f"{args.labels}, {args.split} split", *CHANGES, sep=" | ")
    scores: dict[Path, list[str]] = {path: [] for path in runs}
    for change in CHANGES.values():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for file in sorted({row["imu"] for row in rows}):
                x_TC, about = change(
                    (np.load(args.data / file), json.loads((args.data / file).with_suffix(".json").read_text()))
                )
                np.save(folder / file, x_TC)
                (folder / file).with_suffix(".json").write_text(json.dumps(about))
            for path, run in runs.items():
                scores[path].append(score(run, args.labels, rows, folder))
    for path, of_run in scores.items():
        print(path, *of_run, sep=" | ")


def score(run: Run, label_set: str, rows: list[dict], folder: Path) -> str:
    """Top-1 of a label set; – where the run can't read the files."""
    labels = [row["label"] for row in rows]
    classes = LabelSet.of(label_set, run.config["data"]["zero_shot"][label_set], labels)
    chosen = [(row, label) for row, label in zip(rows, labels, strict=True) if label in classes.classes]
    clips = [Clip(folder / row["imu"], row["imu_start_seconds"], row["imu_end_seconds"]) for row, _ in chosen]
    binder = run.binder.eval()
    try:
        z_ND = binder.embed("imu", clips, batch_size=256)
    except ValueError:
        return "–"
    prompts_KD = classes.embed(lambda texts: binder.embed("text", texts))
    names = list(classes.classes)
    right = [names[k] == label for k, (_, label) in zip((z_ND @ prompts_KD.T).argmax(1).tolist(), chosen, strict=True)]
    return f"{np.mean(right):.3f}"


if __name__ == "__main__":
    main()
