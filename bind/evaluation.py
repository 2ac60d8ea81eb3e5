"""The figures of a run: retrieval between every ordered pair of modalities, and zero-shot classification."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bind.embedded import EmbeddedSplit
from bind.fusion.early import EarlyFusion
from bind.fusion.late import LateFusion
from bind.metrics import (
    COSINE_TIE_TOLERANCE,
    class_embeddings,
    retrieval_from_scores,
    zero_shot,
)
from bind.metrics.ceiling import ceiling_recall
from bind.model import Binder
from bind.types import Modality, Pair, Source


def evaluate_split(
    split: EmbeddedSplit,
    binder: Binder,
    pairs: Sequence[Pair],
    sources: Sequence[Source],
    split_name: str,
    *,
    one_per_group: bool,
    label_sets: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """The `retrieval` and `zero_shot` parts of `metrics.json`, see `retrieval_figures` and `zero_shot_figures`."""
    add_plain_sum(split, binder)
    return {
        "split": split_name,
        "anchor": {"name": binder.anchor.name, "fingerprint": binder.anchor.fingerprint},
        "retrieval": retrieval_figures(split, binder, pairs, sources, split_name, one_per_group=one_per_group),
        "zero_shot": zero_shot_figures(split, binder, sources, split_name, label_sets),
    }


def add_plain_sum(split: EmbeddedSplit, binder: Binder) -> None:
    """Beside a fusion that learns or combines scores stands the plain sum of the same inputs, `audio_plus_imu`."""
    if binder.fusion is None or isinstance(binder.fusion, EarlyFusion):
        return
    inputs = [m for m in binder.fusion.inputs if m in split.z]
    if len(inputs) == len(binder.fusion.inputs):
        z, present, rows = stacked(split, inputs)
        split.z[plain_sum(inputs)] = EarlyFusion(inputs)(z, present)
        split.rows[plain_sum(inputs)] = rows


def plain_sum(inputs: Sequence[Modality]) -> Modality:
    return "_plus_".join(inputs)


def parts_of(modality: Modality, binder: Binder) -> tuple[Modality, ...]:
    """The modalities an embedding was made from: itself, or the inputs of a fusion."""
    inputs = tuple(binder.fusion.inputs) if binder.fusion is not None else ()
    return inputs if modality in ("_and_".join(inputs), plain_sum(inputs)) and inputs else (modality,)


def ordered_pairs(split: EmbeddedSplit, binder: Binder) -> Iterator[tuple[Modality, Modality]]:
    """Every ordered pair of modalities in the split that share no input."""
    order = [*binder.anchor.modalities, *binder.encoders]
    names = sorted(split.z, key=lambda m: (order.index(m) if m in order else len(order), m))
    if isinstance(binder.fusion, LateFusion) and all(m in split.z for m in binder.fusion.inputs):
        names.append(binder.fusion.name)
    for query in names:
        for pool in names:
            if not set(parts_of(query, binder)) & set(parts_of(pool, binder)):
                yield query, pool


def retrieval_figures(
    split: EmbeddedSplit,
    binder: Binder,
    pairs: Sequence[Pair],
    sources: Sequence[Source],
    split_name: str,
    *,
    one_per_group: bool,
) -> dict[str, dict[str, Any]]:
    """`{a}_to_{b}` → figures, with `trained` (the loss saw this pair) and, where it is known, the exact ceiling."""
    trained = {frozenset((pair.a, pair.b)) for pair in pairs}
    figures = {}
    for query, pool in ordered_pairs(split, binder):
        if isinstance(binder.fusion, LateFusion) and binder.fusion.name in (query, pool):
            found = late_figures(split, binder.fusion, query, pool, one_per_group=one_per_group)
        else:
            found = split.retrieval(query, pool, one_per_group=one_per_group)
        found["trained"] = frozenset((query, pool)) in trained
        figures[f"{query}_to_{pool}"] = found | ceiling(
            split, binder, sources, split_name, query, pool, one_per_group=one_per_group
        )
    return figures


def stacked(
    split: EmbeddedSplit, inputs: Sequence[Modality], keep_N: Tensor | None = None
) -> tuple[dict[Modality, Tensor], dict[Modality, Tensor], Tensor]:
    """Vectors (R, D) and presence (R,) of `inputs` on the rows that have any of them, and those rows.

    A sample with several values of a modality counts with its first.
    """
    num_samples = len(split.keys)
    z_full, present_full = {}, {}
    for m in inputs:
        first = torch.full((num_samples,), len(split.rows[m])).scatter_reduce(
            0, split.rows[m], torch.arange(len(split.rows[m])), "amin"
        )
        present_full[m] = first < len(split.rows[m])
        z_full[m] = split.z[m].new_zeros(num_samples, split.z[m].shape[1])
        z_full[m][present_full[m]] = split.z[m][first[present_full[m]]]
    any_N = torch.stack(list(present_full.values())).any(dim=0)
    rows = (any_N if keep_N is None else any_N & keep_N).nonzero().flatten()
    return {m: z[rows] for m, z in z_full.items()}, {m: p[rows] for m, p in present_full.items()}, rows


def late_figures(
    split: EmbeddedSplit, fusion: LateFusion, query: Modality, pool: Modality, *, one_per_group: bool
) -> dict[str, Any]:
    """Retrieval by combined scores: the side named like the fusion has all of its inputs, the other has itself."""
    pool_N = split.is_pool_item() if one_per_group else torch.ones(len(split.keys), dtype=torch.bool)
    query_N = ~pool_N if one_per_group else pool_N
    parts = {side: fusion.inputs if name == fusion.name else (name,) for side, name in (("q", query), ("p", pool))}
    z_q, present_q, rows_q = stacked(split, parts["q"], query_N)
    z_p, present_p, rows_p = stacked(split, parts["p"], pool_N)

    def score_rows(start: int, stop: int) -> Tensor:
        tile = {m: z[start:stop] for m, z in z_q.items()}
        return fusion.scores(tile, z_p, {m: p[start:stop] for m, p in present_q.items()}, present_p)

    return retrieval_from_scores(
        score_rows,
        len(rows_q),
        split.group_ids_N[rows_q],
        split.group_ids_N[rows_p],
        tie_tolerance=COSINE_TIE_TOLERANCE if fusion.method == "sum" else 0.0,
    )


def ceiling(
    split: EmbeddedSplit,
    binder: Binder,
    sources: Sequence[Source],
    split_name: str,
    query: Modality,
    pool: Modality,
    *,
    one_per_group: bool,
) -> dict[str, float]:
    """`ceiling_R@k` where the one source knows which factors each modality carries (the toy world), else nothing."""
    source: Any = sources[0]
    if len(sources) > 1 or not hasattr(source, "carries"):
        return {}
    carried = [{f for m in parts_of(side, binder) for f in source.carries[m]} for side in (query, pool)]
    shared = [index for index, name in enumerate(source.factor_names) if name in carried[0] & carried[1]]
    pool_N = split.is_pool_item() if one_per_group else torch.ones(len(split.keys), dtype=torch.bool)
    query_N = ~pool_N if one_per_group else pool_N
    factors_NF = source.factor_table(split_name)[:, shared]
    return ceiling_recall(factors_NF[query_N.numpy()], factors_NF[pool_N.numpy()])


def zero_shot_figures(
    split: EmbeddedSplit,
    binder: Binder,
    sources: Sequence[Source],
    split_name: str,
    label_sets: Mapping[str, Mapping[str, Any]],
) -> dict[str, dict[str, Any]]:
    """`{modality}`, or `{modality}/{label set}` where there are several sets → top-1 against text prompts.

    A label set is `{"modalities", "templates", "classes": {label: [phrases]}}`; a class's vector is the mean over its
    phrases in all templates. Samples with other labels are not asked.

    Raises:
        ValueError: where no sample of the split has a label of the set.
    """
    labels = [sample.label for source in sources for sample in source.samples(split_name)]
    figures = {}
    for name, options in label_sets.items():
        classes: Mapping[str, Sequence[str]] = options["classes"]
        prompts = [[t.format(phrase) for t in options["templates"] for phrase in p] for p in classes.values()]
        z_class = class_embeddings([binder.embed("text", p).cpu() for p in prompts])
        index = {label: i for i, label in enumerate(classes)}
        target_N = torch.tensor([-1 if label is None else index.get(label, -1) for label in labels])
        if not bool((target_N >= 0).any()):
            found = sorted({label for label in labels if label})[:5]
            raise ValueError(
                f"data.zero_shot.{name}: no sample has one of its labels {list(index)}; labels are {found}"
            )
        fused = [m for m in split.z if len(parts_of(m, binder)) > 1]
        for modality in [*options["modalities"], *fused]:
            if modality in split.z:
                targets = target_N[split.rows[modality]]
                asked = targets >= 0
                key = f"{modality}/{name}" if len(label_sets) > 1 else modality
                figures[key] = zero_shot(split.z[modality][asked], targets[asked], z_class)
    return figures
