"""The job of `bindspace export`: encoders of a run or binder for other runtimes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from bind.commands.files import match_files, modality_of
from bind.data.collate import collate_clips
from bind.data.datamodule import BindDataModule
from bind.data.sources.manifest import ManifestSource
from bind.data.sources.sample_columns import labels_of
from bind.data.sources.splits import require_split
from bind.evaluation.label_sets import LabelSet, default_label_sets, known_texts
from bind.model.binder import Binder
from bind.runs.parts import Parts
from bind.runs.run_config import as_list, open_run, run_or_binder
from bind.share.export import Examples, export_encoders
from bind.share.graph import named_inputs
from bind.types import Clip, Inputs, Modality, Source

BATCH_SIZE = 64


def export(cfg: DictConfig) -> None:
    """Write encoders of a run for other runtimes: `bindspace export run=PATH to=onnx out=FOLDER`.

    They are checked with samples of the run's own data, of a table (`manifest=`) or with files (`files=`); in place of
    a run it takes a saved binder, `binder=PATH`, and one of these two.

    Raises:
        ValueError: for a run, samples, a format or a modality that can't be used, and where a file differs.
    """
    is_binder = run_or_binder(cfg) == "binder"
    if cfg.manifest is not None and cfg.files is not None:
        raise ValueError("pass either manifest=FILE or files='sounds/**/*.wav'")
    if is_binder and cfg.manifest is None and cfg.files is None:
        raise ValueError(
            "a binder has no data of its own to check its encoders with: add manifest=FILE or files='sounds/**/*.wav'"
        )
    trust = list(cfg.trust)
    config: Mapping[str, Any] = {}
    sources: list[Source] = []
    if is_binder:
        binder = Binder.load(cfg.binder, trust=trust)
    else:
        run_dir, config = open_run(cfg.run)
        if cfg.manifest is None and cfg.files is None:
            parts = Parts.load(run_dir, config, trust=trust)
            binder, sources = parts.binder, list(parts.datamodule.sources)
        else:
            binder = Binder.load(run_dir, trust=trust)
    if cfg.manifest is not None:
        sources = [ManifestSource(cfg.manifest)]
    chosen = as_list(cfg.modalities)
    if unknown := [m for m in chosen if m not in binder.encoders]:
        raise ValueError(f"modalities: no encoder of {', '.join(unknown)}; there are {', '.join(binder.encoders)}")
    if cfg.files is not None:
        files = match_files(as_list(cfg.files))[: cfg.num_samples]
        examples = examples_of_files(binder, files, chosen)
        labels: Sequence[str | None] = ()
    else:
        examples = examples_of_split(binder, sources, cfg.split, chosen, cfg.num_samples)
        labels = [label for of_modality in examples.values() for label in of_modality.labels]
    card = export_encoders(
        binder,
        examples,
        Path(cfg.out),
        to=cfg.to,
        int8=cfg.int8,
        label_sets=label_sets_of_run(binder, config, list(examples), labels),
    )
    for modality, entry in card["encoders"].items():
        for file in (entry, entry["int8"]) if "int8" in entry else (entry,):
            check = file["check"]
            print(
                f"{modality}: {file['file']}, {file['megabytes']} MB, largest difference {check['max_difference']:.1e}"
                + "".join(f", {s} {t['file']:.3f} ({t['binder']:.3f})" for s, t in check.get("zero_shot", {}).items())
            )
    print(f"folder: {cfg.out}")


def examples_of_split(
    binder: Binder, sources: Sequence[Source], split: str, chosen: Sequence[Modality], num_samples: int
) -> dict[Modality, Examples]:
    """Modality → inputs of the first samples of a split that have it.

    Raises:
        ValueError: where no sample has a chosen modality.
    """
    require_split(sources, split, "Name another with split=")
    examples = {}
    for modality in chosen or [m for m in binder.encoders if any(m in s.modalities() for s in sources)]:
        inputs: list[dict[str, Tensor]] = []
        num_clips: list[Tensor] = []
        labels: list[str | None] = []
        for number, source in enumerate(sources):
            if modality not in source.modalities() or not len(source.samples(split)):
                continue
            data = BindDataModule({str(number): source}, binder.transforms, [], [modality], batch_size=BATCH_SIZE)
            names = labels_of(source.samples(split))
            start = 0
            for batch in data.evaluation_dataloader(split):
                if len(labels) >= num_samples:
                    break
                if modality in batch.inputs:
                    rows = batch.rows[modality][: num_samples - len(labels)]
                    clips = batch.num_clips.get(modality, torch.ones(len(batch.rows[modality]), dtype=torch.long))
                    num_clips.append(clips[: len(rows)])
                    num_rows = int(num_clips[-1].sum())
                    inputs.append({n: x[:num_rows] for n, x in named_inputs(batch.inputs[modality]).items()})
                    labels += [names[start + row] for row in rows.tolist()]
                start += len(batch)
        if not inputs:
            raise ValueError(f"{modality}: no sample of split={split} has it; name another split, or give files=")
        counts = torch.cat(num_clips)
        joined = {name: torch.cat([x[name] for x in inputs]) for name in inputs[0]}
        examples[modality] = Examples(joined, counts if bool((counts > 1).any()) else None, labels)
    return examples


def examples_of_files(binder: Binder, files: Sequence[str], chosen: Sequence[Modality]) -> dict[Modality, Examples]:
    """Modality → inputs of files, each of the `chosen` modality or of the only one that its suffix allows."""
    of_modality: dict[Modality, list[str]] = {}
    for file in files:
        of_modality.setdefault(modality_of(file, list(binder.encoders), chosen), []).append(file)
    examples = {}
    for modality, own in of_modality.items():
        transform = binder.transforms[modality]
        collated: tuple[Inputs, Tensor | None] = collate_clips(transform, [transform(Clip(Path(f)), None) for f in own])
        examples[modality] = Examples(named_inputs(collated[0]), collated[1])
    return examples


def label_sets_of_run(
    binder: Binder, config: Mapping[str, Any], modalities: Sequence[Modality], labels: Sequence[str | None]
) -> list[LabelSet]:
    """The label sets that a run is evaluated with, or one of the samples' own labels."""
    options = (config.get("data") or {}).get("zero_shot") if config else {}
    if options is None or "text" not in binder.modalities:
        return []
    if not options:
        options = default_label_sets(modalities, labels, known_texts(binder.anchor))
        [first, *_] = [*options.values(), None]
        options = {} if first is None else {"labels": {**first, "modalities": list(modalities)}}
    sets = [LabelSet.of(name, of_set, labels) for name, of_set in options.items()]
    return [label_set for label_set in sets if label_set.classes]  # files have no labels to be classes
