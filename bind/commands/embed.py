"""Vectors of a manifest's samples, for use elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from omegaconf import DictConfig

from bind.data.datamodule import BindDataModule
from bind.data.sources.manifest import ManifestSource
from bind.evaluation import fusion_inputs
from bind.evaluation.embed import best_device, embed_split
from bind.files import open_atomically
from bind.model.binder import Binder
from bind.runs.captions import warn_of_cut_captions
from bind.runs.directory import as_list, open_run


def embed(cfg: DictConfig) -> None:
    """Write vectors of a manifest's samples: `bindspace embed run=PATH manifest=FILE out=FILE.parquet`.

    One row per value: `key`, `split`, `modality`, `group`, `label` and `embedding` (D,) float32; the file's metadata
    names the run and the anchor's fingerprint. A fused modality is written where all of its inputs are.

    Raises:
        ValueError: for a run, a manifest or a modality that can't be used.
    """
    out = Path(cfg.out)
    if out.suffix != ".parquet":
        raise ValueError(f"out={out}: choose a name that ends in .parquet")
    run_dir, _ = open_run(cfg.run)
    binder = Binder.load(run_dir, trust=list(cfg.trust)).to(best_device())
    source = ManifestSource(cfg.manifest, known=as_list(cfg.known))
    fused = [binder.fused_modality or ""] if isinstance(binder.fusion, torch.nn.Module) else []
    known = [*binder.modalities, *fused]
    possible = [m for m in known if set(fusion_inputs(m, binder)) <= set(source.modalities())]
    modalities = as_list(cfg.modalities) or possible
    if unknown := [m for m in modalities if m not in known]:
        raise ValueError(f"modalities: {', '.join(unknown)} unknown to {run_dir}; it embeds {', '.join(known)}")
    inputs = list(dict.fromkeys(part for m in modalities for part in fusion_inputs(m, binder)))
    source.require_modalities(inputs or known)
    columns: dict[str, list[Any]] = {name: [] for name in ("key", "split", "modality", "group", "label", "embedding")}
    for split_name in source.splits:
        datamodule = BindDataModule({"manifest": source}, binder.transforms, [], inputs, batch_size=64)
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
    kinds = {name: pa.string() for name in columns} | {"embedding": pa.list_(pa.float32(), binder.dim)}
    facts = {"run": str(run_dir), "anchor": binder.anchor.name, "anchor_fingerprint": binder.anchor.fingerprint}
    schema = pa.schema([pa.field(name, kind) for name, kind in kinds.items()], metadata=facts)
    out.parent.mkdir(parents=True, exist_ok=True)
    with open_atomically(out) as file:
        pq.write_table(pa.table(columns, schema=schema), file)
    print(f"{len(columns['key'])} vectors of {binder.dim} dimensions: {out}")
