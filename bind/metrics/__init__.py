"""Metrics, pure functions of embeddings: retrieval, zero-shot classification, geometry, intervals."""

from bind.metrics.bootstrap import bootstrap_ci
from bind.metrics.cosine import COSINE_TIE_TOLERANCE
from bind.metrics.ranking import Ranking
from bind.metrics.retrieval import rank_by_cosine, rank_by_scores, retrieval, top_k
from bind.metrics.zero_shot import class_embeddings, zero_shot

__all__ = [
    "COSINE_TIE_TOLERANCE",
    "Ranking",
    "bootstrap_ci",
    "class_embeddings",
    "rank_by_cosine",
    "rank_by_scores",
    "retrieval",
    "top_k",
    "zero_shot",
]
