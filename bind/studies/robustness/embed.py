"""The vectors of a modality whose values are disturbed, and what a fusion that reads tokens makes of such values."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from rich.progress import track
from torch.utils.data import DataLoader

from bind.data.datamodule import BindDataModule
from bind.evaluation.embedded import EmbeddedSplit
from bind.model.binder import Binder
from bind.studies.robustness.heads import Vectors, names_of_fused
from bind.studies.robustness.source import DisturbedSource
from bind.types import Batch, Embeddings, Modality, Source


@dataclass(frozen=True)
class Disturber:
    """Embeds one modality of a split again, disturbed; `clean` is the split as it is.

    Attributes:
        fused: the inputs of a fusion that reads tokens: where one of them is disturbed, the others are embedded beside
            it, as they are, and fused with it batch by batch. Of the tokens only the fused vectors are kept.
    """

    datamodule: BindDataModule
    binder: Binder
    clean: EmbeddedSplit
    split_name: str
    seed: int
    fused: Sequence[Modality] = ()

    def num_batches(self, modality: Modality, kind: str) -> int:
        """How often `vectors` calls `advance`."""
        return len(self._loader(modality, kind, 0.0))

    def vectors(self, modality: Modality, kind: str, level: float, advance: Callable[[], Any]) -> Vectors:
        """Unit vectors (N_m, D) of the modality, and of the fusion where it is in `fused`, by their names.

        They are on the CPU in the order of the clean ones; `advance` is called after every batch.

        Raises:
            ValueError: where a value can't be disturbed, or the transform refuses what became of it.
        """
        names = [modality, names_of_fused(self.fused)[None]] if modality in self.fused else [modality]
        device = next(self.binder.parameters()).device
        parts = []
        try:
            with torch.inference_mode():
                for batch in self._loader(modality, kind, level):
                    parts.append((without_values(batch), keep(self.binder(batch.to(device)), names)))
                    advance()
        except ValueError as error:
            raise ValueError(
                f"{modality} with levels.{kind}={level:g}: {error}. Leave this level out, or choose other kinds="
            ) from error
        split = EmbeddedSplit.collect(parts)
        for name in split.rows:
            assert torch.equal(split.rows[name], self.clean.rows[name]), "the same values in the same order"
        return split.z

    def _loader(self, modality: Modality, kind: str, level: float) -> DataLoader[Batch]:
        transform = self.binder.transforms[modality]
        sources = [
            DisturbedSource(source, modality, kind, level, transform=transform, seed=self.seed)
            for source in self.datamodule.sources
        ]
        modalities = self.fused if modality in self.fused else [modality]
        return load_split(self.datamodule, self.binder, sources, modalities, self.split_name)


def add_fused_without(
    clean: EmbeddedSplit, datamodule: BindDataModule, binder: Binder, inputs: Sequence[Modality], split_name: str
) -> EmbeddedSplit:
    """`clean`, and beside it what the binder fuses of `inputs` without each one of them, see `names_of_fused`.

    The samples are embedded batch by batch, and only their fused vectors kept: tokens of a split may not fit in memory.
    """
    names = names_of_fused(inputs)
    device = next(binder.parameters()).device
    loader = load_split(datamodule, binder, datamodule.sources, inputs, split_name)
    parts = []
    with torch.inference_mode():
        for batch in track(loader, "fuse without", len(loader), transient=True, disable=not sys.stdout.isatty()):
            z, rows = {}, {}
            for modality in inputs:
                embeddings = binder(take_away(batch, modality).to(device))
                if names[None] in embeddings.z:
                    z[names[modality]] = embeddings.z[names[None]]
                    rows[names[modality]] = embeddings.rows[names[None]]
            parts.append((without_values(batch), Embeddings(z, rows, len(batch))))
    found = EmbeddedSplit.collect(parts)
    return EmbeddedSplit(
        clean.keys, clean.group_ids_N, {**clean.z, **found.z}, {**clean.rows, **found.rows}, clean.device
    )


def take_away(batch: Batch, modality: Modality) -> Batch:
    """The batch as it is where no sample has the modality, although its source carries it."""

    def others(of: Mapping[Modality, Any]) -> dict[Modality, Any]:
        return {m: x for m, x in of.items() if m != modality}

    return replace(
        batch,
        inputs=others(batch.inputs),
        rows=others(batch.rows),
        cached=others(batch.cached),
        num_clips=others(batch.num_clips),
    )


def without_values(batch: Batch) -> Batch:
    """Keys, groups and rows alone: the values of a whole split are not to be kept in memory."""
    return replace(batch, inputs={}, cached={})


def keep(embeddings: Embeddings, names: Iterable[Modality]) -> Embeddings:
    """Those of `names` alone that there are."""
    kept = [name for name in names if name in embeddings.z]
    return Embeddings(
        {name: embeddings.z[name] for name in kept},
        {name: embeddings.rows[name] for name in kept},
        embeddings.num_rows,
    )


def load_split(
    datamodule: BindDataModule,
    binder: Binder,
    sources: Sequence[Source],
    modalities: Sequence[Modality],
    split_name: str,
) -> DataLoader[Batch]:
    """The batches of evaluation, of these sources in place of the datamodule's, with these modalities."""
    named = dict(zip(datamodule.source_names, sources, strict=True))
    size = datamodule.evaluation_batch_size
    return BindDataModule(named, binder.transforms, [], list(modalities), batch_size=size).evaluation_dataloader(
        split_name
    )
