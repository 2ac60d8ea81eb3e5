"""The vectors of a modality whose values are disturbed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from bind.data.datamodule import BindDataModule
from bind.evaluation.embedded import EmbeddedSplit
from bind.model.binder import Binder
from bind.studies.robustness.source import DisturbedSource
from bind.types import Batch, Embeddings, Modality


@dataclass(frozen=True)
class Disturber:
    """Embeds one modality of a split again, disturbed; `clean` is the split as it is."""

    datamodule: BindDataModule
    binder: Binder
    clean: EmbeddedSplit
    split_name: str
    seed: int

    def num_batches(self, modality: Modality, kind: str) -> int:
        """How often `vectors` calls `advance`."""
        return len(self._loader(modality, kind, 0.0))

    def vectors(self, modality: Modality, kind: str, level: float, advance: Callable[[], Any]) -> Tensor:
        """Unit vectors (N_m, D) on the CPU in the order of the clean ones; calls `advance` after every batch.

        Raises:
            ValueError: where a value can't be disturbed, or the transform refuses what became of it.
        """
        device = next(self.binder.parameters()).device
        parts = []
        try:
            with torch.inference_mode():
                for batch in self._loader(modality, kind, level):
                    embeddings = self.binder(batch.to(device))
                    parts.append((batch, Embeddings(embeddings.z, embeddings.rows, len(batch))))
                    advance()
        except ValueError as error:
            raise ValueError(
                f"{modality} with levels.{kind}={level:g}: {error}. Leave this level out, or choose other kinds="
            ) from error
        split = EmbeddedSplit.collect(parts)
        assert torch.equal(split.rows[modality], self.clean.rows[modality]), "the same values in the same order"
        return split.z[modality]

    def _loader(self, modality: Modality, kind: str, level: float) -> DataLoader[Batch]:
        transform = self.binder.transforms[modality]
        names = self.datamodule.source_names
        sources = {
            name: DisturbedSource(source, modality, kind, level, transform=transform, seed=self.seed)
            for name, source in zip(names, self.datamodule.sources, strict=True)
        }
        size = self.datamodule.evaluation_batch_size
        loaded = BindDataModule(sources, self.binder.transforms, [], [modality], batch_size=size)
        return loaded.evaluation_dataloader(self.split_name)
