"""A finished run in Python: its figures, config and Binder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from bind.evaluation.figures import read_metrics
from bind.model.binder import Binder
from bind.runs.jobs import evaluate_again
from bind.runs.run_config import open_run


class Run:
    """A run directory, as a training leaves it.

    Args:
        path: the folder, the last line that a training prints.
        trust: packages besides bind whose classes its config may name, such as `["mylab"]`.

    Attributes:
        path: the folder, absolute.
        config: the resolved config, plain values only.

    Raises:
        ValueError: where it is no run directory, or one of another version of bind.
    """

    def __init__(self, path: str | Path, *, trust: Sequence[str] = ()) -> None:
        self.path, self.config = open_run(str(path))
        self.trust = tuple(trust)

    @property
    def metrics(self) -> dict[str, Any]:
        """What `metrics.json` holds: the figures of the held-out split; ValueError where there is none yet."""
        file = self.path / "metrics.json"
        if not file.is_file():
            raise ValueError(
                f"{file}: not there, the training has not finished; go on with "
                f"bind.train([…, 'run_dir={self.path}', 'ckpt=last']), or call evaluate()"
            )
        return read_metrics(file)

    @cached_property
    def binder(self) -> Binder:
        """The trained Binder, loaded once; ValueError where the training has not finished."""
        return Binder.load(self.path, trust=self.trust)

    def evaluate(self, split: str | None = None, *, manifest: str | Path | None = None) -> dict[str, Any]:
        """Evaluate again, `split` or the held-out one, as `bindspace evaluate` does: figures, plots, page, tables.

        Args:
            manifest: another table, in the place of the run's data.

        Returns:
            The figures, as in `metrics.json`.

        Raises:
            ValueError: where the training has not finished, or its data can't be read any more.
        """
        name = split or self.config["evaluation"]["split"]
        table = None if manifest is None else Path(manifest)
        return evaluate_again(self.path, self.config, name, trust=self.trust, manifest=table)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"
