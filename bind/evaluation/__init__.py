"""The figures of a split: retrieval between every ordered pair of modalities, and zero-shot classification."""

from bind.evaluation.figures import evaluate_split
from bind.evaluation.fused import fusion_inputs
from bind.evaluation.queries import QueryResults
from bind.evaluation.split import Evaluation

__all__ = ["Evaluation", "QueryResults", "evaluate_split", "fusion_inputs"]
