"""Forecast of a training: the time, memory and disk that it will take, and beside it what it then took."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from bind.cache.build import format_bytes
from bind.files.writing import write_text

FILE_NAME = "forecast.json"
"""In the run directory."""


@dataclass(frozen=True)
class Cost:
    """What a training takes.

    Attributes:
        seconds: from its first step to its last checkpoint; not the evaluation behind it.
        memory_bytes: the most that a process of it has in memory at a time; loader processes have theirs.
        device_memory_bytes: the same of a GPU; None without one.
        disk_bytes: of checkpoints, binder and log; pictures and report come besides.
    """

    seconds: float
    memory_bytes: int
    device_memory_bytes: int | None
    disk_bytes: int

    def describe(self) -> str:
        """In one line.

        Examples:
            >>> Cost(75.0, 900_000_000, None, 15_000_000).describe()
            '1 min 15 s, 900.0 MB of memory, 15.0 MB on disk'
        """
        on_device = "" if self.device_memory_bytes is None else f"{format_bytes(self.device_memory_bytes)} on the GPU, "
        memory, disk = format_bytes(self.memory_bytes), format_bytes(self.disk_bytes)
        return f"{format_seconds(self.seconds)}, {memory} of memory, {on_device}{disk} on disk"


@dataclass(frozen=True)
class Forecast:
    """The expected cost of the steps that are to come.

    Attributes:
        num_steps: of the optimizer.
        num_validations: of the whole validation split.
        expected: before the first step.
        trial_seconds: what it took to find out.
    """

    num_steps: int
    num_validations: int
    expected: Cost
    trial_seconds: float

    def describe(self) -> str:
        return (
            f"forecast: {self.num_steps:,} steps with {self.num_validations} validations in about "
            f"{self.expected.describe()} (found out in {self.trial_seconds:.1f} s)"
        )

    def write(self, run_dir: Path, happened: Cost | None = None) -> None:
        """Write it into the run directory, with what has happened once that is known."""
        content = asdict(self) | ({} if happened is None else {"happened": asdict(happened)})
        write_text(run_dir / FILE_NAME, json.dumps(content, indent=2) + "\n")

    def compare(self, happened: Cost) -> str:
        """What was expected beside what has happened, in one line."""
        return f"forecast: {self.expected.describe()}; happened: {happened.describe()}"


def format_seconds(seconds: float) -> str:
    """Such as `1 min 15 s`.

    Examples:
        >>> format_seconds(7.4), format_seconds(75), format_seconds(7500)
        ('7 s', '1 min 15 s', '2 h 5 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
