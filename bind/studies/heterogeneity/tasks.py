"""Tasks of transfer, one per trained modality, and the batches of a run that serve them, the same for every start."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from torch.utils.data import DataLoader

from bind.cache.build import CacheOptions
from bind.data.plan import BatchRequest, EvaluationPlan
from bind.data.sources.splits import require_split
from bind.model.binder import Binder
from bind.processes.workers import PrefetchLoader
from bind.runs.parts import Parts
from bind.types import Batch, Modality, Pair

log = logging.getLogger("bind")

SPLIT = "val"


@dataclass(frozen=True)
class TransferTask:
    """Find the `target` that belongs with a `modality`, by the loss of the run's pair of the two."""

    modality: Modality
    target: Modality
    pair: Pair


@dataclass(frozen=True)
class StudiedRun(Parts):
    """The parts of a finished run, and the same batches of its training and validation data for every start.

    Attributes:
        trust: packages besides bind whose classes its config may name.
    """

    trust: Sequence[str] = ()

    @classmethod
    def of(cls, parts: Parts, trust: Sequence[str]) -> Self:
        return cls(parts.config, parts.binder, parts.pairs, parts.datamodule, trust=trust)

    def fill_anchor_cache(self) -> None:
        """Fill the cache with the anchor's vectors of training and validation, or read them where they are cached.

        Raises:
            ValueError: where no source has a validation split.
        """
        require_split(self.datamodule.sources, SPLIT, "Learned is from train, measured is on val: give some samples it")
        options = CacheOptions.from_config(self.config["cache"])
        self.datamodule.cache = self.fill_cache(("train", SPLIT), options)

    def sources_carrying(self, modalities: Sequence[Modality], at_least: int) -> list[bool]:
        """Of each source, whether training draws from it and it carries so many of `modalities`."""
        drawn = zip(self.datamodule.sources, self.datamodule.weights, strict=True)
        return [weight > 0 and len(set(modalities) & set(source.modalities())) >= at_least for source, weight in drawn]

    def training_loader(
        self, modalities: Sequence[Modality], seed: int, num_batches: int, at_least: int | None = None
    ) -> DataLoader[Batch]:
        """The first batches of the run's plan with this seed whose source carries enough of `modalities`; None: all.

        Raises:
            ValueError: where no source that is drawn does.
        """
        chosen = self.sources_carrying(modalities, len(modalities) if at_least is None else at_least)
        if not any(chosen):
            raise ValueError(f"no source of the training carries {', '.join(modalities)} together")
        self.datamodule.seed = seed
        plan = self.datamodule.train_plan()
        epochs = itertools.chain.from_iterable(iter(plan) for _ in itertools.count())
        requests = itertools.islice((request for request in epochs if chosen[request.source]), num_batches)
        return self._loader("train", modalities, list(requests))

    def validation_loader(self, modalities: Sequence[Modality]) -> DataLoader[Batch]:
        """All of the validation split, in order."""
        sizes = [len(source.samples(SPLIT)) for source in self.datamodule.sources]
        return self._loader(SPLIT, modalities, list(EvaluationPlan(sizes, self.datamodule.evaluation_batch_size)))

    def _loader(self, split: str, modalities: Sequence[Modality], requests: list[BatchRequest]) -> DataLoader[Batch]:
        return PrefetchLoader(
            self.datamodule.dataset(split, modalities, self.datamodule.cache),
            requests,
            sources=self.datamodule.sources,
            num_workers=self.datamodule.num_workers,
            timeout_seconds=self.datamodule.timeout_seconds,
        )


def make_tasks(pairs: Sequence[Pair], binder: Binder) -> list[TransferTask]:
    """The first pair of each trained modality whose other side stays as it is.

    Raises:
        ValueError: where fewer than two modalities have one.
    """
    tasks = []
    for modality in binder.encoders:
        others = {pair.b if pair.a == modality else pair.a: pair for pair in pairs if modality in (pair.a, pair.b)}
        frozen = [m for m in others if m in binder.anchor.modalities and not binder.is_trainable(m)]
        if frozen:
            tasks.append(TransferTask(modality, frozen[0], others[frozen[0]]))
        else:
            log.warning("%s is left out: it is paired with nothing that is frozen, such as image or text", modality)
    if len(tasks) < 2:
        raise ValueError(
            f"this run has {len(tasks)} trained modality with a frozen side to find: heterogeneity compares two or "
            "more, for example modalities=[audio,imu]"
        )
    return tasks
