"""Confidence of answers where "none of these" is one of them: how often answers that looked like them were right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bind.timeline.smoothing import SmoothedSteps

LEAST_PROBABILITY = 1e-9
"""So far from 0 and 1 probabilities are kept, whose log-odds count."""
LEAST_ALONE = 1e-3
"""By its own window an answer is at least so probable: how little beyond that says nothing."""
MOST_TO_CHANGE = 8
"""Windows to the next change of label beyond which more say nothing: by default the length of two windows."""
MIN_WINDOWS = 20
"""That were right and that were wrong, each, of either kind of answer: from fewer nothing is learned."""


@dataclass(frozen=True, slots=True)
class NoneConfidence:
    """Lines from what speaks for an answer to its log-odds of being right, one for labels and one for "none of these".

    One temperature can't do: a detector that seldom says "none of these", lest it cost labelled time, is right when it
    does, and the labels that stand there instead are wrong however probable they are among the labels.

    The probability by the windows around is too sure of itself: windows overlap, so that what one of them mistakes
    others mistake too, and the chain counts each of them, the more the longer a label lasts. That by a window alone is
    lower where motion is unlike that of the training, however long it goes on.

    Attributes:
        label_weight, none_weight, alone_weight, to_change_weight, label_bias: for a label that was answered, of the
            log-odds of its probability and of that of "none of these" beside it, and of the logarithms of its
            probability by its own window and of the windows to the nearest change of label.
        own_weight, own_alone_weight, own_bias: for "none of these", of the log-odds of its probability, and of the
            logarithm of that by its own window.

    Source: Platt, Probabilistic outputs for support vector machines (1999), with more than one input.
    """

    label_weight: float
    none_weight: float
    label_bias: float
    own_weight: float
    own_bias: float
    alone_weight: float = 0.0
    to_change_weight: float = 0.0
    own_alone_weight: float = 0.0

    def confidences(self, steps: SmoothedSteps) -> np.ndarray:
        """How sure the answers of steps (N,) are, whose last label is "none of these".

        Examples:
            >>> p_NK = np.array([[0.6, 0.4], [0.25, 0.75]])
            >>> steps = SmoothedSteps(np.array([0, 1]), p_NK, alone=p_NK, to_change=np.array([1.0, 1.0]))
            >>> confidence = NoneConfidence(1.0, 0.0, 0.0, own_weight=2.0, own_bias=0.0)
            >>> confidence.confidences(steps).round(2).tolist()
            [0.6, 0.9]
        """
        of_labels_NF, of_none_NF, is_none_N = _evidence(steps)
        label_weights = np.array([self.label_weight, self.none_weight, self.alone_weight, self.to_change_weight])
        own_weights = np.array([self.own_weight, self.own_alone_weight])
        log_odds_N = np.where(
            is_none_N, of_none_NF @ own_weights + self.own_bias, of_labels_NF @ label_weights + self.label_bias
        )
        confidences_N: np.ndarray = 1 / (1 + np.exp(-log_odds_N))
        return confidences_N

    @classmethod
    def fitted(cls, steps: SmoothedSteps, is_right_N: np.ndarray) -> NoneConfidence | None:
        """Logistic regressions on steps whose truth is known; None from too few of them.

        Where "none of these" was answered too seldom, or was always right, its confidence is its share of right ones.
        """
        of_labels_NF, of_none_NF, is_none_N = _evidence(steps)
        of_labels = _fit_line(of_labels_NF[~is_none_N], is_right_N[~is_none_N])
        if of_labels is None:
            return None
        of_none = _fit_line(of_none_NF[is_none_N], is_right_N[is_none_N])
        (label_weight, none_weight, alone_weight, to_change_weight), label_bias = of_labels
        (own_weight, own_alone_weight), own_bias = of_none or ((0.0, 0.0), _log_odds_of_share(is_right_N[is_none_N]))
        return cls(
            label_weight,
            none_weight,
            label_bias,
            own_weight,
            own_bias,
            alone_weight=alone_weight,
            to_change_weight=to_change_weight,
            own_alone_weight=own_alone_weight,
        )


def _fit_line(evidence_NF: np.ndarray, is_right_N: np.ndarray) -> tuple[tuple[float, ...], float] | None:
    """Weights and bias; None from too few steps."""
    from sklearn.linear_model import LogisticRegression

    if min(int(is_right_N.sum()), int((~is_right_N).sum())) < MIN_WINDOWS:
        return None
    line = LogisticRegression().fit(evidence_NF, is_right_N)
    return tuple(map(float, line.coef_[0])), float(line.intercept_[0])


def _log_odds_of_share(is_right_N: np.ndarray) -> float:
    """Of being right, with one more that was and one that was not: Laplace's rule."""
    right, wrong = int(is_right_N.sum()), int((~is_right_N).sum())
    return float(np.log((right + 1) / (wrong + 1)))


def _evidence(steps: SmoothedSteps) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is weighed for a label (N, 4) and for "none of these" (N, 2), and whether that was answered (N,)."""
    kept_NK = np.clip(steps.probabilities, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    log_odds_NK = np.log(kept_NK) - np.log1p(-kept_NK)
    none_N = log_odds_NK[:, -1]
    own_N = np.take_along_axis(log_odds_NK, steps.labels[:, None], axis=1)[:, 0]
    alone_N = np.log(np.maximum(np.take_along_axis(steps.alone, steps.labels[:, None], axis=1)[:, 0], LEAST_ALONE))
    to_change_N = np.log(np.minimum(steps.to_change, MOST_TO_CHANGE))
    is_none_N = steps.labels == steps.probabilities.shape[1] - 1
    return np.stack([own_N, none_N, alone_N, to_change_N], axis=1), np.stack([none_N, alone_N], axis=1), is_none_N
