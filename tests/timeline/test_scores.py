import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bind.timeline.scores import count, expected_calibration_error, overlaps
from bind.timeline.segments import Segment


def segments_of(labels):
    """Runs of equal labels, a second each; None has no segment."""
    edges = [0, *(i for i in range(1, len(labels)) if labels[i] != labels[i - 1]), len(labels)]
    return [Segment(a, b, labels[a]) for a, b in itertools.pairwise(edges) if labels[a] is not None]


SECONDS = st.lists(st.sampled_from(["a", "b", None]), min_size=30, max_size=30)


@pytest.mark.slow
@settings(max_examples=25)
@given(SECONDS, st.lists(st.sampled_from(["a", "b"]), min_size=30, max_size=30))
def test_accuracy_is_that_of_single_seconds(true, predicted):
    counts = count(segments_of(predicted), segments_of(true))
    known = [(t, p) for t, p in zip(true, predicted, strict=True) if t is not None]
    assert counts.known_seconds == len(known)
    assert counts.right_seconds == sum(t == p for t, p in known)
    assert counts.matches <= min(counts.num_true, counts.num_predicted)


def test_a_time_line_that_is_the_truth_is_perfect():
    true = segments_of(["a", "a", None, "b", "b", "a"])
    counts = count(true, true) + count(true, true)
    assert (counts.frame_accuracy, counts.segment_f1, counts.num_true) == (1.0, 1.0, 6)


def test_many_short_segments_cost_f1_and_not_accuracy():
    true = [Segment(0, 10, "a")]
    predicted = [Segment(0, 6, "a"), Segment(6, 6.1, "b"), Segment(6.1, 10, "a")]
    counts = count(predicted, true)
    assert round(counts.frame_accuracy, 6) == 0.99
    assert counts.segment_f1 == 0.5  # one of three matches the one


def test_calibration_error_of_overlaps():
    predicted = [Segment(0, 10, "a", 0.8)]
    confidences, is_right, seconds = overlaps(predicted, [Segment(0, 8, "a"), Segment(8, 10, "b")])
    assert seconds.tolist() == [8, 2]
    assert expected_calibration_error(confidences, is_right, seconds) == 0.0
    assert np.isnan(expected_calibration_error(*overlaps(predicted, [])))
