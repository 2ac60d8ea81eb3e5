"""Vectors of a manifest's samples or of files, for use elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from omegaconf import DictConfig
from rich.progress import track

from bind.commands.arguments.embed import read_arguments
from bind.commands.files import modality_of
from bind.commands.taken_parts import print_taken_parts, recordings_of
from bind.data.datamodule import BindDataModule
from bind.data.sources.manifest import ManifestSource
from bind.evaluation import fusion_inputs
from bind.evaluation.embed import embed_split
from bind.files.writing import open_atomically
from bind.model.binder import Binder
from bind.model.device import best_device
from bind.runs.captions import warn_of_cut_captions
from bind.runs.run_config import as_list
from bind.types import Modality

BATCH_SIZE = 64
COLUMNS = ("key", "split", "modality", "group", "label", "embedding")


def embed(cfg: DictConfig) -> None:
    """Write vectors of a manifest's samples, or of files: `bindspace embed run=PATH manifest=FILE out=FILE.parquet`.

    In place of a run it takes a saved binder, `binder=PATH`.

    One row per value: `key`, `split`, `modality`, `group`, `label` and `embedding` (D,) float32; the file's metadata
    names the run and the anchor's fingerprint. A fused modality is written where all of its inputs are. Of files
    (`files='sounds/**/*.wav'`) the key is the path, and split, group and label are empty.

    Raises:
        ValueError: for a run, a manifest, files or a modality that can't be used.
    """
    read, out = read_arguments(cfg), Path(cfg.out)
    place, files = read.place, read.files
    binder = Binder.load(place, trust=list(cfg.trust)).to(best_device())
    if files:
        columns = embed_files(binder, files, as_list(cfg.modalities))
    else:
        source = ManifestSource(cfg.manifest, known=as_list(cfg.known))
        columns = embed_manifest(binder, source, as_list(cfg.modalities), place)
    kinds = {name: pa.string() for name in columns} | {"embedding": pa.list_(pa.float32(), binder.dim)}
    facts = {"run": str(place), "anchor": binder.anchor.name, "anchor_fingerprint": binder.anchor.fingerprint}
    schema = pa.schema([pa.field(name, kind) for name, kind in kinds.items()], metadata=facts)
    out.parent.mkdir(parents=True, exist_ok=True)
    with open_atomically(out) as file:
        pq.write_table(pa.table(columns, schema=schema), file)
    print(f"{len(columns['key'])} vectors of {binder.dim} dimensions: {out}")


def embed_manifest(
    binder: Binder, source: ManifestSource, chosen: Sequence[Modality], place: Path | str
) -> dict[str, list[Any]]:
    """The columns of all splits of a table, with the `chosen` modalities or all that both have."""
    fused = [binder.fused_modality or ""] if isinstance(binder.fusion, torch.nn.Module) else []
    known = [*binder.modalities, *fused]
    possible = [m for m in known if set(fusion_inputs(m, binder)) <= set(source.modalities())]
    modalities = chosen or possible
    if unknown := [m for m in modalities if m not in known]:
        raise ValueError(f"modalities: {', '.join(unknown)} unknown to {place}; it embeds {', '.join(known)}")
    inputs = list(dict.fromkeys(part for m in modalities for part in fusion_inputs(m, binder)))
    source.require_modalities(inputs or known)
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    of_splits = [source.samples(split_name) for split_name in source.splits]
    drawn = [recordings_of(samples, range(len(samples)), inputs) for samples in of_splits]
    recordings = [recording for of_split, _ in drawn for recording in of_split]
    print_taken_parts(binder, recordings, num_drawn_from=sum(num for _, num in drawn))
    for split_name in source.splits:
        datamodule = BindDataModule({"manifest": source}, binder.transforms, [], inputs, batch_size=BATCH_SIZE)
        warn_of_cut_captions(datamodule, [split_name])
        split = embed_split(datamodule, binder, split_name)
        for modality in modalities:
            samples = [source.samples(split_name)[row] for row in split.rows[modality].tolist()]
            columns["key"] += [sample.key for sample in samples]
            columns["split"] += [split_name] * len(samples)
            columns["modality"] += [modality] * len(samples)
            columns["group"] += [sample.group for sample in samples]
            columns["label"] += [sample.label for sample in samples]
            columns["embedding"] += list(split.z[modality].numpy())
    return columns


def embed_files(binder: Binder, files: Sequence[str], chosen: Sequence[Modality]) -> dict[str, list[Any]]:
    """The columns of files, each of the `chosen` modality or of the only one of the binder's that it can be."""
    modalities = [modality_of(file, binder.modalities, chosen) for file in files]
    print_taken_parts(binder, list(zip(modalities, files, strict=True)))
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for modality in dict.fromkeys(modalities):
        of_modality = [file for file, m in zip(files, modalities, strict=True) if m == modality]
        starts = range(0, len(of_modality), BATCH_SIZE)
        for start in track(starts, f"embed {modality}", transient=True, disable=not sys.stdout.isatty()):
            batch = of_modality[start : start + BATCH_SIZE]
            columns["key"] += batch
            columns["modality"] += [modality] * len(batch)
            columns["embedding"] += list(binder.embed(modality, batch, BATCH_SIZE).cpu().numpy())
    for name in ("split", "group", "label"):
        columns[name] = [None] * len(files)
    return columns
