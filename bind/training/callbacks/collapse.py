"""The collapse alarm: a modality whose vectors stop telling its samples apart is named, with what to do about it."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from bind.losses import InfoNCE
from bind.types import Batch, Modality, Pair

log = logging.getLogger("bind")

ONE_VECTOR = 1e-4
"""Share of the anchor's spread below which an encoder ignores its input. Rounding leaves 1e-7 of it (fp32) to 1e-5
(bf16); before its first step an encoder of this house has 0.2 to 0.9."""
NEARLY_ONE_VECTOR = 0.05
"""The same where retrieval is at chance too, well into the training: a fifth of what the narrowest encoder starts
with, so that a run has to lose what it was born with."""
MIN_COLLAPSE_LOGIT = 1.5
"""Nats. With a perfect encoder a match would weigh exp(this) times as much as any other sample. The default temperature
gives 11 with the toy anchor, and 7 where pictures have a mean cosine of 0.5; a temperature of 1 gives 1 at most."""
GROWN = 3.0
"""Times its norm at the start: on the toy world 1.0 after two epochs, 7 at a hundred times the default rate."""
MEMORISED_LOSS_SHARE = 0.8
"""Share of ln(batch), the loss of an encoder that knows nothing."""
NUM_START_STEPS, NUM_LAST_STEPS = 10, 50
CHANCE_DEVIATIONS = 3.0
MIN_SAMPLES = 40
"""Among fewer, a recall that is well above chance can't be told from chance."""


class CollapseAlarm(L.Callback):
    """Warns after a validation, once per modality and cause, where a trained modality has lost its meaning.

    The spread of a modality is 1 - the mean cosine between its vectors, and is measured in that of the anchor. Causes:

    - constant: all inputs get one vector (at once), or nearly one and retrieval is at chance (after a while);
    - chance: the vectors differ, but in both directions of every pair retrieval is at chance (after a while);
    - temperature: with vectors as good as the other side's own, a match would hardly stand out in the loss.

    "After a while" is when both `after_fraction` of all optimizer steps and `min_steps` are over, as every encoder is
    at chance when it starts. "At chance" is within three standard deviations of it, for R@1 and R@10, in a pool of at
    least 40; a smaller validation split can't show it.

    Args:
        after_fraction: share of the training's steps.
        min_steps: number of steps.

    Raises:
        ValueError: `after_fraction` outside 0 … 1, or `min_steps` below 0.
    """

    def __init__(self, after_fraction: float = 0.25, min_steps: int = 100) -> None:
        if not 0 <= after_fraction <= 1 or min_steps < 0:
            raise ValueError(
                f"callbacks.collapse: after_fraction={after_fraction} and min_steps={min_steps} must be a share from "
                "0 to 1 and a number of steps; callbacks.collapse=null switches the alarm off"
            )
        self.after_fraction, self.min_steps = after_fraction, min_steps
        self._reported: list[str] = []
        self._start_loss: dict[str, float] = {}
        self._start_norm: dict[Modality, float] = {}
        self._alive: dict[Modality, list[float]] = {}  # last step at which it was above chance, and its R@1 there
        self._num_rows: dict[str, int] = {}
        self._losses: dict[str, deque[Tensor]] = {}  # of the last steps; hardly ever read, so that no step waits

    def state_dict(self) -> dict[str, Any]:
        return {
            "told": list(self._reported),
            "start_loss": dict(self._start_loss),
            "start_norm": dict(self._start_norm),
            "alive": dict(self._alive),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._reported = list(state_dict["told"])
        self._start_loss = dict(state_dict["start_loss"])
        self._start_norm = dict(state_dict["start_norm"])
        self._alive = dict(state_dict["alive"])

    def on_train_start(self, trainer: L.Trainer, module: Any) -> None:
        for modality in trained_modalities(module):
            self._start_norm.setdefault(modality, weight_norm(module, modality))

    def on_train_batch_end(self, trainer: L.Trainer, module: Any, outputs: Any, batch: Batch, *args: Any) -> None:
        for name, loss in module.last_losses.items():
            recent = self._losses.setdefault(name, deque(maxlen=NUM_LAST_STEPS))
            recent.append(loss)
            if len(recent) == NUM_START_STEPS and name not in self._start_loss:
                self._start_loss[name] = mean(recent)
            self._num_rows[name] = len(batch) * trainer.world_size

    def on_validation_end(self, trainer: L.Trainer, module: Any) -> None:
        if trainer.sanity_checking:
            return
        losses = {name: mean(recent) for name, recent in self._losses.items()}
        assert module.schedule is not None
        total = module.schedule.total_steps
        due = max(self.min_steps, self.after_fraction * total if math.isfinite(total) else 0)
        is_late = trainer.global_step >= due
        for cause, modality, warning in self._findings(module, losses, trainer.global_step, is_late):
            if f"{modality}: {cause}" not in self._reported:
                self._reported.append(f"{modality}: {cause}")
                if trainer.is_global_zero:
                    log.warning("After %d steps, %s", trainer.global_step, warning)

    def _findings(
        self, module: Any, losses: Mapping[str, float], step: int, is_late: bool
    ) -> Iterator[tuple[str, Modality, str]]:
        """Cause, modality and warning."""
        space, retrieval = module.last_figures["space"], module.last_figures["retrieval"]
        reference = reference_spread(module)
        for modality in trained_modalities(module):
            pairs = [p for p in module.pairs if modality in (p.a, p.b) and p.name in space]
            if not pairs or modality not in space or reference <= 0:
                continue
            chance = [is_at_chance(retrieval[way]) for p in pairs for way in directions(p) if way in retrieval]
            if chance and all(at_chance is False for at_chance in chance):
                recalls = [retrieval[way]["R@1"] for p in pairs for way in directions(p)]
                self._alive[modality] = [step, sum(recalls) / len(recalls)]
            is_lost = is_late and bool(chance) and all(chance)
            share = spread(space, modality) / reference
            seen = self._seen(module, modality, pairs, losses)
            if share < ONE_VECTOR or (is_lost and share < NEARLY_ONE_VECTOR):
                yield "constant", modality, self._constant(module, modality, pairs, share < ONE_VECTOR, seen)
            elif is_lost and f"{modality}: constant" not in self._reported:  # may part again by heart: the same trouble
                yield "chance", modality, self._chance(module, modality, pairs, losses, seen)
            for pair in pairs:
                partner = pair.b if modality == pair.a else pair.a
                scale = float(module.pair_losses[pair.name].logged()["scale"])
                logit = scale * (spread(space, partner) if is_frozen(module, partner) else 1.0)
                if logit <= MIN_COLLAPSE_LOGIT and (is_late or not pair.learn_temperature):
                    yield (
                        "temperature",
                        modality,
                        temperature_warning(modality, pair, partner, scale=scale, logit=logit, seen=seen),
                    )

    def _seen(self, module: Any, modality: Modality, pairs: list[Pair], losses: Mapping[str, float]) -> str:
        space, retrieval = module.last_figures["space"], module.last_figures["retrieval"]
        partners = [m for p in pairs for m in (p.a, p.b) if m != modality and m in space]
        shown = "; ".join(
            f"{m}: {space[m]['mean_cosine']:.4f}, {space[m]['effective_rank']:.1f}, {space[m]['uniformity']:.2f}"
            for m in dict.fromkeys([modality, *partners])
        )
        recalls = ", ".join(
            f"{way[0]} to {way[1]} {retrieval[way]['R@1']:.3f} (chance {retrieval[way]['chance_R@1']:.3f})"
            for p in pairs
            for way in directions(p)
            if way in retrieval
        )
        trend = ""
        if modality in self._alive and self._alive[modality][0] < module.global_step:
            trend = "; after step {:.0f} it was {:.3f}".format(*self._alive[modality])
        of_pairs = ", ".join(
            f"{p.name} "
            + (f"{self._start_loss[p.name]:.2f} at the start, " if p.name in self._start_loss else "")
            + f"{losses[p.name]:.2f} now"
            + (f" (chance about {self._chance_loss(p):.2f})" if isinstance(module.pair_losses[p.name], InfoNCE) else "")
            for p in pairs
            if p.name in losses
        )
        return (
            f"\n  seen: mean cosine, effective rank, uniformity of {shown}"
            f"\n  seen: R@1 {recalls}{trend}; training loss {of_pairs or 'unknown'}"
        )

    def _constant(self, module: Any, modality: Modality, pairs: list[Pair], is_exact: bool, seen: str) -> str:
        inputs = (
            "inputs that are all alike (silence, zeros, a transform that removes what differs) or an encoder that "
            f"ignores them: look at what encoder.{modality} gets"
        )
        causes = [inputs, mismatch(pairs)] if is_exact else [mismatch(pairs), inputs]
        how = "the same vector" if is_exact else "nearly the same vector"
        return f"{modality} has collapsed: every input gets {how}.{seen}{self._likely(module, modality, causes)}"

    def _chance(
        self, module: Any, modality: Modality, pairs: list[Pair], losses: Mapping[str, float], seen: str
    ) -> str:
        of_info_nce = [p for p in pairs if p.name in losses and isinstance(module.pair_losses[p.name], InfoNCE)]
        if any(losses[p.name] < MEMORISED_LOSS_SHARE * self._chance_loss(p) for p in of_info_nce):
            causes = [
                f"{mismatch(pairs)}; or too few samples for so large an encoder. The training loss falls: pairs are "
                "learned by heart"
            ]
        else:
            causes = [mismatch(pairs), f"an encoder or a rate (optimizer.lr={module.lr:g}) too small to begin"]
        return (
            f"{modality} finds nothing: its vectors differ, but retrieval is at chance."
            f"{seen}{self._likely(module, modality, causes)}"
        )

    def _chance_loss(self, pair: Pair) -> float:
        return math.log(max(2, self._num_rows[pair.name]))

    def _likely(self, module: Any, modality: Modality, causes: list[str]) -> str:
        growth = weight_norm(module, modality) / max(self._start_norm.get(modality, 0.0), 1e-12)
        rate = f"a learning rate that is too high (optimizer.lr={module.lr:g}): try a tenth of it, or a longer warm-up"
        if growth > GROWN or modality in self._alive:
            causes = [f"{rate} (its weights are {growth:.1f} times as large as at the start)", *causes]
        else:
            causes = [*causes, rate]
        return "".join(f"\n  likely ({n}): {cause}" for n, cause in enumerate(causes, 1))


def mean(losses: Iterable[Tensor]) -> float:
    return float(torch.stack(list(losses)).float().mean())


def trained_modalities(module: Any) -> list[Modality]:
    names = dict.fromkeys(m for pair in module.pairs for m in (pair.a, pair.b))
    return [m for m in names if not is_frozen(module, m)]


def is_frozen(module: Any, modality: Modality) -> bool:
    return not module.binder.is_trainable(modality) and modality != module.binder.fused_modality


def directions(pair: Pair) -> tuple[tuple[Modality, Modality], tuple[Modality, Modality]]:
    """Both ways to search: (query, pool)."""
    return (pair.a, pair.b), (pair.b, pair.a)


def reference_spread(module: Any) -> float:
    """The widest of the frozen modalities; 1, that of vectors around the origin, where all are trained."""
    space = module.last_figures["space"]
    frozen = [m for m in module.binder.modalities if m in space and is_frozen(module, m)]
    return max((spread(space, m) for m in frozen), default=1.0)


def spread(space: Mapping[str, Mapping[str, float]], modality: Modality) -> float:
    """1 - the mean cosine: half the mean squared distance between two vectors."""
    return 1 - space[modality]["mean_cosine"]


def is_at_chance(figures: Mapping[str, Any]) -> bool | None:
    """Whether retrieval figures can't be told from chance; None where there are too few samples to say.

    There are as many independent samples as the smaller side has: several queries may ask for one item.
    """
    samples = min(figures["queries"], figures["pool"])
    if samples < MIN_SAMPLES:
        return None

    def within(k: int) -> bool:
        chance = figures[f"chance_R@{k}"]
        largest: float = chance + CHANCE_DEVIATIONS * math.sqrt(chance * (1 - chance) / samples)
        return float(figures[f"R@{k}"]) <= largest

    return within(1) and within(10)


def weight_norm(module: Any, modality: Modality) -> float:
    """Of what is trained for one modality; under sharding of this process's part."""
    binder = module.binder
    if modality == binder.fused_modality:
        parts = [binder.fusion]
    else:
        parts = [binder.encoders[modality], binder.heads[modality]] if modality in binder.encoders else [binder.anchor]
    own = [
        p.to_local() if isinstance(p, DTensor) else p for part in parts for p in part.parameters() if p.requires_grad
    ]
    return math.sqrt(sum(float(p.detach().float().square().sum()) for p in own))


def mismatch(pairs: list[Pair]) -> str:
    names = ", ".join(pair.name for pair in pairs)
    return f"samples whose two sides do not belong together ({names}: shuffled rows, clocks that differ): look at a few"


def temperature_warning(
    modality: Modality, pair: Pair, partner: Modality, *, scale: float, logit: float, seen: str
) -> str:
    """What a temperature that is far too high means for one modality."""
    kind, do = "fixed", f"pairs.{pair.name}.temperature=0.07 (from 0.01 to 0.2 is usual)"
    if pair.learn_temperature:
        kind = "learned"
        do += f"; if it has come up from there, pairs.{pair.name}.learn_temperature=false or a lower optimizer.lr"
    return (
        f"the temperature of {pair.name}, {1 / scale:.2g} ({kind}), is far too high for {modality}: even if its "
        f"vectors were those of {partner}, a match would weigh only {math.exp(logit):.1f} times as much in the loss as "
        f"any other sample, so that the loss stays near ln(batch).{seen}\n  do: {do}"
    )
