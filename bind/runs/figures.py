"""Pictures that studies have drawn of a run earlier, for its report."""

from __future__ import annotations

from pathlib import Path

from bind.files.plain_data import read_json, require_each, require_kinds


def robustness_figures(run_dir: Path, suffix: str = "") -> dict[str, Path]:
    """Caption → PNG of what was drawn of a run earlier; nothing where its weights are younger."""
    about, weights = run_dir / f"robustness{suffix}.json", run_dir / "binder" / "model.safetensors"
    if not about.is_file() or (weights.is_file() and about.stat().st_mtime < weights.stat().st_mtime):
        return {}
    figures = require_kinds(read_json(about), {"figures": dict}, str(about))["figures"]
    # Names only: a path could lead any file of this machine into the report.
    require_each(figures.values(), lambda name: isinstance(name, str) and Path(name).name == name, str(about), "a name")
    return {caption: run_dir / name for caption, name in figures.items()}
