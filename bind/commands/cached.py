"""`bindspace cached`: what lies in the anchor cache, and the deletion of what is named."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from omegaconf import DictConfig

from bind.files.plain_data import read_json
from bind.report.cells import Cells
from bind.report.terminal_table import print_cells
from bind.runs.run_config import as_list

ABOUT = "about.json"


@dataclass(frozen=True)
class Entry:
    """The vectors of one split and modality of one source: `folder` is ANCHOR/NAME below the cache.

    `about.json` is touched whenever the folder is opened, so its time is that of the last use.
    """

    folder: str
    source: str
    num_samples: int | None
    num_bytes: int
    last_used: datetime


def cached(cfg: DictConfig) -> None:
    """Print what the anchor cache holds; delete the folders that `delete` names, and nothing else.

    Raises:
        ValueError: for a folder that is not in the cache, with nothing deleted.
    """
    root = Path(cfg.dir).expanduser()
    entries = entries_in(root)
    named = as_list(cfg.delete)
    if unknown := [name for name in named if not any(is_of(entry, name) for entry in entries)]:
        raise ValueError(f"delete: {', '.join(unknown)} not in {root}; `bindspace cached` lists what is")
    deleted = [entry for entry in entries if any(is_of(entry, name) for name in named)]
    for entry in deleted:
        shutil.rmtree(root / entry.folder)
        with contextlib.suppress(OSError):  # others of this anchor are left
            (root / entry.folder).parent.rmdir()
    if deleted:
        print(f"deleted {', '.join(entry.folder for entry in deleted)}: {size(deleted)}\n")
    left = [entry for entry in entries if entry not in deleted]
    if left:
        print_cells(cells(left))
    print(f"{size(left)} in {root}")


def entries_in(root: Path) -> list[Entry]:
    """Every folder of the cache, those last used first."""
    found = [entry_of(path.parent, root) for path in root.glob(f"*/*/{ABOUT}")]
    return sorted(found, key=lambda entry: entry.last_used, reverse=True)


def entry_of(path: Path, root: Path) -> Entry:
    try:
        about = read_json(path / ABOUT)
        source, num_samples = str(about["source"]), int(about["num_samples"])
    except (ValueError, KeyError, TypeError):
        source, num_samples = "damaged", None
    num_bytes = sum(file.stat().st_size for file in path.iterdir())
    last_used = datetime.fromtimestamp((path / ABOUT).stat().st_mtime)
    return Entry(str(path.relative_to(root)), source, num_samples, num_bytes, last_used)


def is_of(entry: Entry, name: str) -> bool:
    return name.rstrip("/") in (entry.folder, entry.folder.partition("/")[0])


def size(entries: list[Entry]) -> str:
    return f"{sum(entry.num_bytes for entry in entries) / 1e6:,.1f} MB"


def cells(entries: list[Entry]) -> Cells:
    """A row for each entry, under its anchor."""
    sections: dict[str, list[tuple[str, ...]]] = {}
    for entry in entries:
        anchor, _, name = entry.folder.partition("/")
        samples = "–" if entry.num_samples is None else f"{entry.num_samples:,}"
        row = (name, entry.source, samples, size([entry]), f"{entry.last_used:%Y-%m-%d %H:%M}")
        sections.setdefault(anchor, []).append(row)
    return Cells("The anchor cache", "", ("folder", "source", "samples", "size", "last used"), sections)
