"""Arguments of `bindspace sync`."""

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
        prog="bindspace sync",
        description="Measure how the clocks of the streams of each recording run against each other, by what "
        "happens in several of them: motion in a video and of a sensor, sounds, a clap or a bump. What can't be told "
        "is left as it is and named. Writes MANIFEST_synced.jsonl beside the manifest, with spans in which the streams "
        "belong together, and MANIFEST_sync/ with sync.csv and a picture per recording to check.",
        epilog="Examples:\n  bindspace sync recordings.csv\n  bindspace sync recordings.csv --reference imu",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("manifest", type=Path, help="the table: CSV, JSONL or Parquet, a row per recording")
    parser.add_argument(
        "--reference", metavar="MODALITY", help="whose clock the others are compared with (default: video, audio, …)"
    )
    parser.add_argument(
        "--max-lag", type=float, default=3.0, metavar="SECONDS", help="the largest offset looked for (default: 3)"
    )
    options = parser.parse_args(arguments)
    if not 0 < options.max_lag <= 600:
        parser.error(f"--max-lag {options.max_lag:g}: give seconds above 0, up to 600")
    require_table(options.manifest)
    return options
