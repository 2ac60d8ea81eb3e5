"""Arguments of `bindspace doctor`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from bind.data.sources.rows import require_table


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """What the command line says, checked as far as it can be before anything heavy is loaded.

    Raises:
        ValueError: where there is no such table.
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
    require_table(options.manifest)
    return options
