"""Smoother of a sequence of label probabilities: the most probable path, each step decided a fixed lag later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEAST_LIKELIHOOD = 1e-60
"""As a share of the largest: products of what is less become zero."""


@dataclass(frozen=True, slots=True)
class SmoothedSteps:
    """Consecutive steps: the label of each (N,), and the probability (N, K) of every label.

    Attributes:
        probabilities: given the steps around.
        alone: given nothing but the step itself.
        to_change: (N,) float64, steps from each to the nearest change of label: 1 beside it, inf where none is known.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    alone: np.ndarray
    to_change: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def chosen(self, rows_N: np.ndarray) -> SmoothedSteps:
        """Those of the steps that are true in `rows_N`."""
        return SmoothedSteps(
            self.labels[rows_N], self.probabilities[rows_N], self.alone[rows_N], self.to_change[rows_N]
        )


class FixedLagSmoother:
    """The most probable path through K labels, and the probability of each label at each step.

    The model is a hidden Markov chain: a step has the log-likelihoods (K,) that are pushed, the label of the next step
    depends on that of this one, and the first is any with the same probability. Steps are decided in blocks of
    `num_block_steps`, when `num_lag_steps` more are known, so that what is decided never depends on how the steps were
    pushed. With a lag as long as the sequence the path is Viterbi's and the probabilities are those of the
    forward-backward algorithm.

    Args:
        log_transitions_KK: log-probabilities, row: the label of a step, column: that of the next.

    Source: Viterbi (1967); Rabiner, "A tutorial on hidden Markov models" (1989).

    Examples:
        >>> likely = np.log([[0.8, 0.2], [0.4, 0.6], [0.8, 0.2], [0.1, 0.9], [0.1, 0.9]])
        >>> transitions = np.log([[0.7, 0.3], [0.3, 0.7]])
        >>> smoother = FixedLagSmoother(transitions, num_lag_steps=10, num_block_steps=1)
        >>> len(smoother.push(likely)), smoother.finish().labels.tolist()  # the second step alone is no change
        (0, [0, 0, 0, 1, 1])
    """

    def __init__(self, log_transitions_KK: np.ndarray, *, num_lag_steps: int, num_block_steps: int) -> None:
        assert num_lag_steps >= 0
        assert num_block_steps >= 1
        self.num_labels = len(log_transitions_KK)
        self.num_lag_steps = num_lag_steps
        self.num_block_steps = num_block_steps
        self._log_transitions_KK = log_transitions_KK
        self._transitions_KK = np.exp(log_transitions_KK)
        self._scores_K: np.ndarray | None = None  # of the best path to each label
        self._forward_K: np.ndarray | None = None  # probability of each label, given the steps so far
        self._previous: list[np.ndarray] = []  # of each undecided step: the label before, on the best path to each
        self._forward: list[np.ndarray] = []
        self._likelihoods: list[np.ndarray] = []
        self._last_label: int | None = None  # of the step that was decided last
        self._steps_since_change = np.inf  # up to that one: 1 where it is the first with its label

    def push(self, log_likelihoods_NK: np.ndarray) -> SmoothedSteps:
        """Take further steps, and return those that are decided now."""
        decided = []
        for log_likelihood_K in np.asarray(log_likelihoods_NK, dtype=np.float64):
            self._step(log_likelihood_K)
            if len(self._forward) == self.num_block_steps + self.num_lag_steps:
                decided.append(self._decide(self.num_block_steps))
        no_labels, no_values = np.empty(0, dtype=np.int64), np.empty((0, self.num_labels))
        nothing = SmoothedSteps(no_labels, no_values, no_values, np.empty(0))
        return joined_steps([nothing, *decided])

    def pending(self) -> SmoothedSteps:
        """The steps that are not decided yet, as they would be if no more came."""
        return self._smooth(len(self._forward))

    def finish(self) -> SmoothedSteps:
        """Decide all that is left; what is pushed afterwards begins a new sequence."""
        rest = self._decide(len(self._forward))
        self._scores_K = self._forward_K = self._last_label = None
        self._steps_since_change = np.inf
        return rest

    def _step(self, log_likelihood_K: np.ndarray) -> None:
        likelihood_K = np.maximum(np.exp(log_likelihood_K - log_likelihood_K.max()), LEAST_LIKELIHOOD)
        if self._scores_K is None or self._forward_K is None:
            self._previous.append(np.arange(self.num_labels))
            scores_K, forward_K = log_likelihood_K, likelihood_K
        else:
            paths_KK = self._scores_K[:, None] + self._log_transitions_KK
            self._previous.append(paths_KK.argmax(axis=0))
            scores_K = paths_KK.max(axis=0) + log_likelihood_K
            forward_K = (self._forward_K @ self._transitions_KK) * likelihood_K
        self._scores_K = scores_K - scores_K.max()  # sums of days would lose the digits that decide
        self._forward_K = forward_K / forward_K.sum()
        self._forward.append(self._forward_K)
        self._likelihoods.append(likelihood_K)

    def _decide(self, num_steps: int) -> SmoothedSteps:
        decided = self._smooth(num_steps)
        del self._previous[:num_steps], self._forward[:num_steps], self._likelihoods[:num_steps]
        for label in decided.labels.tolist():
            is_change = self._last_label not in (None, label)
            self._last_label, self._steps_since_change = label, 1.0 if is_change else self._steps_since_change + 1
        return decided

    def _smooth(self, num_steps: int) -> SmoothedSteps:
        """The first of the undecided steps, by all of them."""
        num_known = len(self._forward)
        labels_N = np.empty(num_known, dtype=np.int64)
        probabilities_NK = np.empty((num_known, self.num_labels))
        backward_K = np.ones(self.num_labels)
        if num_known:
            assert self._scores_K is not None
            labels_N[-1] = self._scores_K.argmax()
        for step in range(num_known - 1, -1, -1):
            p_K = self._forward[step] * backward_K
            probabilities_NK[step] = p_K / p_K.sum()
            backward_K = self._transitions_KK @ (self._likelihoods[step] * backward_K)
            backward_K /= backward_K.sum()
            if step:
                labels_N[step - 1] = self._previous[step][labels_N[step]]
        alone_NK = np.array(self._likelihoods[:num_steps]).reshape(num_steps, self.num_labels)
        alone_NK /= alone_NK.sum(axis=1, keepdims=True)
        to_change_N = self._to_change(labels_N)
        return SmoothedSteps(labels_N[:num_steps], probabilities_NK[:num_steps], alone_NK, to_change_N[:num_steps])

    def _to_change(self, labels_N: np.ndarray) -> np.ndarray:
        """Steps from each of the undecided ones (N,) to the nearest change, of what was decided before them too."""
        firsts = np.flatnonzero(np.diff(labels_N)) + 1.0  # with another label than the step before
        is_change = self._last_label is not None and len(labels_N) > 0 and labels_N[0] != self._last_label
        before = 0.0 if is_change else -self._steps_since_change
        steps_N = np.arange(len(labels_N))
        at_or_before_N = np.searchsorted(firsts, steps_N, side="right")
        since_N = steps_N - np.concatenate([[before], firsts])[at_or_before_N] + 1
        until_N = np.concatenate([firsts, [np.inf]])[at_or_before_N] - steps_N
        to_change_N: np.ndarray = np.minimum(since_N, until_N)
        return to_change_N


def joined_steps(parts: Sequence[SmoothedSteps]) -> SmoothedSteps:
    """The steps of all parts, one after the other."""
    return SmoothedSteps(
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.probabilities for part in parts]),
        np.concatenate([part.alone for part in parts]),
        np.concatenate([part.to_change for part in parts]),
    )
