"""The command `bindspace doctor MANIFEST`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bind.data.sources.rows import require_table
from bind.files.writing import write_text
from bind.studies.doctor.diagnose import diagnose
from bind.studies.doctor.doors import build_anchor, training_transforms
from bind.studies.doctor.show import print_diagnosis


def main(arguments: list[str]) -> int:
    """Print what is wrong with a manifest and its files; 1 where something would spoil a run, else 0.

    Raises:
        ValueError: a file that is no manifest, or an anchor that can't be loaded.
    """
    parser = argparse.ArgumentParser(
        prog="bindspace doctor",
        description="Read a table of samples and every file that it names, and say all that is wrong with them. Exit "
        "status 1 where something would spoil a run.",
        epilog="Example: bindspace doctor my/table.csv --json doctor.json",
    )
    parser.add_argument("manifest", type=Path, help="the table: CSV, JSONL or Parquet, a row per sample")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all findings to FILE")
    parser.add_argument(
        "--anchor",
        default="toy",
        metavar="NAME",
        help="the anchor that finds nearly equal pictures and is asked whether it knows the data (default: toy): a hub "
        "id or folder, as in anchor.pretrained=, or another choice of anchor= with its pretrained=, such as "
        "open_clip:local-dir:FOLDER or clap:HUB_ID; none leaves that out",
    )
    parser.add_argument(
        "--workers", type=int, default=0, metavar="N", help="processes that read files (default: 0, this one)"
    )
    parser.add_argument(
        "--known",
        action="append",
        default=[],
        metavar="MODALITY",
        help="splits may share files of MODALITY, as in evaluation.known=",
    )
    parser.add_argument("--config-dir", type=Path, metavar="DIR", help="folder of configs of your own, as in training")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="options of transforms, as in training: transform.audio.window_seconds=2",
    )
    options = parser.parse_intermixed_args(arguments)
    if options.workers < 0:
        parser.error(f"--workers {options.workers}: give 0 or more")
    if options.json is not None and not options.json.resolve().parent.is_dir():
        parser.error(f"--json {options.json}: there is no such folder")
    require_table(options.manifest)  # before an anchor is loaded, or even downloaded
    anchor = None if options.anchor == "none" else build_anchor(options.anchor, options.config_dir)
    transforms = training_transforms(options.overrides, options.config_dir)
    diagnosis = diagnose(options.manifest, anchor, options.workers, transforms=transforms, known=options.known)
    print_diagnosis(diagnosis)
    if options.json is not None:
        write_text(options.json, json.dumps(diagnosis.as_json(), indent=1, ensure_ascii=False) + "\n")
        print(f"everything: {options.json}")
    return int(any(problem.is_error for problem in diagnosis.problems()))
