"""How `data.batch_size=auto` judges this machine: python benchmarks/fitting.py [overrides as for train]

What a row of a training step takes by the small batches that are tried, beside what one takes between batches of 256
and 2,048 rows, and how long it took to find out. On a CPU under Linux.
"""

from __future__ import annotations

import sys
import time

import torch
from lightning.pytorch.plugins.precision import Precision
from omegaconf import OmegaConf

from bind.build import ANY_CLASS
from bind.commands.train import compose_training
from bind.runs.jobs import make_module
from bind.runs.parts import Parts
from bind.training.fitting import first_batches, measure_room, most_rows, peak_of_step, repeat_rows

FEW, MANY = 256, 2048


def main() -> None:
    """Print what fits, and how near the expectation is."""
    config = OmegaConf.to_container(compose_training([*sys.argv[1:], "data.batch_size=auto"]), resolve=True)
    assert isinstance(config, dict)
    parts = Parts.build({str(name): value for name, value in config.items()}, trust=ANY_CLASS)
    module, device, precision = make_module(parts), torch.device("cpu"), Precision()
    worth = most_rows(parts.datamodule.train_plan(), 1)
    started = time.perf_counter()
    room = measure_room(
        module, parts.datamodule, precision, device=device, world_size=1, processes_here=1, max_rows=worth
    )
    seconds = time.perf_counter() - started
    batch = next(first_batches(parts.datamodule))
    few, many = (peak_of_step(module, repeat_rows(batch, n), precision, device) for n in (FEW, MANY))
    measured = (many - few) / (MANY - FEW)
    print(f"found in {seconds:.1f} s: memory for {room.rows():,} rows, data for {worth:,}")
    print(f"a row takes {measured / 1e6:.2f} MB, expected were {room.row_bytes / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
