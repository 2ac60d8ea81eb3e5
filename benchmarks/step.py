"""Where the time of a training step goes. python benchmarks/step.py [overrides as for train.py]

Runs the main job for some steps with cached anchors and prints the share of each part, for every precision, with and
without torch.compile, and for several numbers of loader processes. The first steps are left out of every figure.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch

import bind

WARM_UP_STEPS = 10


class Clock(L.Callback):
    """Seconds per part of a step, summed over the steps after the first ones.

    A step lasts from the end of the one before to its own end, so that what is not in a named part is seen as `rest`.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.num_steps = 0
        self.counting = False
        self.on_gpu = torch.cuda.is_available()  # asking takes a tenth of a millisecond
        self.end_of_last = 0.0
        self.inside = 0.0  # seconds of the parts that the current part has called

    def now(self) -> float:
        if self.on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """The time of parts inside this one is theirs alone."""
        started, outer, self.inside = self.now(), self.inside, 0.0
        yield
        elapsed = self.now() - started
        if self.counting:
            self.seconds[name] += elapsed - self.inside
        self.inside = outer + elapsed

    def wrap(self, owner: Any, name: str, part: str) -> None:
        """Time every call of `owner.name`."""
        call = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.part(part):
                return call(*args, **kwargs)

        setattr(owner, name, timed)

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.wrap(pl_module.binder, "encode", "encoder forward")
        self.wrap(pl_module, "losses", "loss, forward and backward")  # tiles compute gradients along with the value
        self.wrap(trainer.strategy, "backward", "encoder backward")
        for optimizer in trainer.optimizers:
            self.wrap(optimizer, "step", "optimizer")  # it calls the others

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.counting = batch_idx >= WARM_UP_STEPS
        if self.counting:
            self.seconds["waiting for data"] += self.now() - self.end_of_last

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        now = self.now()
        if self.counting:
            self.num_steps += 1
            self.seconds["step"] += now - self.end_of_last
        self.counting = False  # the evaluation after the last step is no part of any
        self.end_of_last = now

    def shares(self) -> dict[str, float]:
        """Milliseconds per step in all, and the shares of its parts."""
        parts = dict(self.seconds)
        step = parts.pop("step")
        parts["rest"] = step - sum(parts.values())
        return {"ms per step": 1000 * step / self.num_steps, **{name: x / step for name, x in parts.items()}}


def measure(overrides: list[str], steps: int) -> dict[str, float]:
    clock = Clock()
    with tempfile.TemporaryDirectory() as run_dir:
        job = [
            f"run_dir={run_dir}",
            "trainer.max_epochs=1",
            "trainer.limit_val_batches=0",
            "trainer.enable_progress_bar=false",
            f"data.steps_per_epoch={steps + WARM_UP_STEPS}",
            "data.num_train=512",
            "data.num_test_queries=1",
            "evaluation.num_gallery_queries=0",
        ]
        bind.train([*job, *overrides], callbacks=[clock])
    return clock.shares()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1], help="loader processes")
    parser.add_argument("--precisions", nargs="+", default=["32-true", "bf16-mixed"])
    parser.add_argument("--compile", nargs="+", default=["false", "true"])
    parser.add_argument("overrides", nargs="*", help="as for train.py")
    options = parser.parse_args()
    rows = []
    for num_workers in options.workers:
        for precision in options.precisions:
            for compiled in options.compile:
                switches = [f"data.num_workers={num_workers}", f"trainer.precision={precision}", f"compile={compiled}"]
                shares = measure([*switches, *options.overrides], options.steps)
                rows.append((" ".join(switches), shares))
    device = "CUDA" if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"
    print(f"\n{options.steps} steps each, {device}")
    for switches, shares in rows:
        print(f"\n{switches}\n  {shares['ms per step']:8.1f} ms per step")
        for name, share in sorted(shares.items(), key=lambda item: -item[1]):
            if name != "ms per step":
                print(f"  {share:8.1%} {name}")
        print(f"  {shares['encoder forward'] + shares['encoder backward']:8.1%} in the encoders, forward and backward")


if __name__ == "__main__":
    main()
