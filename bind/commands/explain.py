"""Explanations as a command: why two things are close in a run's space."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from bind.commands.arguments.explain import JSON, PAGE, read_arguments, split_side
from bind.commands.explain_classes import explain_labels
from bind.data.sources.sample_columns import keys_of
from bind.data.sources.splits import require_split
from bind.explain.explanation import ExplainedSide, Explanation, PairKind, explain_pair
from bind.explain.known import KnownSamples
from bind.explain.occlusion import OcclusionMap
from bind.explain.page import describe_sum, summarise, write_page
from bind.explain.picture import draw_side
from bind.explain.ranks import PoolRank
from bind.explain.samples import page_samples
from bind.explain.vocabulary import make_vocabulary
from bind.files.writing import write_text
from bind.model.binder import Binder
from bind.model.device import best_device
from bind.report.cells import Cells
from bind.report.terminal_table import print_cells
from bind.runs.parts import Parts
from bind.search.hits import Hit
from bind.search.index import MAX_TOP, Index
from bind.types import Clip, Modality, Source


def explain(cfg: DictConfig) -> None:
    """Write why two things are close: `bindspace explain run=PATH a=audio:x.wav b=image:y.jpg`.

    Without sides, what the classes of a split are made of, and its confusions: `bindspace explain run=PATH split=val`.

    Raises:
        ValueError: for a run, a side, an index, concepts or a folder that can't be used.
    """
    read = read_arguments(cfg)
    run_dir, config, out, words = read.run_dir, read.config, read.out, read.words
    parts = Parts.load(run_dir, config, trust=list(cfg.trust), device=best_device())
    split = str(cfg.split or config["evaluation"]["split"])
    sources = parts.datamodule.sources
    require_split(sources, split, "Name another with split=")
    require_split(sources, "train", "An explanation compares with what was trained on")
    binder = parts.binder.eval()
    if cfg.a is None:
        num_samples, l1 = int(cfg.num_samples), float(cfg.l1)
        explain_labels(parts, split, words, out, num_samples=num_samples, l1=l1, run=run_dir.name)
        return
    a = read_side(binder, sources, split, "a", str(cfg.a))
    if cfg["in"] is None:
        b, rank = read_side(binder, sources, split, "b", str(cfg.b)), None
    else:
        b, rank = nearest_in_index(binder, a, Path(cfg["in"]).expanduser(), cfg.b)
    training = KnownSamples.draw(sources, "train", int(cfg.num_samples))
    vocabulary, about_vocabulary = make_vocabulary(binder, training, words)
    explanation = explain_pair(
        binder, a, b,
        training=training,
        pool=KnownSamples.draw(sources, split, int(cfg.num_samples)),
        vocabulary=vocabulary,
        kind=pair_kind(parts, a.modality, b.modality),
        meeting_modality=find_meeting_modality(parts, a.modality, b.modality),
        rank=rank,
        l1=float(cfg.l1),
    )  # fmt: skip
    facts = [f"run {run_dir.name}", f"split {split}", f"concepts: {about_vocabulary}"]
    write_explanation(out, explanation, training, binder, facts)
    print_cells(explanation_cells(explanation))
    print(*explanation.limits, out / PAGE, sep="\n")


def read_side(binder: Binder, sources: Sequence[Source], split: str, name: str, side: str) -> ExplainedSide:
    """The side that `MODALITY:VALUE` names: words, a file, or the first value of the sample with this key.

    Raises:
        ValueError: naming the side, for a modality that the run does not embed, or no such file or key.
    """
    modality, value = split_side(name, side, binder.modalities)
    path = Path(value).expanduser()
    if modality != "text" and path.is_file():
        return ExplainedSide.embed(binder, modality, Clip(path), value)
    for source in sources:
        keys = keys_of(source.samples(split))
        if value in keys and modality in source.modalities():
            values = source.fetch(split, [keys.index(value)], [modality], None)[0].get(modality)
            if not values:
                raise ValueError(f"{name}={side}: the sample {value} of {split} has no {modality}")
            title = values[0] if modality == "text" else value
            return ExplainedSide.embed(binder, modality, values[0], title, key=value)
    if modality == "text":
        return ExplainedSide.embed(binder, modality, value, value)
    raise ValueError(
        f"{name}={side}: no such file, and no sample of {split} with {modality} has this key. Paths count from "
        f"{Path.cwd()}; another split is named by split="
    )


def nearest_in_index(
    binder: Binder, a: ExplainedSide, folder: Path, modality: Modality | None
) -> tuple[ExplainedSide, PoolRank]:
    """The vector of an index that is nearest to a, of this modality or of any other than a's, and its rank: the first.

    Raises:
        ValueError: for an index of another binder, and a hit whose value is not in a file and no text.
    """
    index = Index.open(folder)
    index.use_binder(binder)
    others = [m for m in index.modalities if m != a.modality and m in binder.modalities]
    modalities = [str(modality).rstrip(":")] if modality is not None else others
    if not modalities:
        raise ValueError(f"in={folder}: holds nothing but {a.modality}; b={a.modality} searches in that")
    if wrong := [m for m in modalities if m not in binder.modalities]:
        raise ValueError(f"b={wrong[0]}: with in=INDEX name a modality that is searched; it has {', '.join(others)}")
    hit = next((hit for hit in _nearest_hits(index, a, modalities) if not _is_side(hit, a)), None)
    if hit is None:
        raise ValueError(f"in={folder}: holds nothing besides a; add to it with bindspace index")
    if hit.modality == "text" and hit.caption:
        value: Any = hit.caption
    elif hit.path and Path(hit.path).is_file():
        value = Clip(Path(hit.path), hit.start_seconds, hit.end_seconds)
    else:
        raise ValueError(
            f"in={folder}: of the nearest, {hit.key} ({hit.modality}), the index knows no file that is there; name it "
            f"with b={hit.modality}:FILE, or by the key of a sample"
        )
    side = ExplainedSide.embed(binder, hit.modality, value, hit.path or str(value), key=hit.key)
    num_distinct, num_pool = count_distinct(index, hit.modality)
    return side, PoolRank(1, num_distinct, num_pool, f"the {hit.modality} of {folder.name}")


def _nearest_hits(index: Index, a: ExplainedSide, modalities: Sequence[Modality]) -> Iterator[Hit]:
    """Ever more of them: an index may hold many copies of a."""
    for top in (2, 100, MAX_TOP):
        yield from index.search_vectors(a.z_D, top=top, modalities=modalities)[0]


def _is_side(hit: Hit, side: ExplainedSide) -> bool:
    """Whether a hit is the thing that was searched with."""
    is_file = isinstance(side.value, Clip) and hit.path is not None and Path(hit.path) == Path(side.title).absolute()
    is_text = hit.modality == "text" and hit.caption == side.value
    return hit.modality == side.modality and (hit.key == side.key or is_file or is_text)


def count_distinct(index: Index, modality: Modality) -> tuple[int, int]:
    """How many different texts, or files and spans, an index has of a modality, and how many vectors."""
    (pool,) = index.pools([modality])
    columns = ["caption"] if modality == "text" else ["path", "start_seconds", "end_seconds"]
    rows = pool.cells(np.arange(len(pool)), ["key", "number", *columns])
    # What the index knows no text or file of is another thing for each vector.
    things = {tuple(row[c] for c in (columns if row[columns[0]] else ["key", "number"])) for row in rows}
    return len(things), len(rows)


def pair_kind(parts: Parts, a: Modality, b: Modality) -> PairKind:
    """Whether the loss saw pairs of these modalities, or both are the anchor's own; one modality counts as trained."""
    if a == b or any({pair.a, pair.b} == {a, b} for pair in parts.pairs):
        return "trained"
    return "anchor" if {a, b} <= set(parts.binder.anchor.modalities) else "emergent"


def find_meeting_modality(parts: Parts, a: Modality, b: Modality) -> Modality | None:
    """What both sides of an emergent pair were bound to, pictures first; None for other pairs, or without one."""
    if pair_kind(parts, a, b) != "emergent":
        return None
    candidates = sorted(parts.binder.modalities, key=lambda m: m != "image")
    return next((m for m in candidates if all(pair_kind(parts, m, side) != "emergent" for side in (a, b))), None)


def write_explanation(
    out: Path, explanation: Explanation, training: KnownSamples, binder: Binder, facts: Sequence[str]
) -> None:
    """Write page, pictures and JSON into a folder, over those of an earlier explanation.

    Args:
        training: the samples that `explanation` names.
    """
    out.mkdir(parents=True, exist_ok=True)
    pictures = [out / "a.png", out / "b.png"]
    for png, side, regions in zip(pictures, explanation.sides, explanation.maps, strict=True):
        draw_side(png, side, regions, binder.transforms[side.modality])
    write_page(out / PAGE, explanation, pictures, facts, page_samples(explanation, training, binder.transforms))
    content = json.dumps({**explanation.as_json(), "facts": list(facts)}, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(out / JSON, content + "\n")


def explanation_cells(explanation: Explanation) -> Cells:
    """What the concepts that both share add, and where each side has what matters most."""
    shared = explanation.shared
    rows: list[tuple[str, ...]] = [(word, f"{value:+.3f}") for word, value in explanation.shared_concepts()]
    rows += [
        ("a concept of a with another one of b", f"{shared.of_different:+.3f}"),
        ("what the concepts leave out", f"{shared.unexplained:+.3f}"),
        ("all of it", f"{shared.centred_cosine:+.3f}"),
    ]
    where: list[tuple[str, ...]] = [
        (f"{name}: {region}", f"{effect:+.3f}")
        for name, regions in zip("ab", explanation.maps, strict=True)
        if regions is not None
        for region, effect in _regions_shown(regions)
    ]
    sections = {"adds to the cosine without means": rows, "the cosine without the region is lower by": where}
    title = f"{explanation.a.modality} {explanation.a.title} and {explanation.b.modality} {explanation.b.title}"
    caption = " ".join([describe_sum(explanation), *summarise(explanation)])
    return Cells(title, caption, ("", "cosine"), {k: v for k, v in sections.items() if v})


def _regions_shown(regions: OcclusionMap) -> list[tuple[str, float]]:
    """What matters most; where no region matters alone, the time that does and everything."""
    if not regions.matters_only_together:
        return regions.strongest()
    time = regions.strongest_time()
    times = [] if time is None else [(f"{time[0]}, hidden whole", time[1])]
    return [*times, ("all at once; no region matters alone", regions.effect_of_all)]
