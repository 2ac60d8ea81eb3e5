"""Concepts that the queries of a gallery share with what they found: why it was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from bind.explain.concepts import DEFAULT_L1, ConceptMixture, ConceptVocabulary
from bind.report.nearest import Gallery
from bind.report.page_media import HitConcepts
from bind.types import Modality

NUM_CONCEPTS = 3
"""That are shown of a hit."""
LEAST_ADDED = 0.02
"""To a cosine, by a concept that is shown: less is no reason why a thing was found."""


def share_concepts(
    galleries: Sequence[Gallery], z: Mapping[Modality, Tensor], vocabulary: ConceptVocabulary, *, l1: float = DEFAULT_L1
) -> HitConcepts:
    """Of each hit in a gallery, what the concepts that most add to its cosine with the query add to it.

    The means of the modalities are taken off, see `ConceptVocabulary.compare`. A gallery of words has none, as these
    are concepts themselves. Where the mixture of one of both says less than half of its vector, there are none either,
    nor where all add next to nothing.

    Args:
        z: modality → the vectors (N_m, D) of the split, to which positions in the galleries count.
    """
    means = {modality: z_ND.double().mean(dim=0) for modality, z_ND in z.items()}
    mixtures: dict[tuple[Modality, int], ConceptMixture] = {}

    def mixture_of(modality: Modality, position: int) -> ConceptMixture:
        if (modality, position) not in mixtures:
            z_D = z[modality][position].float().cpu()
            mixtures[modality, position] = vocabulary.decompose(z_D, means[modality].cpu(), l1=l1)
        return mixtures[modality, position]

    concepts: HitConcepts = {}
    for gallery in galleries:
        for query in gallery.rows if not gallery.words else ():
            for hit in query.hits:
                a, b = mixture_of(gallery.query, query.position), mixture_of(gallery.pool, hit.position)
                place = (gallery.query, query.position, gallery.pool, hit.position)
                concepts[place] = []
                if a.is_enough and b.is_enough:
                    parts_V = vocabulary.compare(a, b).of_each_V
                    order = [n for n in (-parts_V).argsort(kind="stable").tolist() if parts_V[n] >= LEAST_ADDED]
                    concepts[place] = [(vocabulary.words[n], float(parts_V[n])) for n in order[:NUM_CONCEPTS]]
    return concepts
