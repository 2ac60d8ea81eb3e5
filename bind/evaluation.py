"""The figures of a run: retrieval between every ordered pair of modalities, and zero-shot classification."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bind.embedded import EmbeddedSplit
from bind.fusion.early import EarlyFusion
from bind.fusion.late import LateFusion
from bind.label_sets import LabelSet
from bind.metrics import COSINE_TIE_TOLERANCE, Ranking, rank_by_cosine, rank_by_scores
from bind.metrics.bootstrap import resampled_means
from bind.metrics.ceiling import pair_ceiling, share_of_ceiling
from bind.metrics.clusters import owner_clusters, resampled_together
from bind.metrics.geometry import space
from bind.metrics.multi_label import multi_label
from bind.metrics.transfer import transfer
from bind.metrics.zero_shot import per_class, predicted_classes, rank_classes, zero_shot_summary
from bind.model import Binder
from bind.types import Embeddings, Modality, Pair, Sample, Source

log = logging.getLogger("bind")


@dataclass(frozen=True)
class QueryResults:
    """What one task (`audio_to_image`, or zero-shot `zero_shot/imu`) found for each of its Q queries.

    Attributes:
        keys: the queries' samples.
        values_Q: int64 (Q,), which of the sample's values asked: 0 … 4 for five captions.
        clusters_Q: int64 (Q,), queries with equal numbers are resampled together.
        per_query: figure → float64 (Q,), as in `Ranking.per_query`.
        resampled: what the clusters are: `owners`, `groups` or `samples`.
        pool: how many items were ranked, and a hash of which and of what is relevant to what.
    """

    keys: list[str]
    values_Q: np.ndarray
    clusters_Q: np.ndarray
    per_query: dict[str, np.ndarray]
    resampled: str
    pool: tuple[int, str]


@dataclass
class Evaluation:
    """A split under evaluation.

    Attributes:
        split: its embeddings.
        samples: what is known of each of its N samples.
        queries: task → what each query found.
    """

    split: EmbeddedSplit
    binder: Binder
    sources: Sequence[Source]
    split_name: str
    one_per_group: bool
    queries: dict[str, QueryResults] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.samples: list[Sample] = [s for source in self.sources for s in source.samples(self.split_name)]
        assert len(self.samples) == len(self.split.keys), "a split is evaluated whole"
        mark_copies(self.split, self.sources, self.split_name)
        self.all_N = torch.ones(len(self.samples), dtype=torch.bool)
        self.owner_cluster_N = owner_clusters([sample.owners for sample in self.samples])

    def asking_and_asked(self, pool: Modality) -> tuple[Tensor, Tensor]:
        """Bool (N,) each: the samples that may ask a pool of this modality, and those it may be made of."""
        if not self.one_per_group:
            return self.all_N, self.all_N
        asked_N = self.split.is_pool_item(self.inputs_of(pool))
        return ~asked_N, asked_N

    def inputs_of(self, modality: Modality) -> list[Modality]:
        """What the split has vectors of: the modality itself, or the inputs of a fusion of scores."""
        return [modality] if modality in self.split.rows else [*parts_of(modality, self.binder)]

    def clusters(self, modality: Modality, asks_N: Tensor) -> tuple[str, np.ndarray]:
        """What is resampled together and the cluster (N,) of each sample.

        Where one text stands in many samples of a group, its queries are one query asked many times, whoever owns the
        samples: then owners do not count.
        """
        alone = np.arange(len(self.samples))
        owner_cluster_N = alone if modality in self.split.copies else self.owner_cluster_N
        return resampled_together(owner_cluster_N, self.split.group_ids_N.numpy(), asks_N.numpy())

    def have_a_common_group(self, query: Modality, pool: Modality) -> bool:
        """Whether a query can have anything relevant."""
        split, sides = self.split, []
        for side in (query, pool):
            sides.append(split.group_ids_N[torch.cat([split.rows[m] for m in self.inputs_of(side)])])
        return bool(torch.isin(*sides).any())


def evaluate_split(
    split: EmbeddedSplit,
    binder: Binder,
    pairs: Sequence[Pair],
    sources: Sequence[Source],
    split_name: str,
    *,
    one_per_group: bool,
    label_sets: Mapping[str, Mapping[str, Any]],
) -> tuple[dict[str, Any], dict[str, QueryResults]]:
    """`metrics.json` but for the seconds, and what each query found."""
    add_plain_sum(split, binder)
    evaluation = Evaluation(split, binder, sources, split_name, one_per_group)
    retrieval, draws = retrieval_figures(evaluation, pairs)
    unfused = {name: e for name, e in retrieval.items() if not fused_sides(name, binder)}
    metrics = {
        "split": split_name,
        "anchor": {"name": binder.anchor.name, "fingerprint": binder.anchor.fingerprint},
        "retrieval": retrieval,
        "zero_shot": zero_shot_figures(evaluation, label_sets),
        "summary": transfer(unfused, draws),
        "space": space(Embeddings(split.z, split.rows, len(split.keys)), pairs),
    }
    return metrics, evaluation.queries


def mark_copies(split: EmbeddedSplit, sources: Sequence[Source], split_name: str) -> None:
    """Note which texts an earlier sample of their group has too: captions made from templates.

    As pool items such copies would fill the first places with one and the same text, right or wrong, and the deeper
    figures would measure how often it was written down. Equal texts of different groups stay: they are ties.
    """
    if "text" not in split.rows:
        return
    texts: list[str] = []
    for source in (source for source in sources if "text" in source.modalities()):
        everything = range(len(source.samples(split_name)))
        texts += [t for values in source.fetch(split_name, everything, ["text"], None) for t in values.get("text", ())]
    assert len(texts) == len(split.rows["text"]), "every text of a split has a vector"
    groups = split.group_ids_N[split.rows["text"]].tolist()
    first: dict[tuple[int, str], int] = {}
    is_copy = [first.setdefault(item, i) != i for i, item in enumerate(zip(groups, texts, strict=True))]
    if any(is_copy):
        split.copies["text"] = torch.tensor(is_copy)


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


def fused_sides(name: str, binder: Binder) -> bool:
    """Whether a retrieval key names a modality that was made from several."""
    return any(len(parts_of(side, binder)) > 1 for side in name.split("_to_"))


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
    evaluation: Evaluation, pairs: Sequence[Pair]
) -> tuple[dict[str, dict[str, Any]], dict[str, np.ndarray]]:
    """`{a}_to_{b}` → figures, and its R@1 in each bootstrap resample.

    `trained`: the loss saw this pair. `kind`: `trained`, `anchor` (both sides are the anchor's own) or `emergent`.
    """
    trained = {frozenset((pair.a, pair.b)) for pair in pairs}
    anchor = set(evaluation.binder.anchor.modalities)
    figures, draws = {}, {}
    for query, pool in ordered_pairs(evaluation.split, evaluation.binder):
        name = f"{query}_to_{pool}"
        if not evaluation.have_a_common_group(query, pool):  # of sources that nothing connects
            log.info("%s can't be scored: no sample, and no group, has both", name)
            continue
        ranking, query_items, pool_items = rank_pair(evaluation, query, pool)
        resampled, cluster_N = evaluation.clusters(query, evaluation.asking_and_asked(pool)[0])
        entry = ranking.summary(cluster_N[query_items.rows]) | {"resampled": resampled}
        entry["trained"] = frozenset((query, pool)) in trained
        entry["kind"] = "trained" if entry["trained"] else "anchor" if {query, pool} <= anchor else "emergent"
        figures[name] = entry | ceiling(evaluation, ranking, query, query_items, pool, pool_items)
        asked = ranking.queries_Q.numpy()
        clusters_Q = cluster_N[query_items.rows[asked]]
        draws[name] = resampled_means(ranking.hits(1)[:, None], clusters_Q, num_clusters=cluster_N.max() + 1)[:, 0]
        evaluation.queries[name] = query_results(
            evaluation,
            ranking,
            query_items,
            clusters_Q,
            resampled,
            (entry["pool"], pool_items.fingerprint(evaluation.split)),
        )
    return figures, draws


@dataclass(frozen=True)
class Items:
    """Queries or pool items: their sample `rows` (n,) and which of the sample's values (n,) each is."""

    rows: np.ndarray
    values: np.ndarray

    def fingerprint(self, split: EmbeddedSplit) -> str:
        """A hash of which items these are and of the groups that make them relevant, in any order."""
        groups = split.group_ids_N.tolist()
        lines = [
            f"{split.keys[r]}\t{v}\t{groups[r]}" for r, v in zip(self.rows.tolist(), self.values.tolist(), strict=True)
        ]
        return hashlib.blake2b("\n".join(sorted(lines)).encode(), digest_size=8).hexdigest()


def items(split: EmbeddedSplit, modality: Modality, positions: Tensor) -> Items:
    """The values of a modality at these positions among its vectors."""
    rows = split.rows[modality]
    assert bool((rows[1:] >= rows[:-1]).all()), "vectors stand in the order of their samples"
    first = torch.searchsorted(rows, rows)  # the vectors of one sample are neighbours, in the order of its values
    return Items(rows[positions].numpy(), (torch.arange(len(rows)) - first)[positions].numpy())


def rank_pair(evaluation: Evaluation, query: Modality, pool: Modality) -> tuple[Ranking, Items, Items]:
    """Every query against every pool item; relevant are those of the query's group."""
    split, fusion = evaluation.split, evaluation.binder.fusion
    if isinstance(fusion, LateFusion) and fusion.name in (query, pool):
        return rank_late(evaluation, fusion, query, pool)
    asking, asked = split.query_and_pool(query, pool, one_per_group=evaluation.one_per_group)
    query_items, pool_items = items(split, query, asking), items(split, pool, asked)
    groups = split.group_ids_N
    ranking = rank_by_cosine(
        split.z[query][asking], split.z[pool][asked], groups[query_items.rows], groups[pool_items.rows]
    )
    return ranking, query_items, pool_items


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


def rank_late(
    evaluation: Evaluation, fusion: LateFusion, query: Modality, pool: Modality
) -> tuple[Ranking, Items, Items]:
    """Ranking by combined scores: the side named like the fusion has all of its inputs, the other has itself."""
    split, one_per_group = evaluation.split, evaluation.one_per_group

    def side(name: Modality, positions: Tensor | None, keep_N: Tensor) -> tuple[dict, dict, Items]:
        if positions is None:
            z, present, rows = stacked(split, fusion.inputs, keep_N)
            return z, present, Items(rows.numpy(), np.zeros(len(rows), dtype=np.int64))
        return (
            {name: split.z[name][positions]},
            {name: torch.ones(len(positions), dtype=torch.bool)},
            items(split, name, positions),
        )

    asks_N, pool_N = evaluation.asking_and_asked(pool)
    of_pool = evaluation.inputs_of(pool)
    asking = None if query == fusion.name else split.asking(query, of_pool, one_per_group=one_per_group)
    asked = None if pool == fusion.name else split.asked(pool, one_per_group=one_per_group)
    z_q, present_q, query_items = side(query, asking, asks_N)
    z_p, present_p, pool_items = side(pool, asked, pool_N)

    def score_rows(start: int, stop: int) -> Tensor:
        tile = {m: z[start:stop] for m, z in z_q.items()}
        return fusion.scores(tile, z_p, {m: p[start:stop] for m, p in present_q.items()}, present_p)

    ranking = rank_by_scores(
        score_rows,
        len(query_items.rows),
        split.group_ids_N[query_items.rows],
        split.group_ids_N[pool_items.rows],
        tie_tolerance=COSINE_TIE_TOLERANCE if fusion.method == "sum" else 0.0,
    )
    return ranking, query_items, pool_items


def query_results(
    evaluation: Evaluation,
    ranking: Ranking,
    query_items: Items,
    clusters_Q: np.ndarray,
    resampled: str,
    pool: tuple[int, str],
) -> QueryResults:
    """What each query of a ranking found, under the names of its samples."""
    asked = ranking.queries_Q.numpy()
    keys = [evaluation.split.keys[row] for row in query_items.rows[asked].tolist()]
    return QueryResults(keys, query_items.values[asked], clusters_Q, ranking.per_query(), resampled, pool)


def ceiling(
    evaluation: Evaluation, ranking: Ranking, query: Modality, query_items: Items, pool: Modality, pool_items: Items
) -> dict[str, float]:
    """`ceiling_R@k`, and R@1 as a share of it, where the one source knows its factors (the toy world), else nothing."""
    source: Any = evaluation.sources[0]
    one_relevant = bool((ranking.num_relevant_Q == 1).all()) and len(ranking.queries_Q) == ranking.num_queries
    if len(evaluation.sources) > 1 or not hasattr(source, "carries") or not one_relevant:
        return {}
    factors_NF = source.factor_table(evaluation.split_name)
    found = pair_ceiling(
        factors_NF[query_items.rows], factors_NF[pool_items.rows], source.factor_names, query, pool, source.carries
    )
    chance = ranking.chance(1)
    if found["ceiling_R@1"] > chance:
        share = share_of_ceiling(float(ranking.hits(1).mean()), chance, found["ceiling_R@1"])
        found["share_of_ceiling"] = share
    return found


def zero_shot_figures(evaluation: Evaluation, label_sets: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """`{modality}`, or `{modality}/{label set}` where there are several sets → accuracy against text prompts.

    See `LabelSet` for what a set is. Samples with other labels are not asked; where a sample may have several, all that
    have any are ranked.

    Raises:
        ValueError: where a set is not right, or no sample of the split has a label of it.
    """
    split, binder = evaluation.split, evaluation.binder
    labels = [sample.label for sample in evaluation.samples]
    figures = {}
    for name, options in label_sets.items():
        label_set = LabelSet.of(name, options, labels)
        members_NK, classes = label_set.members(labels), list(label_set.classes)
        z_class = label_set.embed(lambda texts: binder.embed("text", texts))
        asks_N = torch.tensor([bool(label) for label in labels]) if label_set.multi_label else members_NK.any(dim=1)
        fused = [m for m in split.z if len(parts_of(m, binder)) > 1]
        for modality in [m for m in (*label_set.modalities, *fused) if m in split.z]:
            asked = asks_N[split.rows[modality]].nonzero().flatten()
            query_items, z_query = items(split, modality, asked), split.z[modality][asked]
            members_QK = members_NK[query_items.rows]
            key = f"{modality}/{name}" if len(label_sets) > 1 else modality
            if not bool(members_QK.any()):
                log.warning("zero-shot %s: no sample with %s has a label of %s", key, modality, name)
                continue
            resampled, cluster_N = evaluation.clusters(modality, evaluation.all_N)
            clusters_Q = cluster_N[query_items.rows]
            if label_set.multi_label:
                entry = multi_label(z_query, members_QK, z_class, classes, clusters=clusters_Q)
            else:
                target_Q = members_QK.int().argmax(dim=1)
                ranking = rank_classes(z_query, target_Q, z_class)
                entry = zero_shot_summary(ranking, clusters_Q)
                predicted_Q = predicted_classes(ranking, z_query, target_Q, z_class)
                entry["per_class"] = per_class(target_Q, predicted_Q, classes)
                prompted = (len(classes), label_set.fingerprint)
                evaluation.queries[f"zero_shot/{key}"] = query_results(
                    evaluation, ranking, query_items, clusters_Q, resampled, prompted
                )
            figures[key] = entry | {"resampled": resampled, "label_set": name}
    return figures
