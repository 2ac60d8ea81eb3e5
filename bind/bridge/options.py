"""Options of the training of a bridge."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BridgeTraining:
    """How a bridge is trained.

    Attributes:
        num_steps: of the optimizer, AdamW, whose rate falls as a cosine.
        batch_size: dialogues of a step.
        noise: length of the Gaussian noise that is added to a unit vector, in expectation, before it is made a unit
            vector again.
        save_every_steps: so often the state is written, from which a stopped training goes on.
    """

    num_steps: int = 1500
    batch_size: int = 64
    lr: float = 5e-3
    weight_decay: float = 0.01
    noise: float = 0.5
    seed: int = 0
    save_every_steps: int = 100

    def __post_init__(self) -> None:
        for name in ("num_steps", "batch_size", "save_every_steps"):
            if not isinstance(value := getattr(self, name), int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name}={value}: give a whole number of at least 1")
        for name in ("lr", "weight_decay", "noise"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
                raise ValueError(f"{name}={value}: give a number of 0 or more")
