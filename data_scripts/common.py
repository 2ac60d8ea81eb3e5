"""What the data scripts share: arguments, bad files, the tables they print, and writing the manifest."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

MAX_BAD_SHARE = 0.01
NUM_NAMED = 5


def arguments(description: str, epilog: str, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """`--source`, `--out`, `--seed` and `--allow-bad`, the same for every script."""
    parser = argparse.ArgumentParser(
        description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, required=True, metavar="DIR", help="the data set as it is published")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where files and manifest are written")
    parser.add_argument("--seed", type=int, default=0, help="of every random choice (default: 0)")
    parser.add_argument(
        "--allow-bad",
        action="store_true",
        help=f"drop and list files that cannot be used, up to {MAX_BAD_SHARE:.0%}%; without it, one is an error",
    )
    return parser.parse_args(argv)


def run(main: Callable[[], None]) -> None:
    """Exit with status 1 and one message where the input is wrong."""
    try:
        main()
    except ValueError as error:
        sys.exit(f"error: {error}")


def refuse_bad(bad: dict[Path, str], num_files: int, allow_bad: bool) -> None:
    """List what is wrong with which file; ValueError unless that is allowed and at most 1 % of the files."""
    if not bad:
        return
    listed = [f"{path}: {reason}" for path, reason in bad.items()]
    if not allow_bad:
        rest = f"\n  and {len(listed) - NUM_NAMED} more" if len(listed) > NUM_NAMED else ""
        raise ValueError(
            f"{len(bad)} of {num_files} files cannot be used:\n  " + "\n  ".join(listed[:NUM_NAMED]) + rest + "\n"
            f"Download them again, or drop them with --allow-bad (up to {MAX_BAD_SHARE:.0%})"
        )
    print(f"dropped {len(bad)} of {num_files} files that cannot be used:")
    print("".join(f"  {line}\n" for line in listed), end="")
    if len(bad) > MAX_BAD_SHARE * num_files:
        raise ValueError(
            f"{len(bad)} of {num_files} files cannot be used, more than {MAX_BAD_SHARE:.0%}: the copy is damaged. "
            "Download the data set again"
        )


def print_table(title: str, rows: Iterable[tuple[str, str]]) -> None:
    """Count (row, column) pairs and print them as a table with totals, in order of first appearance."""
    counts = Counter(rows)
    names, columns = (list(dict.fromkeys(pair[i] for pair in counts)) for i in (0, 1))
    numbers = [[counts[name, column] for column in columns] for name in names]
    numbers.append([sum(column) for column in zip(*numbers, strict=True)])
    table = [[title, *columns, "all"]]
    table += [[name, *map(str, row), str(sum(row))] for name, row in zip([*names, "all"], numbers, strict=True)]
    name_width, *widths = (max(map(len, column)) for column in zip(*table, strict=True))
    for name, *cells in table:
        print(f"  {name:<{name_width}}  " + "  ".join(f"{c:>{w}}" for c, w in zip(cells, widths, strict=True)))


def write_manifest(rows: Iterable[dict[str, Any]], out: Path) -> Path:
    """Write `manifest.jsonl`, whole or not at all, and see that `ManifestSource` accepts it."""
    from bind.data.manifest import ManifestSource

    path, unfinished = out / "manifest.jsonl", out / "unfinished.jsonl"
    with unfinished.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    ManifestSource(unfinished)
    os.replace(unfinished, path)
    print(f"manifest: {path}")
    return path
