"""Schedule of the learning rate, counted in samples, so that a run may go on with steps of another size."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """The learning rate of each step as a share of the peak: a linear warm-up, then a cosine to the last sample.

    Samples are the unit because steps change: with twice the processes half as many are left. A training that goes on
    with other steps covers what is left of its samples with what is left of the cosine. While steps stay the same it
    is the schedule by steps, bit for bit. A training without end has a warm-up, as a share of its first epoch, and
    then the peak.

    Args:
        samples_per_step: of all processes together, over all batches that a step accumulates.
        num_steps: still to come, from `start_step` on; None: no end.
        warmup_fraction: share of all samples in which the rate rises.
        end_fraction: where the cosine ends.
        steps_per_epoch: for the warm-up of a training without end.
        start_step: the step at which this process goes on, 0 in a new training.
        start_samples: samples before it; None: as many as steps of this size have.

    Examples:
        >>> schedule = Schedule(samples_per_step=16, num_steps=100, warmup_fraction=0.2)
        >>> schedule.rate(1), schedule.rate(19), schedule.rate(60), schedule.rate(100)
        (0.1, 1.0, 0.5, 0.0)
        >>> wider = Schedule(64, 15, 0.2, start_step=40, start_samples=schedule.samples(40))  # four times as wide
        >>> wider.rate(40) == schedule.rate(40), wider.rate(45) == schedule.rate(60), wider.rate(55)
        (True, True, 0.0)
    """

    samples_per_step: int
    num_steps: int | None
    warmup_fraction: float
    end_fraction: float = 0.0
    steps_per_epoch: int = 1
    start_step: int = 0
    start_samples: int | None = None

    def samples(self, step: int) -> int:
        """The number of samples before `step`."""
        start = self.start_samples
        if start is None:
            start = self.start_step * self.samples_per_step
        return start + (step - self.start_step) * self.samples_per_step

    @property
    def total_steps(self) -> float:
        """The number of the last step, counted from the start of the training; infinite where there is no end."""
        return math.inf if self.num_steps is None else self.start_step + self.num_steps

    @property
    def warmup_samples(self) -> int:
        if self.num_steps is None:
            num_steps: float = self.steps_per_epoch
        else:
            num_steps = self.samples(self.start_step + self.num_steps) / self.samples_per_step
        return max(1, round(self.warmup_fraction * num_steps)) * self.samples_per_step

    def rate(self, step: int) -> float:
        # Quotients of whole numbers: they are the same floats for samples as for steps of one size.
        done, warmup = self.samples(step), self.warmup_samples
        if done < warmup:
            return min(1.0, (done + self.samples_per_step) / warmup)
        if self.num_steps is None:
            return 1.0
        left = self.samples(self.start_step + self.num_steps) - warmup
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, (done - warmup) / max(1, left))))
        return self.end_fraction + (1 - self.end_fraction) * cosine
