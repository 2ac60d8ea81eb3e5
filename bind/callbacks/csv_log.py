"""The CSV log of a run, which a resumed run goes on with."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.loggers.logger import rank_zero_experiment


class ContinuedCSVLogger(CSVLogger):
    """Lightning's CSV log, appended to a `metrics.csv` that is already there; Lightning's own deletes it.

    A run that stopped between two checkpoints logs the steps after the last one again: the later rows count.
    """

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._experiment is None:
            path = Path(self.log_dir) / ExperimentWriter.NAME_METRICS_FILE
            aside = path.with_name(path.name + ".kept")
            if path.is_file():
                path.replace(aside)
            writer = super().experiment
            if aside.is_file():
                aside.replace(path)
                with path.open(newline="") as file:
                    writer.metrics_keys = next(csv.reader(file), [])
        return self._experiment
