import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bind.media.windows import checked_num_clips, window_starts


def test_imagebinds_three_clips_of_ten_seconds():
    assert window_starts(10.0, 2.0, 3) == [0.0, 4.0, 8.0]


def test_one_window_is_the_middle_and_a_short_recording_has_one():
    assert window_starts(10.0, 2.0, 1) == [4.0]
    assert window_starts(1.0, 2.0, 3) == window_starts(2.0, 2.0, None) == [0.0]


@pytest.mark.slow
@given(length=st.floats(0.1, 1e4), window=st.floats(0.5, 50.0), num_clips=st.none() | st.integers(2, 9))
def test_windows_start_and_end_with_the_recording_and_may_cover_it(length, window, num_clips):
    starts = window_starts(length, window, num_clips)
    assert starts[0] == 0.0
    assert starts == sorted(starts)
    if length > window:
        assert starts[-1] + window == pytest.approx(length)
        assert num_clips is None or len(starts) == num_clips
        if num_clips is None:
            assert all(b - a <= window * (1 + 1e-9) for a, b in itertools.pairwise(starts))


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "3"])
def test_a_wrong_number_is_refused(wrong):
    with pytest.raises(ValueError, match="num_clips="):
        checked_num_clips(wrong)
