"""Concepts for the galleries of a run's page: the words that queries and results share."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from bind.evaluation.embedded import EmbeddedSplit
from bind.explain.gallery import share_concepts
from bind.explain.known import KnownSamples
from bind.explain.vocabulary import make_vocabulary
from bind.report.nearest import Gallery
from bind.report.page_media import HitConcepts
from bind.runs.parts import Parts
from bind.types import TextLookup

log = logging.getLogger("bind")

NUM_CAPTIONED = 300
"""Samples whose captions and labels the words are taken of, evenly spaced in the training split."""


def gallery_concepts(parts: Parts, galleries: Sequence[Gallery], split: EmbeddedSplit, split_name: str) -> HitConcepts:
    """See `share_concepts`; none where the anchor embeds no words, or the data have none.

    Words are those of the training samples, or of the evaluated split where its table has no others.
    """
    binder, sources = parts.binder, parts.datamodule.sources
    if not galleries or "text" not in binder.modalities or isinstance(binder.anchor, TextLookup):
        return {}
    has_train = any(len(source.samples("train")) for source in sources)
    captioned = KnownSamples.draw(sources, "train" if has_train else split_name, NUM_CAPTIONED)
    try:
        vocabulary, _ = make_vocabulary(binder, captioned, None)
    except ValueError as error:
        log.info("the page says not why things were found: %s", error)
        return {}
    return share_concepts(galleries, split.z, vocabulary)
