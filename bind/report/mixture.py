"""The table at the start of a training: how often each source and pair will be seen."""

from __future__ import annotations

from collections.abc import Sequence

from bind.data.mixture import SourceExposure
from bind.report.cells import Cells


def mixture_cells(sources: Sequence[SourceExposure], pairs: Sequence[SourceExposure], batch_size: int) -> Cells:
    """Sources before pairs; `batch_size` counts the rows of a step on all processes."""
    num_steps = sum(source.num_steps for source in sources)

    def row(exposure: SourceExposure) -> tuple[str, ...]:
        share = f"{exposure.num_steps / num_steps:.0%}"
        passes = f"{exposure.num_passes:.1f}"
        return exposure.name, f"{exposure.num_samples:,}", f"{exposure.num_steps:,}", share, passes

    return Cells(
        title=f"Training: {num_steps:,} {'step' if num_steps == 1 else 'steps'} × {batch_size:,} rows",
        caption="a pair counts the samples that have both of its sides",
        headers=("", "samples", "steps", "share", "passes"),
        sections={"source": [row(source) for source in sources], "pair": [row(pair) for pair in pairs]},
    )
