"""Smoother of a sequence of label probabilities: the most probable path, each step decided a fixed lag later."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST_LIKELIHOOD = 1e-60
"""As a share of the largest: products of what is less become zero."""


@dataclass(frozen=True, slots=True)
class SmoothedSteps:
    """Consecutive steps: the label of each (N,), and the probability (N, K) of every label, given the steps around."""

    labels: np.ndarray
    probabilities: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


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

    def push(self, log_likelihoods_NK: np.ndarray) -> SmoothedSteps:
        """Take further steps, and return those that are decided now."""
        decided = []
        for log_likelihood_K in np.asarray(log_likelihoods_NK, dtype=np.float64):
            self._step(log_likelihood_K)
            if len(self._forward) == self.num_block_steps + self.num_lag_steps:
                decided.append(self._decide(self.num_block_steps))
        return self._joined(decided)

    def pending(self) -> SmoothedSteps:
        """The steps that are not decided yet, as they would be if no more came."""
        return self._smooth(len(self._forward))

    def finish(self) -> SmoothedSteps:
        """Decide all that is left; what is pushed afterwards begins a new sequence."""
        rest = self._decide(len(self._forward))
        self._scores_K = self._forward_K = None
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
        return SmoothedSteps(labels_N[:num_steps], probabilities_NK[:num_steps])

    def _joined(self, parts: list[SmoothedSteps]) -> SmoothedSteps:
        if not parts:
            return SmoothedSteps(np.empty(0, dtype=np.int64), np.empty((0, self.num_labels)))
        return SmoothedSteps(
            np.concatenate([part.labels for part in parts]), np.concatenate([part.probabilities for part in parts])
        )
