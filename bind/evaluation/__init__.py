"""The figures of a split: retrieval between every ordered pair of modalities, and zero-shot classification."""

from bind.evaluation.figures import as_json, evaluate_split
from bind.evaluation.fused import FusedModalities, fused_modalities, fusion_inputs
from bind.evaluation.queries import QueryResults
from bind.evaluation.split import Evaluation

__all__ = [
    "Evaluation",
    "FusedModalities",
    "QueryResults",
    "as_json",
    "evaluate_split",
    "fused_modalities",
    "fusion_inputs",
]
