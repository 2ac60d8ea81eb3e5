"""Indexes of what was bound: `bindspace index` embeds samples or files into one, and changes one that is there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.progress import Progress

from bind.commands.arguments.embed import read_inputs
from bind.commands.arguments.index import changes_of, check_arguments, grows
from bind.commands.files import modality_of
from bind.commands.on_ray import connected
from bind.commands.taken_parts import print_taken_parts, recordings_of
from bind.data.sources.manifest import ManifestSource
from bind.evaluation import fusion_inputs
from bind.files.reading import read_bytes, reading
from bind.model.binder import Binder
from bind.model.device import best_device
from bind.runs.run_config import as_list
from bind.search.binder_folder import save_binder
from bind.search.embedding import EmbeddingTask, FileList, embed_source
from bind.search.handover.engines import hand_over
from bind.search.index import Index
from bind.search.listing import LISTING
from bind.search.store import IndexStore
from bind.types import Modality, Sample

MAX_QUERY_BYTES = 2**24


def index(cfg: DictConfig) -> None:
    """Make or grow an index: `bindspace index run=PATH manifest=FILE out=INDEX`; or change one that is there.

    What the index has of a sample is not made again: a call goes on where one before was stopped, and adds what is new.

    Raises:
        ValueError: for a run, a manifest, files or an index that can't be used, or another writer of the index.
    """
    check_arguments(cfg)
    out = Path(cfg.out)
    if changes_of(cfg):
        change_index(out, cfg)
    elif grows(cfg):
        grow_index(out, cfg)
    if cfg.approximate is not None:
        build_approximations(out, cfg)
    if cfg.to is not None:
        hand_over_index(out, cfg)
    print(describe(IndexStore(out)))


def build_approximations(out: Path, cfg: DictConfig) -> None:
    """Build what `bindspace search approximate=` takes, and print the recall of each modality.

    Raises:
        ValueError: for an engine that is not installed, or queries that can't be read.
    """
    opened = Index.open(out, trust=as_list(cfg.trust))
    queries = None
    if cfg.queries is not None:
        lines = read_text_queries(Path(cfg.queries))
        queries = opened.binder.embed("text", lines).float().cpu()
    abouts = opened.build_approximations(
        str(cfg.approximate), recall=cfg.recall, queries=queries, modalities=as_list(cfg.modalities) or None
    )
    for about in abouts:
        print(about)
        if about.warning:
            print(f"warning: {about.warning}", file=sys.stderr)


def hand_over_index(out: Path, cfg: DictConfig) -> None:
    """Write the index into an engine that is there, and print how many vectors that then holds.

    Raises:
        ValueError: for an engine or an address that can't be used.
    """
    store = IndexStore(out)
    modalities = as_list(cfg.modalities) or None
    num_vectors = sum(map(store.num_vectors, modalities or store.modalities))
    with Progress(transient=True, disable=not sys.stdout.isatty()) as progress:
        bar = progress.add_task(str(cfg.to), total=num_vectors)
        num_written, num_there = hand_over(
            store,
            str(cfg.to),
            str(cfg.uri),
            collection=str(cfg.collection),
            token=None if cfg.token is None else str(cfg.token),
            modalities=modalities,
            on_progress=lambda num: progress.update(bar, completed=num),
        )
    print(f"{num_written:,} vectors written to {cfg.to}, whose {cfg.collection} holds {num_there:,}: {cfg.uri}")


def read_text_queries(path: Path) -> list[str]:
    """The lines of a text file that are not empty.

    Raises:
        ValueError: naming the file, where it has none, is too large, or no text.
    """
    with reading(path, "not readable as lines of text", "Write a query on each line, as UTF-8"):
        lines = [line.strip() for line in read_bytes(path, max_bytes=MAX_QUERY_BYTES).decode().splitlines()]
        if not any(lines):
            raise ValueError("it has no lines")
    return [line for line in lines if line]


def grow_index(out: Path, cfg: DictConfig) -> None:
    """Embed what the index lacks."""
    read = read_inputs(cfg)
    place, files = read.place, read.files
    source: Any = None if files else ManifestSource(cfg.manifest, known=as_list(cfg.known))
    binder = Binder.load(place, trust=list(cfg.trust))
    chosen = as_list(cfg.modalities)
    if files:
        kinds = [modality_of(file, binder.modalities, chosen) for file in files]
        source = FileList(
            {m: [f for f, kind in zip(files, kinds, strict=True) if kind == m] for m in dict.fromkeys(kinds)}
        )
        modalities: Sequence[Modality] = source.modalities()
    else:
        modalities = modalities_to_index(binder, source, chosen, str(place))
    splits = [FileList.split] if files else source.splits
    with connected(cfg.engine, cfg.ray_address):
        if (out / LISTING).is_file():
            opened = Index.open(out)
            opened.use_binder(binder)
            save_binder(out, binder)  # which a call that was killed may have left out
        else:
            opened = Index.create(out, binder, scan=cfg.scan)
        embed: Callable[[IndexStore, EmbeddingTask], int] = embed_source
        if cfg.engine == "local":
            binder.to(best_device())
        else:
            from bind.commands.index_on_ray import embed_on_ray  # lightning comes with it, which takes seconds

            embed = embed_on_ray
        columns_of = no_columns if files else split_of
        with opened.store.writing() as store:
            tasks = [
                EmbeddingTask(binder, source, split, modality, cfg.batch_size, cfg.num_workers, columns_of)
                for split in splits
                for modality in modalities
            ]
            _print_taken_parts_of(store, tasks)
            for task in tasks:
                embed(store, task)
            store.compact()


def _print_taken_parts_of(store: IndexStore, tasks: Sequence[EmbeddingTask]) -> None:
    """Say of how many recordings that the index lacks a part is taken."""
    drawn = [
        recordings_of(
            task.source.samples(task.split),
            task.missing_rows(store).tolist(),
            fusion_inputs(task.modality, task.binder),
        )
        for task in tasks
    ]
    recordings = [recording for of_task, _ in drawn for recording in of_task]
    if recordings:
        print_taken_parts(tasks[0].binder, recordings, num_drawn_from=sum(num for _, num in drawn))


def split_of(sample: Sample) -> dict[str, str]:
    """What a table says of a sample and files don't."""
    return {"split": sample.split}


def no_columns(sample: Sample) -> dict[str, str]:
    """What files say of a sample besides their values."""
    return {}


def modalities_to_index(
    binder: Binder, source: ManifestSource, chosen: Sequence[Modality], place: str
) -> Sequence[Modality]:
    """The `chosen` modalities, or all that the binder and the table have.

    Raises:
        ValueError: for one that either of them lacks.
    """
    fused = [binder.fused_modality] if has_fused_vectors(binder) and binder.fused_modality else []
    known = [*binder.modalities, *fused]
    if unknown := [m for m in chosen if m not in known]:
        raise ValueError(f"modalities: {', '.join(unknown)} unknown to {place}; it embeds {', '.join(known)}")
    if chosen:
        source.require_modalities(list(dict.fromkeys(part for m in chosen for part in fusion_inputs(m, binder))))
        return chosen
    possible = [m for m in known if set(fusion_inputs(m, binder)) <= set(source.modalities())]
    if not possible:
        source.require_modalities(binder.modalities)
    return possible


def has_fused_vectors(binder: Binder) -> bool:
    """Whether the binder's fusion makes vectors; one that combines scores makes none."""
    from torch import nn

    return isinstance(binder.fusion, nn.Module)


def change_index(out: Path, cfg: DictConfig) -> None:
    """Delete from an index, join its parts, or put damaged ones aside."""
    if cfg.repair:
        with IndexStore(out).writing() as store:
            wrong = store.put_damaged_aside()
        for message in wrong:
            print(f"put aside: {message}")
        print(f"{len(wrong)} damaged parts; what they held is made again by the bindspace index … that made it")
    opened = Index.open(out)
    if cfg.delete is not None:
        num_deleted = opened.delete([str(key) for key in as_list(cfg.delete)], as_list(cfg.modalities) or None)
        print(f"{num_deleted} vectors deleted")
    if cfg.delete_where is not None:
        print(f"{opened.delete_where(str(cfg.delete_where))} vectors deleted")
    if cfg.compact:
        with opened.store.writing() as store:
            print(f"{store.compact(is_all=True)} parts joined")


def describe(store: IndexStore) -> str:
    """What an index holds, in a line."""
    counts = ", ".join(f"{store.num_vectors(m):,} {m}" for m in store.modalities) or "nothing yet"
    num_bytes = sum(path.stat().st_size for path in (store.folder / "parts").glob("*")) if store.parts else 0
    return f"{counts}; {store.listing.dim} dimensions, {num_bytes / 1e6:.1f} MB: {store.folder}"
