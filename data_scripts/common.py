"""Shared parts of the data scripts: arguments, checks of files, reasons for dropping, tables, the manifest."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bind.data.sources.rows import read_csv as rows_of_csv
from bind.files.writing import write_text
from bind.types import Annotation

MAX_BAD_SHARE = 0.01
NUM_NAMED = 5
SPLIT_ORDER = ("test", "val", "train")
"""Where two splits share an owner, the first of these keeps it."""


def parse_arguments(
    description: str,
    epilog: str,
    argv: Sequence[str] | None = None,
    add_arguments: Callable[[argparse.ArgumentParser], None] | None = None,
) -> argparse.Namespace:
    """`--source`, `--out`, `--seed` and `--allow-bad`, as of every script, and those that `add_arguments` adds."""
    parser = argparse.ArgumentParser(
        description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, required=True, metavar="DIR", help="the data set as it is published")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where files and manifest are written")
    parser.add_argument("--seed", type=int, default=0, help="of every random choice (default: 0)")
    parser.add_argument(
        "--allow-bad",
        type=_share,
        nargs="?",
        const=MAX_BAD_SHARE,
        default=0.0,
        metavar="SHARE",
        help="drop and list files that are missing or cannot be used, up to this share of them "
        f"(alone: up to {MAX_BAD_SHARE:.0%}%; 0.2 for clips of videos that may be gone); without it, one is an error",
    )
    if add_arguments is not None:
        add_arguments(parser)
    return parser.parse_args(argv)


def run_script(main: Callable[[], None]) -> None:
    """Run `main`; exit with status 1 and one message where the input is wrong or a package is missing."""
    try:
        main()
    except ValueError as error:
        sys.exit(f"error: {error}")
    except ModuleNotFoundError as error:
        sys.exit(f"error: {error}. Install it: pip install 'bindspace[datasets]'")


def refuse_bad_files(bad: Mapping[Path, str], num_files: int, allow_bad: float) -> None:
    """Print the files that are missing or of no use; ValueError where their share is above `allow_bad`."""
    if not bad:
        return
    listed = [f"{path}: {reason}" for path, reason in bad.items()]
    rest = f"\n  and {len(listed) - NUM_NAMED} more" if len(listed) > NUM_NAMED else ""
    named = "\n  " + "\n  ".join(listed[:NUM_NAMED]) + rest
    if not allow_bad:
        raise ValueError(
            f"{len(bad)} of {num_files} files cannot be used:{named}\n"
            f"Download them again, or drop them with --allow-bad (up to {MAX_BAD_SHARE:.0%}) or --allow-bad SHARE"
        )
    print(f"dropped {len(bad)} of {num_files} files that cannot be used:{named}")
    if len(bad) > allow_bad * num_files:
        raise ValueError(
            f"{len(bad)} of {num_files} files cannot be used, more than {allow_bad:.0%}: the copy is damaged or "
            "incomplete. Download the data set again"
        )


def finish_manifest(
    rows: Iterable[dict[str, Any]],
    args: argparse.Namespace,
    *,
    num_files: int,
    bad: Mapping[Path, str],
    left_out: Mapping[str, str] | None = None,
    val_share: float = 0.0,
    count_by: str | None = None,
    name: str = "manifest",
) -> Path:
    """Refuse bad files, keep owners in one split each, report what was kept and dropped, and write the manifest.

    `left_out` (name → reason) is what the script leaves out on purpose: it is counted, but is no fault of the copy.
    Everything that was dropped stands by name in `dropped.tsv`. `val_share` of the training's owners (the first of
    each row) becomes the validation. `count_by` is a column to count the kept rows by, `name` what the file is called.
    """
    refuse_bad_files(bad, num_files, args.allow_bad)
    kept, shared = drop_shared_owners(rows)
    if not kept:
        raise ValueError(
            f"{args.source}: nothing is left of {num_files} files. Does it hold the data set as published?"
        )
    if val_share:
        val = hold_out((owners_of(row)[0] for row in kept if row["split"] == "train"), val_share, args.seed)
        kept = [row | {"split": "val"} if row["split"] == "train" and owners_of(row)[0] in val else row for row in kept]
    left_out = {**(left_out or {}), **shared}
    args.out.mkdir(parents=True, exist_ok=True)
    dropped = [(str(path), reason, "cannot be used") for path, reason in bad.items()]
    dropped += [(item, reason, reason) for item, reason in left_out.items()]
    write_text(args.out / "dropped.tsv", "".join(f"{item}\t{reason}\n" for item, reason, _ in dropped))

    print(f"kept {len(kept)} rows, dropped {len(dropped)}")
    print_table(count_by or "rows", ((str(row[count_by]) if count_by else "kept", row["split"]) for row in kept))
    for kind, count in Counter(kind for *_, kind in dropped).items():
        print(f"  dropped {count}: {kind}")
    if dropped:
        print(f"every name: {args.out / 'dropped.tsv'}")
    return write_manifest(kept, args.out, name)


def drop_shared_owners(rows: Iterable[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Keep rows whose owners are in one split: test keeps an owner, then validation; of the others key → reason."""
    rows = list(rows)
    splits: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for owner in owners_of(row):
            splits[owner].add(row["split"])
    split_of = {owner: min(its_splits, key=SPLIT_ORDER.index) for owner, its_splits in splits.items()}
    kept, dropped = [], {}
    for row in rows:
        elsewhere = {split_of[owner] for owner in owners_of(row)} - {row["split"]}
        if elsewhere:
            dropped[row["key"]] = f"{row['split']} shares an owner with {min(elsewhere, key=SPLIT_ORDER.index)}"
        else:
            kept.append(row)
    return kept, dropped


def owners_of(row: Mapping[str, Any]) -> list[str]:
    """The owners of a row, of which it may have one, several or none."""
    owner = row.get("owner") or []
    return [owner] if isinstance(owner, str) else list(owner)


def hold_out(owners: Iterable[str], share: float, seed: int) -> set[str]:
    """Choose this share of the owners, at least one of two or more: those whose names have the smallest hashes."""
    from bind.types import stable_id

    ordered = sorted(set(owners), key=lambda owner: stable_id(f"{seed}:{owner}"))
    return set(ordered[: max(round(share * len(ordered)), min(1, len(ordered) - 1))])


def relative_path(path: Path, out: Path) -> str:
    """The path as the manifest in `out` names it."""
    return Path(os.path.relpath(path, out)).as_posix()


def read_csv(
    path: Path,
    columns: Sequence[str],
    where_to_get: str,
    *,
    header: bool = True,
    encoding: str = "utf-8-sig",
    comment: str | None = None,
    spaces: bool = False,
) -> list[dict[str, str]]:
    """Rows of a CSV that has these columns, or just these where it has no header; ValueError names file and row.

    Lines that begin with `comment` are left out; with `spaces`, one follows each comma.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file.\n{where_to_get}")
    names = None if header else columns
    rows = rows_of_csv(path, columns=names, encoding=encoding, comment=comment, spaces=spaces)
    if not rows:
        raise ValueError(f"{path}: there are no rows in it")
    lines = [cells for _, cells in rows]
    if missing := [column for column in columns if column not in lines[0]]:
        raise ValueError(f"{path}: no column {', '.join(missing)}; there are {', '.join(lines[0])}")
    return lines


def sound_problem(path: Path, decode: bool = True) -> str | None:
    """What makes a sound file unusable, or None; without `decode` only its header is read."""
    import numpy as np
    import soundfile

    if not path.is_file():
        return "missing"
    try:
        if not decode:
            return None if soundfile.info(path).frames > 0 else "empty"
        samples, _ = soundfile.read(path, dtype="float32")
    except (soundfile.SoundFileError, OSError) as error:
        return f"not readable as sound ({error})"
    if not len(samples):
        return "empty"
    if not np.isfinite(samples).all():
        return "holds NaN or infinite samples"
    return None if samples.any() else "silent"


def picture_problem(path: Path) -> str | None:
    """What makes a picture unusable, or None."""
    from bind.media.pictures import read_picture_size

    if not path.is_file():
        return "missing"
    try:
        read_picture_size(path)
    except ValueError as error:
        return str(error).removeprefix(f"{path}: ")
    return None


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


def add_continuous(parser: argparse.ArgumentParser) -> None:
    """`--continuous`, of scripts of recordings."""
    parser.add_argument(
        "--continuous",
        action="store_true",
        help="write whole recordings (recordings.jsonl) and what their stretches mean (annotations.jsonl), for "
        "data=recordings, instead of windows (manifest.jsonl)",
    )


def write_manifest(rows: Iterable[dict[str, Any]], out: Path, name: str = "manifest") -> Path:
    """Write `{name}.jsonl`, whole or not at all, and see that `ManifestSource` accepts it."""
    from bind.data.sources.manifest import ManifestSource

    path, unfinished = out / f"{name}.jsonl", out / "unfinished.jsonl"
    write_text(unfinished, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    ManifestSource(unfinished)
    unfinished.replace(path)
    print(f"{name}: {path}")
    return path


def write_annotations(annotations: Iterable[Annotation], out: Path) -> Path:
    """Write `annotations.jsonl`, whole or not at all, and see that it is read."""
    from bind.data.sources.annotations.read import read_annotations

    path, unfinished = out / "annotations.jsonl", out / "unfinished.jsonl"
    rows = (
        {
            "recording": annotation.recording,
            "start_seconds": annotation.start_seconds,
            "end_seconds": annotation.end_seconds,
            "text": list(annotation.texts),
            "label": annotation.label,
            "kind": annotation.kind,
        }
        for annotation in annotations
    )
    write_text(unfinished, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    read_annotations(unfinished)
    unfinished.replace(path)
    print(f"annotations: {path}")
    return path


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"{text} is no share; give a number from 0 to below 1")
    return share
