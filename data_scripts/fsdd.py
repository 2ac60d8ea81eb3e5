"""Spoken digits with pictures and captions: the Free Spoken Digit Dataset beside scans of handwritten digits.

Each recording is paired with one scan of the same digit from `sklearn.datasets.load_digits` and with captions. Speakers
theo and lucas are the test, yweweler the validation; the scans are split apart as well, so that neither a voice nor a
picture is in two splits. In each split and digit the scans are dealt out in turn: none is used twice before all were.
"""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import parse_arguments, print_table, refuse_bad_files, run_script, sound_problem, write_manifest
from PIL import Image

from bind.data.sources.digits import DIGIT_WORDS, DigitScan, digit_captions, digit_image, digit_scans

TEST_SPEAKERS = ("theo", "lucas")
VAL_SPEAKERS = ("yweweler",)
NAME = re.compile(r"(?P<digit>[0-9])_(?P<speaker>[a-z]+)_(?P<index>[0-9]+)")
WHERE_TO_GET = (
    "Get it with: git clone https://github.com/Jakobovski/free-spoken-digit-dataset\n"
    "(Zohar Jackson et al., CC BY-SA 4.0) and pass that folder, which holds recordings/{digit}_{speaker}_{index}.wav"
)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the manifest of the data set, and the files that its rows name."""
    args = parse_arguments(str(__doc__), WHERE_TO_GET, argv)
    files = sorted((args.source / "recordings").glob("*.wav"), key=_natural_order)
    if not files:
        raise ValueError(f"{args.source / 'recordings'}: no recordings there.\n{WHERE_TO_GET}")

    problems = {path: _problem(path) for path in files}
    bad = {path: problem for path, problem in problems.items() if problem}
    refuse_bad_files(bad, len(files), args.allow_bad)
    kept = [path for path in files if path not in bad]

    rows = _pair_with_scans(kept, digit_scans(args.seed), np.random.default_rng([args.seed, 1]))
    (args.out / "audio").mkdir(parents=True, exist_ok=True)
    (args.out / "image").mkdir(exist_ok=True)
    for path in kept:
        shutil.copyfile(path, args.out / "audio" / path.name)
    used = {row["image"]: row["scan"] for row in rows}
    for name, scan in used.items():
        Image.fromarray(digit_image(scan.pixels)).save(args.out / name, compress_level=1)

    print(f"kept {len(kept)} of {len(files)} recordings, dropped {len(bad)}; wrote {len(used)} pictures")
    print_table("speaker", ((row["speaker"], row["split"]) for row in rows))
    print_table("pictures of", ((scan.split, DIGIT_WORDS[scan.digit]) for scan in used.values()))
    columns = ("key", "split", "group", "owner", "label", "audio", "image", "text")
    write_manifest([{column: row[column] for column in columns} for row in rows], args.out)


def split_of(speaker: str) -> str:
    """The split of a speaker."""
    return "test" if speaker in TEST_SPEAKERS else "val" if speaker in VAL_SPEAKERS else "train"


def _pair_with_scans(files: list[Path], scans: list[DigitScan], rng: np.random.Generator) -> list[dict[str, Any]]:
    """A row for each recording, with a scan of the same digit and split."""
    waiting: dict[tuple[str, int], list[DigitScan]] = defaultdict(list)
    for scan in scans:
        waiting[scan.split, scan.digit].append(scan)
    for pile in waiting.values():
        rng.shuffle(pile)

    rows = []
    for path in files:
        match = NAME.fullmatch(path.stem)
        assert match is not None, path
        digit, speaker = int(match["digit"]), match["speaker"]
        split = split_of(speaker)
        pile = waiting[split, digit]
        scan = pile.pop(0)
        pile.append(scan)
        rows.append(
            {
                "key": path.stem,
                "split": split,
                "group": f"digit {digit}",
                "owner": [f"speaker:{speaker}", f"scan:{scan.index:04d}"],
                "label": DIGIT_WORDS[digit],
                "audio": f"audio/{path.name}",
                "image": f"image/{digit}_{scan.index:04d}.png",
                "text": list(digit_captions(digit)),
                "speaker": speaker,
                "scan": scan,
            }
        )
    return rows


def _problem(path: Path) -> str | None:
    """What makes a recording unusable, or None."""
    if NAME.fullmatch(path.stem) is None:
        return "not named {digit}_{speaker}_{index}.wav"
    return sound_problem(path)


def _natural_order(path: Path) -> list[int | str]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", path.stem)]


if __name__ == "__main__":
    run_script(main)
