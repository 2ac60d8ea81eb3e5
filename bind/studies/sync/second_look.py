"""Second look at an alignment that is not believed: by the beginnings of what happens alone."""

from __future__ import annotations

import dataclasses

from bind.studies.sync.activity import Activity
from bind.studies.sync.estimate import Alignment, estimate_alignment
from bind.studies.sync.refine import beginnings

AGREE_SECONDS = 0.1
"""So near each other both looks have to find the lag, of all those that were looked for."""
LEAST_FIRST_SCORE = 2.0
"""Standard deviations above chance that the first look has to have found something at all."""
MIN_LEAD_AGAIN = 0.3
"""Of the second look: more than is asked of the first, since who looks twice is right by chance more often."""


def look_again(a: Activity, b: Activity, first: Alignment, max_lag_seconds: float) -> Alignment:
    """`first`, believed after all where what begins in both streams says the same, and says it clearly.

    What is heard, felt or seen of few events fades slowly, and overlaps at any lag: the peak of its correlation stands
    little above what chance gives, and others near it. Beginnings are short, so that theirs stands out. The score and
    lead are those of the look that is believed.
    """
    if first.is_known or first.score < LEAST_FIRST_SCORE:
        return first
    a_T, b_T = (Activity(stream.edges, beginnings(stream)).in_steps() for stream in (a, b))
    second = estimate_alignment(a_T, b_T, max_lag_seconds)
    assert second is not None  # as long as before
    middle = min(a.edges[-1], b.edges[-1]) / 2
    agree = abs(second.lag_seconds(middle) - first.lag_seconds(middle)) <= AGREE_SECONDS
    if not (second.is_known and second.lead >= MIN_LEAD_AGAIN and agree):
        return first
    return dataclasses.replace(first, is_known=True, score=second.score, lead=second.lead)
