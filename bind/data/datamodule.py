"""The data of a run for Lightning: sources in, exact batches out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import lightning as L
from torch.utils.data import DataLoader

from bind.data.dataset import BatchDataset
from bind.data.plan import BatchPlan, EvaluationPlan
from bind.types import Batch, EmbeddingCache, Modality, Source, Transform


class BindDataModule(L.LightningDataModule):
    """Training batches by plan, evaluation splits in order, both from the same sources and transforms.

    Args:
        sources: name → dataset.
        transforms: modality → its transform; the anchor's processors among them.
        train_modalities: what the loss needs.
        evaluation_modalities: what is measured.
        batch_size: rows per process and step.
        evaluation_batch_size: rows per process in evaluation; None takes `batch_size`.
        num_workers: processes that load and transform; 0 loads in the training process.
        alpha: sources are drawn in proportion to size ** alpha.
        steps_per_epoch: None counts every sample once.
        seed: of the batch plan and of every sample's augmentation.

    Raises:
        ValueError: where a needed modality is in no source, a split is empty, or a batch is larger than the data.
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
        alpha: float = 1.0,
        steps_per_epoch: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.sources = list(sources.values())
        self.transforms = dict(transforms)
        self.train_modalities = tuple(train_modalities)
        self.evaluation_modalities = tuple(
            m for m in evaluation_modalities if any(m in source.modalities() for source in self.sources)
        )
        self.batch_size = batch_size
        self.evaluation_batch_size = evaluation_batch_size or batch_size
        self.num_workers = num_workers
        self.alpha = alpha
        self.steps_per_epoch = steps_per_epoch
        self.seed = seed
        self.cache: EmbeddingCache | None = None
        carried = sorted({m for source in self.sources for m in source.modalities()})
        missing = [m for m in self.train_modalities if m not in carried]
        if missing:
            raise ValueError(
                f"the loss needs {missing}, but the data carries {carried}; add the column to the manifest, "
                f"or choose other modalities and pairs"
            )

    def dataset(self, split: str, modalities: Sequence[Modality], cache: EmbeddingCache | None = None) -> BatchDataset:
        return BatchDataset(self.sources, split, modalities, self.transforms, cache)

    def batches(self, split: str, modalities: Sequence[Modality]) -> Iterator[Batch]:
        """Every sample of a split once, in order, uncached: what fills a cache."""
        return iter(self._evaluation_loader(self.dataset(split, modalities), rank=0, world_size=1))

    def num_batches(self, split: str) -> int:
        sizes = [len(source.samples(split)) for source in self.sources]
        return len(EvaluationPlan(sizes, self.evaluation_batch_size))

    def train_plan(self, start_step: int = 0, rank: int = 0, world_size: int = 1) -> BatchPlan:
        return BatchPlan(
            [len(source.samples("train")) for source in self.sources],
            self.batch_size,
            seed=self.seed,
            alpha=self.alpha,
            steps_per_epoch=self.steps_per_epoch,
            start_step=start_step,
            rank=rank,
            world_size=world_size,
        )

    def train_dataloader(self) -> DataLoader:
        trainer = self.trainer
        assert trainer is not None
        start = trainer.global_step * trainer.accumulate_grad_batches
        plan = self.train_plan(start, trainer.global_rank, trainer.world_size)
        return DataLoader(
            self.dataset("train", self.train_modalities, self.cache),
            sampler=plan,
            batch_size=None,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )

    def val_dataloader(self) -> DataLoader:
        return self.evaluation_dataloader("val")

    def evaluation_dataloader(self, split: str) -> DataLoader:
        trainer = self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)
        return self._evaluation_loader(self.dataset(split, self.evaluation_modalities, self.cache), rank, world_size)

    def _evaluation_loader(self, dataset: BatchDataset, rank: int, world_size: int) -> DataLoader:
        plan = EvaluationPlan(dataset.sizes, self.evaluation_batch_size, rank=rank, world_size=world_size)
        return DataLoader(dataset, sampler=plan, batch_size=None, num_workers=0)
