"""The progress bar without the logger's version number, which says nothing here."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.callbacks import RichProgressBar


class ProgressBar(RichProgressBar):
    """Loss and the monitored metric beside the bar; `refresh_rate` steps between redraws."""

    def __init__(self, refresh_rate: int = 1, leave: bool = False) -> None:
        super().__init__(refresh_rate=refresh_rate, leave=leave)

    def get_metrics(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {name: value for name, value in super().get_metrics(*args, **kwargs).items() if name != "v_num"}
