"""Explanation of why two things are close: concepts, where they are, evidence, and what can't be said."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

from bind.data.transforms.taken import TakenPart, find_taken_part
from bind.explain.concepts import DEFAULT_L1, ConceptMixture, ConceptVocabulary, SharedConcepts
from bind.explain.grids import make_grid, shrink
from bind.explain.known import KnownSamples, Neighbour
from bind.explain.occlusion import OcclusionMap, occlude
from bind.explain.ranks import PoolRank, identity_of, rank_among
from bind.model.binder import Binder
from bind.types import Modality

PairKind = Literal["trained", "anchor", "emergent"]
NUM_BASELINE_VALUES = 32
"""Of a modality: what their mean is taken of that stands in the place of a hidden region."""
NUM_RANDOM_PAIRS = 20_000
NUM_NEAREST = 3
NUM_CONCEPTS = 8
"""That are shown of each side."""


@dataclass(frozen=True)
class ExplainedSide:
    """One of the two things that are compared.

    Attributes:
        title: what it is called: a file, a text or the key of a sample.
        key: of its sample; None where it is none of the run's.
        value: the file or value.
        item: what the modality's transform gave of it.
        z_D: its unit vector.
        taken: which part of a recording that is; None of what is no recording, or where the transform does not say.
    """

    modality: Modality
    title: str
    key: str | None
    value: Any
    item: Any
    z_D: Tensor
    taken: TakenPart | None = None

    @classmethod
    def embed(cls, binder: Binder, modality: Modality, value: Any, title: str, key: str | None = None) -> ExplainedSide:
        """A side of a value.

        Raises:
            ValueError: naming the file that can't be read.
        """
        transform = binder.transforms[modality]
        item = transform(value, None)
        z_D = binder.embed_items(modality, [item])[0].float().cpu()
        return cls(modality, title, key, value, item, z_D, find_taken_part(value, transform))

    @property
    def identity(self) -> Hashable:
        """Equal for what is the same thing, see `identity_of`."""
        return identity_of(self.value, self.key)


@dataclass(frozen=True)
class Explanation:
    """Why two things are close.

    Attributes:
        a, b: the sides.
        percentile: share, in percent, of random pairs of these two modalities that are less close.
        mixtures: of a and b.
        maps: of a and b; None for an input that has no regions.
        nearest: of a and b, the nearest training samples of their own modality.
        kind: whether the loss saw pairs of these modalities, or both are the anchor's own; else they are emergent.
        meeting_modality: of an emergent pair, what both sides were bound to; None where there is nothing.
        meeting: the training samples of that modality which are near to both.
        limits: sentences, what this explanation can't say.
    """

    a: ExplainedSide
    b: ExplainedSide
    cosine: float
    percentile: float
    num_random_pairs: int
    rank: PoolRank
    words: tuple[str, ...]
    mixtures: tuple[ConceptMixture, ConceptMixture]
    shared: SharedConcepts
    maps: tuple[OcclusionMap | None, OcclusionMap | None]
    nearest: tuple[list[Neighbour], list[Neighbour]]
    kind: PairKind
    meeting_modality: Modality | None
    meeting: list[Neighbour]
    num_training: int
    limits: tuple[str, ...]

    @property
    def sides(self) -> tuple[ExplainedSide, ExplainedSide]:
        """Both."""
        return self.a, self.b

    def shared_concepts(self) -> list[tuple[str, float]]:
        """The concepts that both mixtures have and what each adds to the centred cosine, the largest first."""
        return _largest(self.words, self.shared.of_each_V)

    def concepts(self, number: int) -> list[tuple[str, float]]:
        """The concepts of side 0 or 1 with their weights, the largest first."""
        return _largest(self.words, self.mixtures[number].weights_V)[:NUM_CONCEPTS]

    def as_json(self) -> dict[str, Any]:
        """Plain values, of the page and more."""
        sides = {}
        for number, (name, side) in enumerate(zip("ab", self.sides, strict=True)):
            sides[name] = {
                "modality": side.modality,
                "title": side.title,
                "key": side.key,
                "taken": None if side.taken is None else side.taken.as_json(),
                "concepts": dict(_largest(self.words, self.mixtures[number].weights_V)),
                "reconstruction_cosine": self.mixtures[number].reconstruction_cosine,
                "occlusion": _map_as_json(self.maps[number]),
                "nearest_training_samples": [neighbour.as_json() for neighbour in self.nearest[number]],
            }
        return {
            **sides,
            "cosine": self.cosine,
            "percentile": self.percentile,
            "num_random_pairs": self.num_random_pairs,
            "rank": self.rank.rank,
            "num_distinct": self.rank.num_distinct,
            "num_pool": self.rank.num_pool,
            "pool": self.rank.pool,
            "centred_cosine": self.shared.centred_cosine,
            "shared_concepts": dict(self.shared_concepts()),
            "different_concepts": self.shared.of_different,
            "unexplained": self.shared.unexplained,
            "pair": self.kind,
            "meeting_modality": self.meeting_modality,
            "meeting_samples": [neighbour.as_json() for neighbour in self.meeting],
            "num_training_samples": self.num_training,
            "limits": list(self.limits),
        }


def explain_pair(
    binder: Binder,
    a: ExplainedSide,
    b: ExplainedSide,
    *,
    training: KnownSamples,
    pool: KnownSamples,
    vocabulary: ConceptVocabulary,
    kind: PairKind,
    meeting_modality: Modality | None = None,
    rank: PoolRank | None = None,
    l1: float = DEFAULT_L1,
) -> Explanation:
    """Explain why two things are close.

    Args:
        training: what means of modalities, hidden regions and evidence are taken of.
        pool: the candidates for a, and what random pairs are drawn of.
        kind: of the pair of modalities.
        meeting_modality: of an emergent pair, what both sides were bound to.
        rank: of b, where it is known; None: it is counted in `pool`.
        l1: see `ConceptVocabulary.decompose`.

    Raises:
        ValueError: where the training samples have no value of a side's modality.

    Examples:
        >>> from bind.data.sources.toy.world import FACTORS, ToySource
        >>> anchor = {"_target_": "bind.anchors.dual_encoder.PretrainedAnchor", "pretrained": "toy"}
        >>> config = {"anchor": anchor, "modalities": [], "encoder": {}, "head": {}, "transform": {}}
        >>> binder, toy = Binder.from_config(config), ToySource(num_train=20, modalities=["image", "text"])
        >>> picture, caption = (toy.fetch("test", [1], [m], None)[0][m][0] for m in ("image", "text"))
        >>> explanation = explain_pair(
        ...     binder,
        ...     ExplainedSide.embed(binder, "image", picture, "a picture"),
        ...     ExplainedSide.embed(binder, "text", caption, caption),
        ...     training=KnownSamples.draw([toy], "train", 20),
        ...     pool=KnownSamples.draw([toy], "test", 20),
        ...     vocabulary=ConceptVocabulary.embed(binder, [word for words in FACTORS.values() for word in words]),
        ...     kind="anchor",
        ... )
        >>> explanation.shared_concepts()[0][0] in caption
        True
    """
    for side in (a, b):
        if not training.has(side.modality):
            raise ValueError(
                f"{side.modality}: the {training.num_of_split} training samples have none, so that its mean, what "
                "stands in the place of a hidden region, and the nearest samples are not known; explain modalities "
                "that the run's data has"
            )
    mixtures = [
        vocabulary.decompose(side.z_D, training.embed(binder, side.modality).double().mean(dim=0), l1=l1)
        for side in (a, b)
    ]
    percentile, num_random_pairs = random_percentile(
        binder, a, b, pool if pool.has(a.modality) and pool.has(b.modality) else training
    )
    nearest = [training.nearest(side.modality, side.z_D, NUM_NEAREST, leave_out=side.key) for side in (a, b)]
    meeting: list[Neighbour] = []
    if meeting_modality is not None and training.has(meeting_modality):
        training.embed(binder, meeting_modality)
        meeting = training.near_both(meeting_modality, a.z_D, b.z_D, NUM_NEAREST, leave_out=(a.key, b.key))
    maps = [map_of(binder, side, other, training) for side, other in ((a, b), (b, a))]
    return Explanation(
        a,
        b,
        float(a.z_D.double() @ b.z_D.double()),
        percentile,
        num_random_pairs,
        rank or rank_in(binder, a, b, pool),
        vocabulary.words,
        (mixtures[0], mixtures[1]),
        vocabulary.compare(*mixtures),
        (maps[0], maps[1]),
        (nearest[0], nearest[1]),
        kind,
        meeting_modality,
        meeting,
        len(training.samples),
        tuple(_limits((a, b), mixtures, maps)),
    )


def map_of(binder: Binder, side: ExplainedSide, other: ExplainedSide, training: KnownSamples) -> OcclusionMap | None:
    """The occlusion map of a side; None where its input has no regions that can be hidden."""
    transform = binder.transforms[side.modality]
    rows = [row for row in training.rows[side.modality] if training.samples[row].key != side.key][:NUM_BASELINE_VALUES]
    others = [shrink(transform(value, None)) for value in training.values(side.modality, rows)]
    starts = side.taken.starts_seconds if side.taken else ()
    grid = make_grid(side.modality, side.item, others, transform, starts) if others else None
    return None if grid is None else occlude(binder, side.modality, side.item, grid, other.z_D)


def random_percentile(binder: Binder, a: ExplainedSide, b: ExplainedSide, known: KnownSamples) -> tuple[float, int]:
    """The percentage of random pairs of both modalities, of samples of different groups, that are less close; how many.

    Cosines of other modalities can't be compared with these: each two have a level of their own.
    """
    z_a_ND, z_b_ND = known.embed(binder, a.modality), known.embed(binder, b.modality)
    groups = np.asarray([sample.group_id for sample in known.samples])
    rng = np.random.default_rng(0)
    places_a, places_b = (rng.integers(len(z), size=NUM_RANDOM_PAIRS) for z in (z_a_ND, z_b_ND))
    rows_a, rows_b = np.asarray(known.rows[a.modality])[places_a], np.asarray(known.rows[b.modality])[places_b]
    is_random = groups[rows_a] != groups[rows_b]
    if not is_random.any():
        raise ValueError(f"{known.split}: its samples are all of one group, so that there are no random pairs")
    cosines = (z_a_ND[places_a[is_random]] * z_b_ND[places_b[is_random]]).sum(dim=1)
    cosine = float(a.z_D @ b.z_D)
    return 100 * float((cosines < cosine).double().mean()), int(is_random.sum())


def rank_in(binder: Binder, a: ExplainedSide, b: ExplainedSide, pool: KnownSamples) -> PoolRank:
    """The rank of b for a among what the samples of a pool are, and b itself; a is no candidate for itself."""
    if not pool.has(b.modality):
        return PoolRank(1, 1, 1, f"{pool.split} has no {b.modality}")
    cosines_N = (pool.embed(binder, b.modality) @ a.z_D).tolist()
    among = f"{len(cosines_N):,} of the {pool.num_of_split:,} samples of {pool.split}"
    leave_out = [a.identity] if a.modality == b.modality and a.identity != b.identity else []
    identities = pool.identities[b.modality]
    return rank_among(float(a.z_D @ b.z_D), b.identity, cosines_N, identities, among, leave_out=leave_out)


def _limits(
    sides: Sequence[ExplainedSide], mixtures: Sequence[ConceptMixture], maps: Sequence[OcclusionMap | None]
) -> list[str]:
    """What an explanation can't say."""
    limits = []
    for name, side, mixture, regions in zip("ab", sides, mixtures, maps, strict=True):
        if not mixture.is_enough:
            limits.append(
                f"The concepts explain less than half of {name} ({side.modality}, reconstruction cosine "
                f"{mixture.reconstruction_cosine:.2f}): what is close may be something that no word of the list says."
            )
        if regions is None:
            limits.append(f"{name} ({side.modality}) has no map: its input has no regions that can be hidden.")
        elif regions.effect_of_all <= 0:
            limits.append(
                f"Without anything of {name} the cosine is no lower, so its map does not say what makes them close."
            )
    if not any((mixtures[0].weights_V * mixtures[1].weights_V) > 0):
        limits.append("No concept is in both mixtures: by these words the two share nothing.")
    return limits


def _largest(words: Sequence[str], weights_V: np.ndarray) -> list[tuple[str, float]]:
    """The words with a weight above 0, the largest first."""
    order = np.argsort(-weights_V, kind="stable")
    return [(words[n], round(float(weights_V[n]), 6)) for n in order.tolist() if weights_V[n] > 0]


def _map_as_json(regions: OcclusionMap | None) -> dict[str, Any] | None:
    if regions is None:
        return None
    return {
        "rows": list(regions.row_names),
        "columns": list(regions.column_names),
        "effects": regions.effects_RK.round(6).tolist(),
        "effects_of_times": None
        if regions.effects_of_times_K is None
        else regions.effects_of_times_K.round(6).tolist(),
        "sum_of_effects": regions.sum_of_effects,
        "effect_of_all": regions.effect_of_all,
    }
