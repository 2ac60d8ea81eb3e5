"""Another table in the place of a finished run's data: `bindspace evaluate run=… manifest=…`."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bind.data.sources.sample_columns import distinct_cells
from bind.data.sources.splits import require_split
from bind.evaluation.label_sets import LabelSet
from bind.runs.parts import Parts
from bind.types import Sample

log = logging.getLogger("bind")


def load_with_table(
    run_dir: Path,
    config: Mapping[str, Any],
    manifest: Path,
    split_name: str,
    *,
    trust: Sequence[str],
    device: str | torch.device = "cpu",
) -> Parts:
    """The parts of a finished run with the samples of another table, on which nothing was trained.

    All modalities that the table has and the run embeds are evaluated. The run's classes stay where a sample has one;
    else the table's labels are the classes. `data.one_per_group` stays where a sample has a group.

    Raises:
        ValueError: for a table that can't be read, has no such split, or nothing that the run embeds.
    """
    manifest = manifest.expanduser().resolve()
    evaluation = {**config["evaluation"], "modalities": None}
    data = {**config["data"], "sources": {}, "manifests": {table_name(manifest): str(manifest)}, "weights": {}}
    trust = [*trust, str(manifest)]  # the user has named it, whoever has made the run
    parts = Parts.load(run_dir, {**config, "evaluation": evaluation, "data": data}, trust=trust, device=device)
    [source] = parts.datamodule.sources
    require_split([source], split_name, "Name another with split=")
    samples = source.samples(split_name)
    if not parts.datamodule.evaluation_modalities:
        raise ValueError(
            f"{manifest}: it has {', '.join(source.modalities())}, and {run_dir} embeds "
            f"{', '.join(parts.binder.modalities)}: name a column after one of these"
        )
    data |= {
        "zero_shot": label_sets_of(data["zero_shot"], samples, manifest),
        "one_per_group": data["one_per_group"] and any(distinct_cells(samples, "group")),
    }
    return replace(parts, config={**parts.config, "data": data}, is_own_data=False)


def table_name(manifest: Path) -> str:
    """What files call the figures of a table: its name, or its folder's where it is `manifest.*`.

    Examples:
        >>> table_name(Path("esc 50/manifest.jsonl")), table_name(Path("rooms/kitchen.csv"))
        ('esc-50', 'kitchen')
    """
    name = manifest.resolve().parent.name if manifest.stem == "manifest" else manifest.stem
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)


def label_sets_of(
    label_sets: Mapping[str, Mapping[str, Any]] | None, samples: Sequence[Sample], manifest: Path
) -> Mapping[str, Mapping[str, Any]] | None:
    """Those label sets of which a sample has a label; where there are none left, {}: the labels are the classes."""
    labels = distinct_cells(samples, "label")
    fitting = {}
    for name, options in (label_sets or {}).items():
        label_set = LabelSet.of(name, options, labels)
        if any(label_set.has_class_of(label) for label in labels):
            fitting[name] = options
        else:
            log.warning("zero-shot: %s has no sample of a class of %s, so these are left out", manifest, name)
    return label_sets and fitting
