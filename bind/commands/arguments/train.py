"""Config of a training, as far as it can be checked before anything heavy is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bind.data.sources.rows import require_table


def check_arguments(cfg: Any) -> None:
    """Raise ValueError where the table of the data is not there."""
    if manifest := cfg.data.get("manifest"):
        require_table(Path(manifest))
