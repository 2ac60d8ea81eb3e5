"""Galleries of words: the classes whose prompts are nearest to a sound, where the data have no captions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from torch import Tensor

from bind.evaluation.embedded import EmbeddedSplit
from bind.evaluation.label_sets import LabelSet, default_label_sets
from bind.metrics import top_k
from bind.report.nearest import NUM_RESULTS, Gallery, GalleryQuery, gallery_queries, share_groups, spread_evenly
from bind.types import Modality

NUM_GALLERIES = 2
NO_TEMPLATES: Mapping[Modality, Sequence[str]] = MappingProxyType({})


def word_galleries(
    split: EmbeddedSplit,
    encoded: Sequence[Modality],
    labels: Sequence[str | None],
    label_sets: Mapping[str, Mapping[str, Any]] | None,
    *,
    embed_text: Callable[[list[str]], Tensor],
    known: Collection[str] | None = None,
    templates: Mapping[Modality, Sequence[str]] = NO_TEMPLATES,
    num_queries: int,
) -> list[Gallery]:
    """The nearest classes in words of queries spread evenly over the split, of modalities that no caption goes with.

    Args:
        encoded: the modalities with an encoder; two of them have a gallery at most, the first label set of each.
        labels: of the samples, in their order.
        label_sets: those of `evaluate_split`.
        known: the only texts that `embed_text` takes; None: any.
        templates: modality → what its figures have around the labels, where these are the classes.
        num_queries: of each modality.
    """
    has_captions = "text" in split.z
    shown = [m for m in encoded if m in split.z and not (has_captions and share_groups(split, m, "text"))]
    if not shown or not num_queries:
        return []
    if label_sets == {}:
        label_sets = {
            modality: options | {"templates": templates.get(modality, options["templates"])}
            for modality, options in default_label_sets(shown, labels, known).items()
        }
    galleries: dict[Modality, Gallery] = {}
    for name, options in (label_sets or {}).items():
        label_set = LabelSet.of(name, options, labels)
        for modality in (m for m in label_set.modalities if m in shown and m not in galleries):
            members_NK = label_set.members(labels)
            query_rows = members_NK.any(dim=1)[split.rows[modality]].nonzero().flatten()
            if len(query_rows) and len(galleries) < NUM_GALLERIES:
                z_class = label_set.embed(embed_text)
                rows = _nearest_classes(split, modality, query_rows, z_class, members_NK, num_queries)
                galleries[modality] = Gallery(modality, "words", rows, [prompts[0] for prompts in label_set.prompts])
    return list(galleries.values())


def _nearest_classes(
    split: EmbeddedSplit, modality: Modality, query_rows: Tensor, z_class: Tensor, members_NK: Tensor, num_queries: int
) -> list[GalleryQuery]:
    drawn = spread_evenly(query_rows, num_queries)
    scores, classes = top_k(split.z[modality][drawn], z_class, min(NUM_RESULTS, len(z_class)))
    relevant = members_NK[split.rows[modality][drawn]].gather(1, classes)
    columns = (drawn.tolist(), classes.tolist(), scores.tolist(), relevant.tolist())
    return gallery_queries(*columns)
