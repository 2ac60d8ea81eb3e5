"""The CSV log of a run, which a resumed run goes on with."""

from __future__ import annotations

import csv
import io
from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from bind.files.writing import naming, remove_partial_files, write_bytes

FLUSH_EVERY_N_STEPS = 100


class ContinuedCSVLogger(Logger):
    """Metrics in `folder`/metrics.csv, a row per logged step; one that is already there is gone on with.

    A checkpoint knows how many rows there were, and a run that goes on from it drops the later ones: they come again.
    Rows are whole ones, whenever the process is killed.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.folder = Path(folder)
        self._file: _CSVFile | None = None

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return self.folder.name

    @property
    def save_dir(self) -> str:
        return str(self.folder.parent)

    @property
    def file(self) -> _CSVFile:
        """The file, opened by the first process when it is first needed."""
        if self._file is None:
            self._file = _CSVFile(self.folder / "metrics.csv")
        return self._file

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run's config.yaml holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        step = self.file.num_waiting if step is None else step
        self.file.add({name: x.item() if isinstance(x, Tensor) else x for name, x in metrics.items()}, step)
        if (step + 1) % FLUSH_EVERY_N_STEPS == 0:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        self.file.write()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if self._file is not None:
            self.save()

    def num_rows_before(self, step: int) -> int:
        """The number of rows from before `step`, the next one, with the file brought up to date."""
        self.save()
        return self.file.num_rows_before(step)

    def keep(self, num_rows: int) -> None:
        """Drop all rows of the file but the first `num_rows`."""
        self.file.keep(num_rows)


class _CSVFile:
    """Rows of a CSV file whose columns are those of all rows so far, in alphabetical order."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        remove_partial_files(path.parent, path.name)
        lines = self._lines()
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()  # killed while it wrote this one
            self._replace(lines)
        self.columns = next(csv.reader([lines[0].decode()])) if lines else []
        self.num_rows = max(0, len(lines) - 1)
        self._waiting: list[dict[str, Any]] = []
        self._step, self._num_rows_before = -1, 0

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    def add(self, metrics: Mapping[str, Any], step: int) -> None:
        """Take a row, which stands in the file after the next `write`."""
        if step > self._step:
            self._step, self._num_rows_before = step, self.num_rows + len(self._waiting)
        self._waiting.append({**metrics, "step": step})

    def num_rows_before(self, step: int) -> int:
        """`step` is the latest or the next one: its learning rate is logged before it begins."""
        return self.num_rows if step > self._step else self._num_rows_before

    def write(self) -> None:
        """Append the rows that wait; where they have new columns, the file is written anew."""
        if not self._waiting:
            return
        if new := set().union(*self._waiting) - set(self.columns):
            rows = list(csv.DictReader(line.decode() for line in self._lines()))
            self.columns = sorted([*self.columns, *new])
            self._replace([_line(self.columns), *map(self._line_of, rows)])
        with naming(self.path), self.path.open("ab") as file:
            file.writelines(map(self._line_of, self._waiting))
        self.num_rows += len(self._waiting)
        self._waiting = []

    def keep(self, num_rows: int) -> None:
        if num_rows < self.num_rows:
            self._replace(self._lines()[: 1 + num_rows])
            self.num_rows = num_rows

    def _line_of(self, row: Mapping[str, Any]) -> bytes:
        return _line(row.get(column) for column in self.columns)

    def _lines(self) -> list[bytes]:
        return self.path.read_bytes().splitlines(keepends=True) if self.path.is_file() else []

    def _replace(self, lines: list[bytes]) -> None:
        write_bytes(self.path, b"".join(lines))


def _line(cells: Iterable[Any]) -> bytes:
    """One line of CSV; an empty cell for None."""
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue().encode()
