"""The leakage audit of a run: the evaluated split against all that its weights have ever been trained on."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bind.anchors.near_duplicates import find_near_duplicates, why_not_comparable
from bind.cache.build import CacheOptions, build_cache, cacheable_modalities
from bind.cache.fill import Engine
from bind.data.leakage.audit import exact_audit
from bind.data.leakage.leaks import Audit, Leak, SourceSplit
from bind.data.mixture import source_weights
from bind.data.sources.sample_columns import keys_of
from bind.data.sources.splits import require_split
from bind.evaluation import QueryResults
from bind.evaluation.embedded import EmbeddedSplit
from bind.media.pictures import open_image
from bind.metrics.bootstrap import bootstrap_ci
from bind.runs.ownership import confined, is_own, is_trusted_place
from bind.runs.parts import Parts, make_sources
from bind.runs.run_config import open_run
from bind.types import Anchor, FactorSource, Modality

log = logging.getLogger("bind")

MAX_PAIRS = 10**9
"""Pairs of pictures that are compared beside a score without being asked for: ten seconds on two cores."""
MAX_LOOKED_AT = 2_000
"""Evaluated pictures whose nearest are opened beside a score: a minute of decoding photographs."""


def audit_run(
    parts: Parts,
    run_dir: Path,
    split_name: str,
    *,
    trust: Sequence[str],
    embedded: EmbeddedSplit | None = None,
    thorough: bool = False,
) -> Audit:
    """Everything in `bind.data.leakage.audit`, and pictures that are nearly the same as one trained on.

    Beside a score (`thorough=False`) what would take long is left out, and said to be: reading more than
    `evaluation.leakage_gb` to compare files of equal size, embedding training pictures that no cache holds, and
    searching more than `MAX_PAIRS` pairs of pictures.

    Args:
        trust: packages whose classes the configs of those runs may name besides bind's own.
        embedded: the evaluated split, where it is at hand.

    Raises:
        ValueError: where `thorough` and data can't be read any more; beside a score this is said instead.
    """
    try:
        return _audit(parts, run_dir, split_name, trust=trust, embedded=embedded, thorough=thorough)
    except (ValueError, OSError) as error:  # a training of days must not end without its figures for this
        if thorough:
            raise
        log.warning("the leakage audit stopped: %s", error)
        num_samples = sum(len(source.samples(split_name)) for source in parts.datamodule.sources)
        return Audit(num_samples, [], not_checked=[f"anything: {error}"])


def _audit(
    parts: Parts,
    run_dir: Path,
    split_name: str,
    *,
    trust: Sequence[str],
    embedded: EmbeddedSplit | None,
    thorough: bool,
) -> Audit:
    config, datamodule = parts.config, parts.datamodule
    require_split(datamodule.sources, split_name, "Choose a split that a source has")
    if parts.is_own_data:
        earlier, unknown = earlier_parts(config, run_dir, trust)
    else:
        earlier, unknown = parts_of_run(run_dir, trust)
    names = zip(datamodule.source_names, datamodule.sources, datamodule.weights, strict=True)
    own = [(SourceSplit(name, source, "train", datamodule.train_modalities), weight) for name, source, weight in names]
    trained = [part for part, weight in own if weight and parts.is_own_data] + earlier
    evaluated = [
        replace(part, split=split_name, modalities=datamodule.evaluation_modalities)
        for part, _ in own
        if len(part.source.samples(split_name))
    ]
    known = datamodule.known
    evaluated, trained = ([_without(part, known) for part in parts] for parts in (evaluated, trained))
    limit = config["evaluation"].get("leakage_gb", 1.0)
    audit = exact_audit(evaluated, trained, float("inf") if thorough or limit is None else limit * 1e9)
    audit.not_checked += unknown
    audit.notes += [f"{modality}: known on purpose (evaluation.known), so it is not compared" for modality in known]
    options = CacheOptions.from_config(config["cache"])
    vectors_of = functools.partial(_vectors_of, parts, options, embedded=embedded, embed=thorough)
    _compare_pictures(audit, evaluated, trained, vectors_of, parts.binder.anchor, thorough=thorough)
    return audit


def parts_of_run(run_dir: Path, trust: Sequence[str]) -> tuple[list[SourceSplit], list[str]]:
    """See `earlier_parts`: what a finished run was trained on, and that from which it started."""
    return earlier_parts({"init_from": str(run_dir), "anchor": {}}, None, trust)


def _without(part: SourceSplit, known: Sequence[Modality]) -> SourceSplit:
    return replace(part, modalities=tuple(m for m in part.modalities if m not in known))


def _vectors_of(
    parts: Parts, options: CacheOptions, part: SourceSplit, *, embedded: EmbeddedSplit | None, embed: bool
) -> Sequence[Tensor] | None:
    """(V, D) of the pictures of each sample; None where they would have to be embedded although `embed` is False."""
    datamodule, anchor = parts.datamodule, parts.binder.anchor
    keys = keys_of(part.source.samples(part.split))
    if embedded is not None and part.split != "train":
        return _embedded_pictures(embedded, keys)
    if datamodule.cache is not None and part.source in datamodule.sources:
        position = datamodule.sources.index(part.source)
        if (taken := datamodule.cache.take("image", keys, source=position, split=part.split)) is not None:
            return list(taken.vectors_ND.split(taken.num_values_B.tolist()))
    if not cacheable_modalities(part.source, part.split, ["image"], anchor) or not (embed or options.dir):
        return None
    engine = Engine(datamodule.evaluation_batch_size, datamodule.num_workers, datamodule.timeout_seconds)
    try:
        options = replace(options, build=embed)
        cache = build_cache(anchor, [part.source], [(0, part.split, "image")], options, engine, show=embed)
    except ValueError:
        if embed:
            raise
        return None
    return cache.lookup("image", keys, source=0, split=part.split)


def earlier_parts(
    config: Mapping[str, Any], run_dir: Path | None, trust: Sequence[str]
) -> tuple[list[SourceSplit], list[str]]:
    """The training data of the runs that weights or anchor were taken from, and of those before; what can't be told.

    `run_dir` is the run itself, which is none of them.
    """
    parts: list[SourceSplit] = []
    notes: list[str] = []
    seen = set() if run_dir is None else {run_dir.resolve()}
    starts = _starts(config, run_dir)
    while starts:
        start, is_named_by_own = starts.pop()
        if not (is_named_by_own or is_trusted_place(start, trust)):
            notes.append(
                f"what {start} was trained on: a run that this account has not written names it; trust=[{start}]"
            )
            continue
        path = Path(start)
        folder = next((p for p in (path, *list(path.parents)[:2]) if (p / "config.yaml").is_file()), None)
        if folder is None or not path.exists():
            notes.append(f"what {start} was trained on: there is no config.yaml of a run")
        elif folder.resolve() not in seen:
            seen.add(folder.resolve())
            try:
                _, its = open_run(str(folder))
                sources = make_sources(confined(its, folder, trust), trust)
                weights = source_weights(sources, its["data"]["weights"])
                for (name, source), weight in zip(sources.items(), weights, strict=True):
                    if weight:
                        parts.append(SourceSplit(f"{folder}: {name}", source, "train", source.modalities()))
            except (ValueError, OSError, KeyError) as error:
                notes.append(f"what {start} was trained on: {error}")
            else:
                starts += _starts(its, folder)
    return parts, notes


def _starts(config: Mapping[str, Any], run_dir: Path | None) -> list[tuple[str, bool]]:
    """Where a run took weights from: `init_from`, a checkpoint, and the anchor; and whether the run is one's own."""
    is_ours = run_dir is None or not (run_dir / "config.yaml").is_file() or is_own(run_dir)
    found = [config.get("init_from"), config.get("ckpt"), config["anchor"].get("pretrained")]
    return [(str(start), is_ours) for start in found if start and start not in ("last", "auto")]


def _embedded_pictures(embedded: EmbeddedSplit, keys: Sequence[str]) -> Sequence[Tensor] | None:
    if "image" not in embedded.z:
        return None
    counts = torch.bincount(embedded.rows["image"], minlength=len(embedded.keys)).tolist()
    vectors = dict(zip(embedded.keys, embedded.z["image"].split(counts), strict=True))
    return [vectors[key] for key in keys]


@dataclass(frozen=True)
class _Pictures:
    """The vectors (M, D) that the anchor has made of pictures, and the part, sample and value that each is of."""

    z_MD: Tensor
    places: list[tuple[SourceSplit, int, int]]

    @classmethod
    def of(cls, vectors: Sequence[tuple[SourceSplit, Sequence[Tensor]]]) -> _Pictures:
        places = [(part, row, v) for part, found in vectors for row, z_VD in enumerate(found) for v in range(len(z_VD))]
        z = [z_VD for _, found in vectors for z_VD in found]
        return cls(torch.cat(z) if z else torch.zeros(0, 0), places)

    def open(self, position: int) -> Image.Image:
        part, row, value = self.places[position]
        return open_image(part.source.fetch(part.split, [row], ["image"], None)[0]["image"][value])

    def origin(self, position: int) -> tuple[str, str]:
        """Source and key."""
        part, row, _ = self.places[position]
        return part.name, part.source.samples(part.split)[row].key


def _compare_pictures(
    audit: Audit,
    evaluated: Sequence[SourceSplit],
    trained: Sequence[SourceSplit],
    vectors_of: Callable[[SourceSplit], Sequence[Tensor] | None],
    anchor: Anchor,
    *,
    thorough: bool,
) -> None:
    evaluated, trained = ([p for p in parts if _has_pictures(p)] for parts in (evaluated, trained))
    num_pairs = math.prod(sum(len(p.source.samples(p.split)) for p in side) for side in (evaluated, trained))
    if not num_pairs:
        return
    what = "pictures that are nearly the same"
    if reason := why_not_comparable(anchor):
        audit.not_checked.append(f"{what}: {reason}")
        return
    hint = "" if thorough else "; `bindspace leakage run=PATH` finds them"
    if not thorough and num_pairs > MAX_PAIRS:
        audit.not_checked.append(f"{what}: {num_pairs:,} pairs{hint}")
        return
    sides = []
    for parts in (evaluated, trained):
        vectors = [(part, vectors_of(part)) for part in parts]
        for part in (part for part, found in vectors if found is None):
            audit.not_checked.append(f"{what}, in {part.name}: no vectors of the {part.split} split are at hand{hint}")
        sides.append(_Pictures.of([(part, found) for part, found in vectors if found is not None]))
    ours, theirs = sides
    if not ours.places or not theirs.places:
        return
    limit = None if thorough else MAX_LOOKED_AT
    found, left_out = find_near_duplicates(
        ours.z_MD, theirs.z_MD, open_one=ours.open, open_other=theirs.open, anchor=anchor, max_opened=limit
    )
    if left_out:
        audit.not_checked.append(f"{what}: {left_out} of those with close neighbours{hint}")
    for i, j, cosine in found:
        _, key = ours.origin(i)
        if key not in audit.leaks["files"]:
            audit.add("near", Leak(key, *theirs.origin(j), f"cosine {cosine:.3f}"))
    numbers = f"{len(ours.places)} evaluated pictures against {len(theirs.places)}"
    audit.checked["near"] = f"{numbers}, by the anchor and by thumbnails"


def _has_pictures(part: SourceSplit) -> bool:
    """Pictures that are made are not looked at: their combinations are compared."""
    has_pictures = "image" in part.modalities and "image" in part.source.modalities()
    return has_pictures and not isinstance(part.source, FactorSource)


def without_leaked(queries: Mapping[str, QueryResults], leaked: set[str]) -> dict[str, dict[str, Any]]:
    """Task → figures over the queries that did not leak, against the same pools; their number, and R@1's interval.

    `R@1_with_leaked` is that of all queries.
    """
    found: dict[str, dict[str, Any]] = {}
    for task, result in queries.items():
        kept_Q = np.array([key not in leaked for key in result.keys], dtype=bool)
        entry: dict[str, Any] = {
            "queries": int(kept_Q.sum()),
            "R@1_with_leaked": float(result.per_query["R@1"].mean()),
        }
        if kept_Q.any():
            values = {name: values_Q[kept_Q] for name, values_Q in result.per_query.items()}
            entry |= {name: float(values_Q.mean()) for name, values_Q in values.items()}
            entry["median_rank"] = float(np.median(values["mean_rank"]))
            entry["ci95_R@1"] = list(bootstrap_ci(values["R@1"], result.clusters_Q[kept_Q], is_share=True))
        found[task] = entry
    return found
