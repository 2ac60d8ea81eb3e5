"""Pictures that studies have drawn of a run earlier, for its report."""

from __future__ import annotations

import json
from pathlib import Path


def robustness_figures(run_dir: Path, suffix: str = "") -> dict[str, Path]:
    """Caption → PNG of what was drawn of a run earlier; nothing where its weights are younger."""
    about, weights = run_dir / f"robustness{suffix}.json", run_dir / "binder" / "model.safetensors"
    if not about.is_file() or (weights.is_file() and about.stat().st_mtime < weights.stat().st_mtime):
        return {}
    return {caption: run_dir / name for caption, name in json.loads(about.read_text())["figures"].items()}
