"""Confidence of answers where "none of these" is one of them: how often answers with such probabilities were right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST_PROBABILITY = 1e-9
"""So far from 0 and 1 probabilities are kept, whose log-odds count."""
MIN_WINDOWS = 20
"""That were right and that were wrong, each, of either kind of answer: from fewer nothing is learned."""


@dataclass(frozen=True, slots=True)
class NoneConfidence:
    """Lines from log-odds of probabilities to those of being right, one for labels and one for "none of these".

    One temperature can't do: a detector that seldom says "none of these", lest it cost labelled time, is right when it
    does, and the labels that stand there instead are wrong however probable they are among the labels.

    Attributes:
        label_weight, none_weight, label_bias: of the log-odds of a label that was answered, and of "none of these"
            beside it.
        own_weight, own_bias: of those of "none of these" where it was answered.

    Source: Platt, Probabilistic outputs for support vector machines (1999), with two inputs for labels.
    """

    label_weight: float
    none_weight: float
    label_bias: float
    own_weight: float
    own_bias: float

    def confidences(self, answers_N: np.ndarray, probabilities_NK: np.ndarray) -> np.ndarray:
        """How sure answers (N,) are, by the probabilities (N, K) of labels and, last, of "none of these".

        Examples:
            >>> confidence = NoneConfidence(1.0, 0.0, 0.0, own_weight=2.0, own_bias=0.0)
            >>> confidence.confidences(np.array([0, 1]), np.array([[0.6, 0.4], [0.25, 0.75]])).round(2).tolist()
            [0.6, 0.9]
        """
        own_N, none_N, is_none_N = _log_odds(answers_N, probabilities_NK)
        of_label_N = self.label_weight * own_N + self.none_weight * none_N + self.label_bias
        of_none_N = self.own_weight * none_N + self.own_bias
        confidences_N: np.ndarray = 1 / (1 + np.exp(-np.where(is_none_N, of_none_N, of_label_N)))
        return confidences_N

    @classmethod
    def fitted(
        cls, answers_N: np.ndarray, probabilities_NK: np.ndarray, is_right_N: np.ndarray
    ) -> NoneConfidence | None:
        """Logistic regressions on windows whose truth is known; None from too few of them.

        Where "none of these" was answered too seldom, or was always right, its confidence is its share of right ones.
        """
        from sklearn.linear_model import LogisticRegression

        own_N, none_N, is_none_N = _log_odds(answers_N, probabilities_NK)
        if not _is_enough(is_right_N[~is_none_N]):
            return None
        of_labels = LogisticRegression().fit(np.stack([own_N, none_N], axis=1)[~is_none_N], is_right_N[~is_none_N])
        own_weight, own_bias = 0.0, _log_odds_of_share(is_right_N[is_none_N])
        if _is_enough(is_right_N[is_none_N]):
            of_none = LogisticRegression().fit(none_N[is_none_N, None], is_right_N[is_none_N])
            own_weight, own_bias = float(of_none.coef_[0, 0]), float(of_none.intercept_[0])
        label_weight, none_weight = map(float, of_labels.coef_[0])
        return cls(label_weight, none_weight, float(of_labels.intercept_[0]), own_weight, own_bias)


def _is_enough(is_right_N: np.ndarray) -> bool:
    return min(int(is_right_N.sum()), int((~is_right_N).sum())) >= MIN_WINDOWS


def _log_odds_of_share(is_right_N: np.ndarray) -> float:
    """Of being right, with one more that was and one that was not: Laplace's rule."""
    right, wrong = int(is_right_N.sum()), int((~is_right_N).sum())
    return float(np.log((right + 1) / (wrong + 1)))


def _log_odds(answers_N: np.ndarray, probabilities_NK: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-odds (N,) of the answer and of "none of these", and whether that was answered."""
    kept_NK = np.clip(probabilities_NK, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    log_odds_NK = np.log(kept_NK) - np.log1p(-kept_NK)
    own_N = np.take_along_axis(log_odds_NK, answers_N[:, None], axis=1)[:, 0]
    return own_N, log_odds_NK[:, -1], answers_N == probabilities_NK.shape[1] - 1
