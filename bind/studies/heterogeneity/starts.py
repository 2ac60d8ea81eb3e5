"""The same task learned from several starts: equal batches, equal steps, equal dropout; only the start differs."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from bind.build import build
from bind.encoders.trainable import FULL, LORA, options_of_training
from bind.evaluation.embedded import EmbeddedSplit
from bind.metrics.usable_information import UsableInformation, usable_information
from bind.model.binder import Binder
from bind.model.encoder_and_head import build_encoder_and_head
from bind.model.trunks import copy_trunk
from bind.studies.heterogeneity.tasks import StudiedRun, TransferTask
from bind.training.module import BindingModule, parameter_groups, reseed
from bind.types import Batch, Embeddings, Modality

PRESETS = "encoder/audio=transformer encoder/imu=transformer encoder/depth=transformer encoder/thermal=transformer"


def make_learner(parts: StudiedRun, task: TransferTask, seed: int) -> BindingModule:
    """A new encoder, head and temperature for one task, by the run's config, over the run's anchor."""
    config, trust, binder = parts.config, parts.trust, parts.binder
    options = {key: value for key, value in config["encoder"][task.modality].items() if key != "share"}
    train, _ = options_of_training(options)
    train = FULL if train == LORA else train  # trunks of a run are compared by their weights, which are merged
    with random_state(seed, binder):
        encoder, head = build_encoder_and_head(options, config["head"], binder.anchor, trust=trust)
    own = Binder(binder.anchor, {task.modality: encoder}, {task.modality: head}, {}, train={task.modality: train})
    make_loss = functools.partial(build, config["loss"], "loss", trust=trust)
    chunk_size = config["data"]["chunk_size"]
    pairs = [replace(task.pair, weight=1.0)]
    return BindingModule(own, pairs, loss=make_loss, chunk_size=chunk_size, **config["optimizer"])


def start_from(
    fresh: BindingModule, task: TransferTask, parts: StudiedRun, source: Modality, *, with_head: bool
) -> BindingModule:
    """A copy of `fresh` with the run's trained trunk of `source`, and its head.

    Raises:
        ValueError: where the trunks, or the heads, are not built alike.
    """
    binder, target = parts.binder, task.modality
    learner = copy.deepcopy(fresh, {id(binder.anchor): binder.anchor})
    try:
        copy_trunk(binder.encoders[source], learner.binder.encoders[target])
        if with_head:
            learner.binder.heads[target].load_state_dict(binder.heads[source].state_dict())
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"what was learned for {source} does not fit {target}: {error}. Heterogeneity needs encoders whose trunks "
            f"are alike: train with {PRESETS} (those of your modalities)"
        ) from error
    return learner


@contextmanager
def random_state(seed: int, binder: Binder) -> Iterator[None]:
    """Torch's generators seeded inside, as before outside."""
    device = next(binder.parameters()).device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        reseed(seed, device)
        yield


def fine_tune(
    learners: Sequence[BindingModule],
    parts: StudiedRun,
    task: TransferTask,
    seed: int,
    steps: int,
    *,
    advance: Callable[[], Any],
) -> None:
    """`steps` of the run's own loss and AdamW on the same batches, with one warm-up and cosine over these steps."""
    device = next(parts.binder.parameters()).device
    clip = parts.config["trainer"]["gradient_clip_val"] or math.inf
    optimizers = [
        torch.optim.AdamW(parameter_groups(x, x.weight_decay), lr=x.lr, betas=x.betas)  # type: ignore[arg-type]
        for x in learners
    ]
    loader = parts.training_loader([task.modality, task.target], seed, steps)
    for step, batch in enumerate(loader):
        batch = batch.to(device)
        for learner, optimizer in zip(learners, optimizers, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = learner.lr * learning_rate_share(step, steps, learner.warmup_fraction)
            with random_state(seed * 1_000_003 + step, parts.binder):
                losses = learner.losses(batch, learner.binder(batch, learner.chunk_size))
            optimizer.zero_grad()
            torch.stack(list(losses.values())).sum().backward()
            torch.nn.utils.clip_grad_norm_(learner.parameters(), clip)
            optimizer.step()
            learner.on_train_batch_end(None, batch, step)
        advance()


def learning_rate_share(step: int, steps: int, warmup_fraction: float) -> float:
    """The learning rate of a step as a share of the peak: rising in the first steps, then half a cosine to 0."""
    rising = (step + 1) / max(1, round(warmup_fraction * steps))
    return min(1.0, rising) * 0.5 * (1 + math.cos(math.pi * step / steps))


@torch.no_grad()
def measure(learners: Sequence[BindingModule], parts: StudiedRun, task: TransferTask) -> list[UsableInformation]:
    """Usable information of each learner on the validation split: the task's modality asks, its target is the pool."""
    device = next(parts.binder.parameters()).device
    found: list[list[tuple[Batch, Embeddings]]] = [[] for _ in learners]
    for learner in learners:
        learner.eval()
    for batch in parts.validation_loader([task.modality, task.target]):
        batch = batch.to(device)
        light = replace(batch, inputs={}, cached={})
        for learner, own in zip(learners, found, strict=True):
            own.append((light, learner.binder(batch, learner.chunk_size)))
    one_per_group = parts.config["data"]["one_per_group"]
    return [_of_split(EmbeddedSplit.collect(own), task, one_per_group) for own in found]


def _of_split(split: EmbeddedSplit, task: TransferTask, one_per_group: bool) -> UsableInformation:
    queries, pool = split.query_and_pool_rows(task.modality, task.target, one_per_group=one_per_group)
    groups = {m: split.group_ids_N[split.rows[m]] for m in (task.modality, task.target)}
    return usable_information(
        split.z[task.modality][queries],
        split.z[task.target][pool],
        groups[task.modality][queries],
        groups[task.target][pool],
    )


def measure_starts(
    parts: StudiedRun,
    task: TransferTask,
    sources: Sequence[Modality],
    seed: int,
    steps: int,
    *,
    with_head: bool,
    advance: Callable[[], Any],
) -> Mapping[Modality | None, float]:
    """Bits on one task after `steps` from each source's trained parts, and from nothing (None)."""
    device = next(parts.binder.parameters()).device
    fresh = make_learner(parts, task, seed).to(device)
    learners = {source: start_from(fresh, task, parts, source, with_head=with_head) for source in sources}
    all_learners = [fresh, *learners.values()]
    fine_tune(all_learners, parts, task, seed, steps, advance=advance)
    bits = [found.bits for found in measure(all_learners, parts, task)]
    return dict(zip([None, *learners], bits, strict=True))
