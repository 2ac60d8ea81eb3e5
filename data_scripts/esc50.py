"""Everyday sounds of 50 classes: ESC-50, 2000 clips of 5 s cut from Freesound recordings.

The publisher's five folds keep what was cut from one recording together: one fold is the test, the one before it the
validation. A figure over all 2000 clips is the mean over five runs with --test-fold 1 to 5, each into its own folder.
The text of a clip is its class in words. Checked: every clip decodes, is not silent and lasts 5 s at 44.1 kHz.
Layout and folds: README and meta/esc50.csv of the repository.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from common import finish_manifest, parse_arguments, read_csv, relative_path, run_script, sound_problem

NUM_FOLDS = 5
NUM_FRAMES = 5 * 44_100
COLUMNS = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
WHERE_TO_GET = (
    "Get it from https://github.com/karolpiczak/ESC-50 (Piczak, 2015; CC BY-NC 3.0) and pass that folder,\n"
    "which holds meta/esc50.csv and audio/"
)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the manifest of the data set, and the files that its rows name."""
    args = parse_arguments(str(__doc__), WHERE_TO_GET, argv, _add_arguments)
    listed = read_csv(args.source / "meta" / "esc50.csv", COLUMNS, WHERE_TO_GET)
    bad, rows = {}, []
    for line in listed:
        path = args.source / "audio" / line["filename"]
        if problem := _problem(path):
            bad[path] = problem
            continue
        category = line["category"].replace("_", " ")
        rows.append(
            {
                "key": path.stem,
                "split": split_of(int(line["fold"]), args.test_fold),
                "group": category,
                "owner": f"freesound:{line['src_file']}",
                "label": category,
                "audio": relative_path(path, args.out),
                "text": category,
            }
        )
    finish_manifest(rows, args, num_files=len(listed), bad=bad)


def split_of(fold: int, test_fold: int) -> str:
    """The split of a fold; the validation is the fold before the test."""
    val_fold = (test_fold - 2) % NUM_FOLDS + 1
    return "test" if fold == test_fold else "val" if fold == val_fold else "train"


def _add_arguments(parser: ArgumentParser) -> None:
    folds = range(1, NUM_FOLDS + 1)
    parser.add_argument("--test-fold", type=int, choices=folds, default=NUM_FOLDS, help="1 to 5 (default: 5)")


def _problem(path: Path) -> str | None:
    import soundfile

    problem = sound_problem(path)
    if problem is None and (frames := soundfile.info(path).frames) != NUM_FRAMES:
        return f"{frames} samples instead of {NUM_FRAMES}"
    return problem


if __name__ == "__main__":
    run_script(main)
