"""Binder that a command line names, and the data of its run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bind.commands.arguments.caption import split_names
from bind.data.sources.manifest import ManifestSource
from bind.model.binder import Binder
from bind.model.device import best_device
from bind.runs.run_config import open_run
from bind.types import Source


def open_binder(place: str, options: Mapping[str, str], *, needs_data: bool) -> tuple[Binder, list[Source]]:
    """The binder on the best device, and the sources that samples are taken of.

    Raises:
        ValueError: where it, or the run's data, can't be read.
    """
    trust = split_names(options.get("trust"))
    table = options.get("manifest")
    if needs_data and table is None and "run" in options:
        from bind.runs.parts import Parts  # lightning comes with it, which takes seconds

        run_dir, config = open_run(place)
        parts = Parts.load(run_dir, config, trust=trust, device=best_device())
        return parts.binder.eval(), list(parts.datamodule.sources)
    binder = Binder.load(place, trust=trust).to(best_device())
    return binder, [ManifestSource(Path(table).expanduser())] if table and needs_data else []
