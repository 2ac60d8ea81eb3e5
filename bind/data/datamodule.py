"""Data module of a run for Lightning: sources in, exact batches out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader

from bind.data.dataset import BatchDataset
from bind.data.identity import identify_samples
from bind.data.mixture import source_weights
from bind.data.owners import choose_owners, order_of_rows, rows_of_owners, training_owners
from bind.data.plan import BatchPlan, EvaluationPlan, Order, free_order
from bind.data.same_values import equal_values
from bind.data.sources.splits import (
    owner_suspects,
    parts_of_mixture,
    refuse_shared_owners,
    refuse_shared_spans,
    require_split,
    samples_for_spans,
)
from bind.data.value_ids import ValueIds
from bind.processes.workers import PrefetchLoader
from bind.types import Batch, EmbeddingCache, Modality, OrderedSource, Source, Transform


class BindDataModule(L.LightningDataModule):
    """Training batches by plan, evaluation splits in order, both from the same sources and transforms.

    Args:
        sources: name → dataset.
        transforms: modality → its transform; the anchor's processors among them.
        train_modalities: what the loss needs.
        evaluation_modalities: what is measured.
        batch_size: rows per process and step.
        evaluation_batch_size: rows per process in evaluation; None takes `batch_size`.
        num_workers: processes that load and transform, for training and evaluation each; 0 loads in this process.
        timeout_seconds: how long the training waits for a batch of theirs.
        alpha: sources are drawn in proportion to weight * size ** alpha.
        weights: name of a source → how much more often it is drawn, 1 where it is not named; 0 keeps it to evaluation,
            as is a source without a training split.
        steps_per_epoch: None counts every sample once.
        seed: of the batch plan and of every sample's augmentation.
        views_of: modalities that training and validation have in two views, see `BatchDataset`.
        owner_share: share of the owners that train, drawn by `seed`; an epoch is as long as with all of them.
        known: modalities of which splits may share files: what is evaluated of them was trained on.

    Attributes:
        start: the epoch, and the batch in it, with which the training begins or goes on.
        has_other_batches: whether a checkpoint was made with batches of another size or number than there are now.

    Raises:
        ValueError: for sizes that are no counts, weights of unknown sources or below 0, and sources of which one trains
            on an owner or a stretch of a file that another evaluates on; later, where no source has a split, or a batch
            is larger than the data.

    Examples:
        >>> from bind.data.sources.toy.world import ToySource
        >>> from bind.data.transforms.imu import ImuTransform
        >>> toy = ToySource(num_train=64, modalities=["imu"])
        >>> data = BindDataModule({"toy": toy}, {"imu": ImuTransform()}, ["imu"], ["imu"], batch_size=16)
        >>> batch = next(iter(data.evaluation_dataloader("val")))
        >>> batch.inputs["imu"].shape, batch.keys[0]
        (torch.Size([16, 6, 200]), 'toy/val/0000/00')
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        transforms: Mapping[Modality, Transform],
        train_modalities: Sequence[Modality],
        evaluation_modalities: Sequence[Modality],
        *,
        batch_size: int = 64,
        evaluation_batch_size: int | None = None,
        num_workers: int = 0,
        timeout_seconds: float = 600.0,
        alpha: float = 1.0,
        weights: Mapping[str, float] | None = None,
        steps_per_epoch: int | None = None,
        seed: int = 0,
        known: Sequence[Modality] = (),
        owner_share: float = 1.0,
        views_of: Sequence[Modality] = (),
    ) -> None:
        super().__init__()
        if not isinstance(owner_share, int | float) or not 0 < owner_share <= 1:
            raise ValueError(f"data.owner_share={owner_share}: give a share of the training's owners, up to 1")
        for name, count in (("batch_size", batch_size), ("evaluation_batch_size", evaluation_batch_size)):
            if count is not None and (not isinstance(count, int) or count < 1):
                auto = ", or auto: as many as the memory holds" if name == "batch_size" else ""
                raise ValueError(f"data.{name}={count}: give a number of rows, at least 1{auto}")
        if not isinstance(num_workers, int) or num_workers < 0:
            raise ValueError(f"data.num_workers={num_workers}: give a number of processes, 0 to load without any")
        self.sources = list(sources.values())
        self.source_names = list(sources)
        self.weights = source_weights(sources, weights or {})
        if len(self.sources) > 1:  # each source alone has been checked by itself
            where = f"the mixture of {', '.join(self.source_names)}"
            parts = list(parts_of_mixture(self.sources, self.weights))
            refuse_shared_owners(owner_suspects(parts), where)
            refuse_shared_spans(samples_for_spans(parts, known), where, known)
        self.transforms = dict(transforms)
        self.train_modalities = tuple(train_modalities)
        self.evaluation_modalities = tuple(
            m for m in evaluation_modalities if any(m in source.modalities() for source in self.sources)
        )
        self.known = tuple(m for m in known if m in self.evaluation_modalities)
        self.batch_size = batch_size
        self.evaluation_batch_size = evaluation_batch_size or batch_size
        self.num_workers = num_workers
        self.timeout_seconds = timeout_seconds
        self.alpha = alpha
        self.steps_per_epoch = steps_per_epoch
        self.seed = seed
        self.owner_share = owner_share
        self.views_of = tuple(views_of)
        self.cache: EmbeddingCache | None = None
        self._equal_values: dict[str, Mapping[Modality, ValueIds]] = {}
        self.start = (0, 0)
        self.has_other_batches = False
        self._resumed: dict[str, Any] | None = None
        self._steps_per_epoch = 0

    def dataset(
        self,
        split: str,
        modalities: Sequence[Modality],
        cache: EmbeddingCache | None = None,
        views_of: Sequence[Modality] = (),
    ) -> BatchDataset:
        """The batches of a split by request, with these modalities; `cache` stands in for what it holds."""
        return BatchDataset(self.sources, split, modalities, self.transforms, cache, views_of=views_of)

    @cached_property
    def identity(self) -> dict[str, dict[str, Any]]:
        """What the training and validation data of each source are, see `identify_samples`."""
        identity: dict[str, dict[str, Any]] = {
            name: {split: identify_samples(source.samples(split)) for split in ("train", "val")}
            for name, source in zip(self.source_names, self.sources, strict=True)
        }
        if self.owner_share < 1:
            for of_source, rows in zip(identity.values(), self._training_rows or (), strict=True):
                of_source["train"] = {"num_samples": len(rows), "hash": of_source["train"]["hash"]}
        return identity

    @property
    def drawn_sources(self) -> list[Source]:
        """The sources that a training draws from; ValueError where there is none."""
        require_split(self.sources, "train", "A training needs a source that has it")
        if drawn := [source for source, weight in zip(self.sources, self.weights, strict=True) if weight]:
            return drawn
        raise ValueError("data.weights: all are 0, so there is nothing to train on; give one source a weight")

    @cached_property
    def _training_rows(self) -> list[np.ndarray] | None:
        """The places of the samples of each source that train; None where all do."""
        if self.owner_share == 1:
            return None
        chosen = choose_owners(training_owners(self.drawn_sources), self.owner_share, self.seed)
        return [rows_of_owners(source.samples("train"), chosen) for source in self.sources]

    def train_plan(self, start_step: int = 0, rank: int = 0, world_size: int = 1) -> BatchPlan:
        """The batches of a training from `start_step` on, as the process `rank` of `world_size` takes them."""
        assert self.drawn_sources
        sizes = [len(source.samples("train")) for source in self.sources]
        orders: list[Order] = [s.training_order if isinstance(s, OrderedSource) else free_order for s in self.sources]
        num_steps = self.steps_per_epoch
        if (rows := self._training_rows) is not None:
            num_steps = num_steps or sum(
                size // (self.batch_size * world_size) for size, w in zip(sizes, self.weights, strict=True) if w
            )
            orders = [order_of_rows(*of_source) for of_source in zip(orders, rows, sizes, strict=True)]
            sizes = [len(rows_of_source) for rows_of_source in rows]
        return BatchPlan(
            sizes,
            self.batch_size,
            seed=self.seed,
            alpha=self.alpha,
            weights=self.weights,
            orders=orders,
            steps_per_epoch=num_steps,
            start_step=start_step,
            rank=rank,
            world_size=world_size,
        )

    def equal_values(self, split: str) -> Mapping[Modality, ValueIds]:
        """The equal values of a split among what is evaluated, found once; see `bind.data.same_values`."""
        if split not in self._equal_values:
            self._equal_values[split] = equal_values(self.sources, split, self.evaluation_modalities)
        return self._equal_values[split]

    def state_dict(self) -> dict[str, Any]:
        """Where to go on, in an epoch of so many batches, and with which data: Lightning puts it into checkpoints."""
        trainer = self.trainer
        assert trainer is not None
        epochs: Any = trainer.fit_loop.epoch_progress.current
        is_in_epoch = epochs.started > epochs.processed
        batch = trainer.fit_loop.epoch_loop.batch_progress.current.ready if is_in_epoch else 0
        is_done = batch >= int(trainer.num_training_batches)
        place = {"epoch": epochs.processed + is_done, "batch": 0 if is_done else batch}
        return {**place, **self._batches_of_epoch(), "data": self.identity}

    def _batches_of_epoch(self) -> dict[str, int]:
        """What decides which samples a number of batches has; a checkpoint where it is equal goes on bit for bit."""
        assert self.trainer is not None
        sizes = {"batches_per_epoch": self._steps_per_epoch, "global_batch": self.batch_size * self.trainer.world_size}
        return {**sizes, "accumulated": self.trainer.accumulate_grad_batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Lightning makes the training batches before it restores its own counters, so the plan's start comes from here.
        self._resumed = state_dict

    def train_dataloader(self) -> DataLoader[Batch]:
        trainer = self.trainer
        assert trainer is not None
        plan = self.train_plan(rank=trainer.global_rank, world_size=trainer.world_size)
        self._steps_per_epoch = len(plan)
        self.start = self._place_in_plan(len(plan))
        plan.start_step = plan.step = self.start[0] * len(plan) + self.start[1]
        dataset = self.dataset("train", self.train_modalities, self.cache, self.views_of)
        return self._loader(dataset, plan, self.num_workers, stays=True)

    def _loader(
        self, dataset: BatchDataset, plan: BatchPlan | EvaluationPlan, num_workers: int, *, stays: bool
    ) -> PrefetchLoader:
        """The batches of a plan; with `stays` the workers serve all iterations of a training."""
        return PrefetchLoader(
            dataset,
            plan,
            sources=self.sources,
            num_workers=num_workers,
            timeout_seconds=self.timeout_seconds,
            persistent_workers=stays and num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        return batch.to(device, non_blocking=True)

    def _place_in_plan(self, batches_per_epoch: int) -> tuple[int, int]:
        """The epoch and the batch in it to begin with, which follows as many samples as there were before."""
        resumed = self._resumed
        if resumed is None:
            return 0, 0
        if "step" in resumed:  # of a checkpoint from before it knew how many samples a batch has
            epoch, batch = divmod(int(resumed["step"]), batches_per_epoch)
            return epoch, batch
        now = self._batches_of_epoch()
        self.has_other_batches = any(resumed[name] != number for name, number in now.items())
        if not self.has_other_batches:
            return resumed["epoch"], resumed["batch"]
        assert self.trainer is not None
        limit = self.trainer.limit_train_batches
        num_batches = min(limit, batches_per_epoch) if isinstance(limit, int) else int(limit * batches_per_epoch)
        batch = min(resumed["batch"] * resumed["global_batch"] // now["global_batch"], num_batches - 1)
        return resumed["epoch"], batch - batch % now["accumulated"]

    def val_dataloader(self) -> DataLoader[Batch]:
        assert self.trainer is not None
        dataset = self.dataset("val", self.evaluation_modalities, self.cache, self.views_of)
        return self._evaluation_loader(dataset, self.trainer.global_rank, self.trainer.world_size, stays=True)

    def evaluation_dataloader(self, split: str) -> DataLoader[Batch]:
        """The whole split in this process, whatever the trainer's other processes do; towers run, in full precision."""
        require_split(self.sources, split, "Choose a split that a source has, or give rows this one")
        dataset = self.dataset(split, self.evaluation_modalities)
        return self._evaluation_loader(dataset, rank=0, world_size=1)

    def _evaluation_loader(
        self, dataset: BatchDataset, rank: int, world_size: int, *, stays: bool = False
    ) -> PrefetchLoader:
        plan = EvaluationPlan(dataset.sizes, self.evaluation_batch_size, rank=rank, world_size=world_size)
        # A worker that is started for a batch each would take longer than the batches; one alone needs none.
        return self._loader(dataset, plan, min(self.num_workers, max(0, len(plan) - 1)), stays=stays)
