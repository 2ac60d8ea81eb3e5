"""Vectors of a manifest's samples or of files, for use elsewhere."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from omegaconf import DictConfig
from rich.progress import track

from bind.data.datamodule import BindDataModule
from bind.data.sources.manifest import ManifestSource
from bind.data.sources.splits import list_some
from bind.evaluation import fusion_inputs
from bind.evaluation.embed import best_device, embed_split
from bind.files.writing import open_atomically
from bind.media.kinds import readable_modalities
from bind.model.binder import Binder
from bind.runs.captions import warn_of_cut_captions
from bind.runs.directory import as_list, open_run, run_or_binder
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
    out = Path(cfg.out)
    if out.suffix != ".parquet":
        raise ValueError(f"out={out}: choose a name that ends in .parquet")
    if (cfg.manifest is None) == (cfg.files is None):
        raise ValueError("pass either manifest=FILE or files='sounds/**/*.wav', a pattern or a list of paths")
    place = cfg.binder if run_or_binder(cfg) == "binder" else open_run(cfg.run)[0]
    files = [] if cfg.files is None else match_files(as_list(cfg.files))
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


def by_numbers(name: str) -> list[tuple[int, str]]:
    """A key to sort names by, in which numbers count as numbers.

    Examples:
        >>> sorted(["a/10.wav", "a/9.wav", "a/b.wav", "a/1.wav"], key=by_numbers)
        ['a/1.wav', 'a/9.wav', 'a/10.wav', 'a/b.wav']
    """
    parts = re.split(r"(\d+)", name)  # words and numbers by turns
    return [(int(part), part) if place % 2 else (-1, part) for place, part in enumerate(parts)]


def match_files(patterns: Sequence[str]) -> list[str]:
    """The files of paths and patterns (`*`, `?`, `**` for folders within folders), each once, `2.wav` before `10.wav`.

    Raises:
        ValueError: for one that matches no file.
    """
    matches: dict[str, None] = {}
    for pattern in patterns:
        path = os.path.expanduser(str(pattern))
        names = [path] if os.path.isfile(path) else sorted(glob.glob(path, recursive=True), key=by_numbers)
        files = [name for name in names if os.path.isfile(name)]
        if not files:
            hint = f"; for all files below it, files='{path.rstrip('/')}/**/*'" if os.path.isdir(path) else ""
            raise ValueError(f"files={pattern}: no such file{hint}. Patterns count from {Path.cwd()}")
        matches |= dict.fromkeys(files)
    return list(matches)


def modality_of(file: str, known: Sequence[Modality], chosen: Sequence[Modality]) -> Modality:
    """What a file is embedded as: the one chosen modality, or the only one of the `known` that its suffix allows.

    Examples:
        >>> modality_of("a/dog.wav", ["image", "text", "audio"], [])
        'audio'
        >>> modality_of("clip.mp4", ["image", "text", "audio"], [])
        Traceback (most recent call last):
        ValueError: clip.mp4 may be image or audio: add modalities=[image] or another of them
    """
    if len(chosen) > 1 or "text" in chosen:
        raise ValueError("modalities: of files=, name one modality that has files; texts stand in a manifest")
    if chosen and chosen[0] not in known:
        raise ValueError(f"modalities: {chosen[0]} unknown to the run; it embeds {list_some(list(known))}")
    possible = list(chosen) or readable_modalities(Path(file).suffix, known)
    if not possible:
        raise ValueError(
            f"{file}: no modality of this run ({', '.join(known)}) is read from {Path(file).suffix or 'such'} files; "
            "name one with modalities=[…], or leave the file out of files="
        )
    if len(possible) > 1:
        raise ValueError(f"{file} may be {' or '.join(possible)}: add modalities=[{possible[0]}] or another of them")
    return possible[0]
