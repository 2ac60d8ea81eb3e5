"""The CSV log of a run, which a resumed run goes on with."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.loggers.logger import rank_zero_experiment

from bind.files import remove_partial_files, write_bytes


class ContinuedCSVLogger(CSVLogger):
    """Lightning's CSV log, appended to a `metrics.csv` that is already there; Lightning's own deletes it.

    A checkpoint knows how many rows there were, and a run that goes on from it drops the later ones: they come again.
    """

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._experiment is None:
            self._experiment = _Writer(self.log_dir)
        return self._experiment

    def write(self, step: int) -> int:
        """Bring the file up to date; the number of its rows from before `step`, the next one."""
        self.save()
        return self.experiment.num_rows_before(step)

    def keep(self, num_rows: int) -> None:
        """Drop all rows of the file but the first `num_rows`."""
        self.experiment.keep(num_rows)


class _Writer(ExperimentWriter):
    """Rows of `metrics.csv`, whole ones only, whenever the process is killed."""

    def __init__(self, log_dir: str) -> None:
        super().__init__(log_dir)
        self.path = Path(self.metrics_file_path)
        remove_partial_files(self.path.parent, self.path.name)
        lines = self._lines()
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()  # killed while it wrote this one
            self._replace(lines)
        self.num_rows = max(0, len(lines) - 1)
        self._step, self._num_rows_before = -1, 0
        self.metrics_keys = next(csv.reader([lines[0].decode()])) if lines else []

    def _check_log_dir_exists(self) -> None:
        """Lightning deletes the file here."""

    def log_metrics(self, metrics_dict: dict[str, float], step: int | None = None) -> None:
        if step is not None and step > self._step:
            self._step, self._num_rows_before = step, self.num_rows + len(self.metrics)
        super().log_metrics(metrics_dict, step)

    def num_rows_before(self, step: int) -> int:
        """`step` is the latest or the next one: its learning rate is logged before it begins."""
        return self.num_rows if step > self._step else self._num_rows_before

    def save(self) -> None:
        if not self.metrics:
            return
        if self._record_new_keys():
            rows = list(csv.DictReader(line.decode() for line in self._lines()))
            self._replace([_line(self.metrics_keys), *map(self._line_of, rows)])
        with self.path.open("ab") as file:
            file.writelines(map(self._line_of, self.metrics))
        self.num_rows += len(self.metrics)
        self.metrics = []

    def keep(self, num_rows: int) -> None:
        if num_rows < self.num_rows:
            self._replace(self._lines()[: 1 + num_rows])
            self.num_rows = num_rows

    def _line_of(self, row: Mapping[str, Any]) -> bytes:
        return _line(row.get(key) for key in self.metrics_keys)

    def _lines(self) -> list[bytes]:
        return self.path.read_bytes().splitlines(keepends=True) if self.path.is_file() else []

    def _replace(self, lines: list[bytes]) -> None:
        write_bytes(self.path, b"".join(lines))


def _line(cells: Iterable[Any]) -> bytes:
    """One line of CSV; an empty cell for None."""
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue().encode()
