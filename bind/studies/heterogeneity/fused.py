"""Learned fusions of pairs of modalities over a run's frozen embeddings, and what one pair's fusion is to another."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bind.build import build
from bind.evaluation.embedded import EmbeddedSplit
from bind.fusion.attention import AttentionFusion
from bind.fusion.early import EarlyFusion
from bind.fusion.inputs import fused_name
from bind.metrics import bootstrap_ci
from bind.metrics.bootstrap import why_undecided
from bind.metrics.heterogeneity import Heterogeneity
from bind.metrics.usable_information import UsableInformation, usable_information
from bind.studies.heterogeneity.starts import learning_rate_share, random_state
from bind.studies.heterogeneity.tasks import StudiedRun, TransferTask
from bind.types import Batch, Embeddings, Modality

log = logging.getLogger("bind")

ORDERS = ((0, 1), (1, 0))


@dataclass(frozen=True)
class FusedTask:
    """Find the target that belongs with two inputs, from frozen vectors of samples that have all three.

    Attributes:
        inputs, target: modalities.
        train_M: vectors (N, D) of each input for training, `train_target` those of the target.
        train_groups: int64 (N,).
        queries_M: vectors (Q, D) of each input that ask, of groups `query_groups`.
        pool, pool_groups: what is asked, (P, D) and (P,).
    """

    inputs: tuple[Modality, Modality]
    target: Modality
    train_M: list[Tensor]
    train_target: Tensor
    train_groups: Tensor
    queries_M: list[Tensor]
    query_groups: Tensor
    pool: Tensor
    pool_groups: Tensor

    @property
    def name(self) -> str:
        return fused_name(self.inputs)

    @property
    def num_answered_groups(self) -> int:
        """Groups that ask and have an item in the pool."""
        return len(self.query_groups[torch.isin(self.query_groups, self.pool_groups)].unique())

    def information(self, z_query: Tensor) -> UsableInformation:
        return usable_information(z_query, self.pool, self.query_groups, self.pool_groups)

    def fuse(self, fusion: nn.Module, z_M: Sequence[Tensor]) -> Tensor:
        """One vector for each row of vectors that are all present."""
        present = torch.ones(len(z_M[0]), dtype=torch.bool, device=z_M[0].device)
        z: Tensor = fusion(dict(zip(self.inputs, z_M, strict=True)), dict.fromkeys(self.inputs, present))
        return z

    def plain_sum(self) -> UsableInformation:
        """Of the sum of both, which needs no training."""
        return self.information(self.fuse(EarlyFusion(inputs=self.inputs), self.queries_M))

    def learned(self, fusion: AttentionFusion, parts: StudiedRun, seed: int, steps: int) -> UsableInformation:
        """After `steps` of the run's loss on `fusion`, in place; the same batches and dropout for a seed."""
        options = parts.config["optimizer"]
        loss = build(parts.config["loss"], "loss", trust=parts.trust)
        weights = [p for module in (fusion, loss) for p in module.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(weights, lr=options["lr"], betas=tuple(options["betas"]), weight_decay=0.0)
        batch_size = min(parts.config["data"]["batch_size"], len(self.train_groups))
        fusion.train()
        with random_state(seed, parts.binder):
            for step in range(steps):
                for group in optimizer.param_groups:
                    group["lr"] = options["lr"] * learning_rate_share(step, steps, options["warmup_fraction"])
                rows = torch.randperm(len(self.train_groups))[:batch_size]
                z_fused = self.fuse(fusion, [z[rows] for z in self.train_M])
                optimizer.zero_grad()
                loss(z_fused, self.train_target[rows], self.train_groups[rows]).backward()
                optimizer.step()
                loss.clamp_()
        fusion.eval()
        with torch.no_grad():
            return self.information(self.fuse(fusion, self.queries_M))


def make_fused_tasks(
    parts: StudiedRun, tasks: Sequence[TransferTask], num_batches: int, advance: Callable[[], Any]
) -> list[FusedTask]:
    """Every pair of modalities that look for the same target, embedded once; pairs without shared samples are told."""
    batches = []
    one_per_group = parts.config["data"]["one_per_group"]
    for target in dict.fromkeys(task.target for task in tasks):
        modalities = [task.modality for task in tasks if task.target == target]
        wanted = [*modalities, target]
        if not any(parts.sources_carrying(wanted, 3)):
            continue
        train = embed(parts, parts.training_loader(wanted, parts.config["seed"], num_batches, 3), advance)
        val = embed(parts, parts.validation_loader(wanted), advance)
        for pair in itertools.combinations(modalities, 2):
            task = None
            if {*pair, target} <= train.z.keys() & val.z.keys():
                task = _of_pair(pair, target, train, val, one_per_group)
            if task and len(task.train_groups) > 1 and task.num_answered_groups > 1:
                batches.append(task)
            else:
                log.warning("no fusion of %s: hardly any sample has both and %s", " and ".join(pair), target)
    return batches


@torch.no_grad()
def embed(parts: StudiedRun, loader: Any, advance: Callable[[], Any]) -> EmbeddedSplit:
    """What the run's frozen Binder makes of these batches, on the CPU."""
    device = next(parts.binder.parameters()).device
    parts.binder.eval()
    batches: list[tuple[Batch, Embeddings]] = []
    for batch in loader:
        batches.append((Batch(batch.keys, batch.group_ids_B, {}, {}), parts.binder(batch.to(device))))
        advance()
    return EmbeddedSplit.collect(batches)


def _of_pair(
    pair: tuple[Modality, Modality], target: Modality, train: EmbeddedSplit, val: EmbeddedSplit, one_per_group: bool
) -> FusedTask:
    (*train_M, train_target), rows = _embeddings(train).aligned([*pair, target])
    queries_M, query_rows = _embeddings(val).aligned(pair)
    if one_per_group:
        is_query = ~val.is_pool_item([target])[query_rows]
        queries_M, query_rows = [z[is_query] for z in queries_M], query_rows[is_query]
    pool = val.pool_rows(target, one_per_group=one_per_group)
    return FusedTask(
        pair,
        target,
        train_M,
        train_target,
        train.group_ids_N[rows],
        queries_M,
        val.group_ids_N[query_rows],
        val.z[target][pool],
        val.group_ids_N[val.rows[target][pool]],
    )


def _embeddings(split: EmbeddedSplit) -> Embeddings:
    return Embeddings(split.z, split.rows, len(split.keys))


def learn_fusions(
    parts: StudiedRun, tasks: Sequence[FusedTask], seeds: Sequence[int], steps: int, advance: Callable[[], Any]
) -> tuple[list[dict[str, Any]], list[list[AttentionFusion]]]:
    """Figures of every pair, and the fusions (seed, pair) that were learned from nothing.

    A pair deserves a head where the mean gain of the learned fusion over the plain sum is more than its spread over
    seeds and its 95 % interval over validation samples, redrawn by group, is above 0: few queries can flatter all seeds
    alike, and too few groups decide nothing.
    """
    fusions = [[make_fusion(task, parts, seed) for task in tasks] for seed in seeds]
    figures = []
    for p, task in enumerate(tasks):
        plain, learned = task.plain_sum(), []
        for seed, own in zip(seeds, fusions, strict=True):
            learned.append(task.learned(own[p], parts, seed, steps))
            advance()
        gains_SQ = torch.stack([batches.bits_Q - plain.bits_Q for batches in learned])
        gain, spread = float(gains_SQ.mean()), float(gains_SQ.mean(dim=1).std())
        groups_Q = task.query_groups[plain.queries_Q].numpy()
        low, high = bootstrap_ci(gains_SQ.mean(dim=0).numpy(), groups_Q)
        resampled = {"resampled": "groups", "clusters": len(np.unique(groups_Q))}
        figures.append(
            {
                "inputs": list(task.inputs),
                "target": task.target,
                "queries": len(plain.queries_Q),
                "pool": len(task.pool),
                "alone": {m: task.information(z).bits for m, z in zip(task.inputs, task.queries_M, strict=True)},
                "plain_sum": plain.bits,
                "learned": plain.bits + gain,
                "gain": gain,
                "gain_std": spread,
                "ci95_gain": [low, high],
                "deserves_a_head": gain > spread and low > 0 and not why_undecided(resampled),
                **resampled,
            }
        )
    return figures, fusions


def measure_fusion_transfer(
    parts: StudiedRun,
    tasks: Sequence[FusedTask],
    fusions: Sequence[Sequence[AttentionFusion]],
    seeds: Sequence[int],
    steps: int,
    *,
    advance: Callable[[], Any],
) -> Heterogeneity:
    """Every pair's fusion on every other pair's task after few steps.

    A pair has no first and second, so a fusion is taken over in both orders, and the one with more bits on average over
    seeds counts; from its own pair in its own order.
    """
    num = len(tasks)
    bits_OSPP, fresh_SP = np.zeros((2, len(seeds), num, num)), np.zeros((len(seeds), num))
    for s, seed in enumerate(seeds):
        for j, task in enumerate(tasks):
            fresh_SP[s, j] = task.learned(make_fusion(task, parts, seed), parts, seed, steps).bits
            for i, (o, order) in itertools.product(range(num), enumerate(ORDERS)):
                fusion = start_fusion_from(
                    fusions[s][i], make_fusion(task, parts, seed), ORDERS[0] if i == j else order
                )
                bits_OSPP[o, s, i, j] = task.learned(fusion, parts, seed, steps).bits
                advance()
    better_PP = bits_OSPP.mean(axis=1).argmax(axis=0)
    return Heterogeneity(np.take_along_axis(bits_OSPP, better_PP[None, None], axis=0)[0], fresh_SP)


def make_fusion(task: FusedTask, parts: StudiedRun, seed: int) -> AttentionFusion:
    with random_state(seed, parts.binder):
        return AttentionFusion(inputs=task.inputs, dim=parts.binder.dim)


def start_fusion_from(source: AttentionFusion, target: AttentionFusion, order: Sequence[int]) -> AttentionFusion:
    """`target` with the scorers of `source`, input by input: its k-th gets that of input `order[k]`."""
    for scorer, place in zip(target.scorers, order, strict=True):
        scorer.load_state_dict(source.scorers[place].state_dict())
    return target
