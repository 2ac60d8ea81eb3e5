import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bind.timeline.parameters import BLOCK_STEPS
from bind.timeline.windows import CONSTANT, WindowCutter


def cutter(window=4, hop=2, rate_hz=1.0):
    return WindowCutter(
        window_frames=window, hop_frames=hop, sample_rate_hz=rate_hz, as_value=lambda x_TC: x_TC[:, 0].tolist(),
        name="walk.csv", breaks_where_constant=True,
    )  # fmt: skip


def taken(blocks):
    return [(b.start_seconds, b.values, b.is_first, b.end_seconds) for b in blocks]


def column(values):
    return np.array(values, dtype=np.float32)[:, None]


def test_windows_overlap_and_the_rest_ends_the_stretch():
    cut = cutter()
    assert cut.push(column(range(9)), time_seconds=100.0) == []
    [block] = cut.finish()
    assert block.values == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7]]
    assert (block.start_seconds, block.is_first, block.end_seconds) == (100.0, True, 109.0)
    assert cut.breaks == []


def test_blocks_are_always_of_the_same_windows():
    cut = cutter()
    blocks = cut.push(column(range(100)))
    assert [len(block.values) for block in blocks] == [BLOCK_STEPS] * (49 // BLOCK_STEPS)
    assert [block.start_seconds for block in blocks[:2]] == [0.0, 2.0 * BLOCK_STEPS]
    assert [block.is_first for block in blocks[:2]] == [True, False]


@pytest.mark.slow
@settings(max_examples=30)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 20), max_size=30))
def test_how_samples_come_changes_nothing(seed, sizes):
    rng = np.random.default_rng(seed)
    values = column(rng.integers(0, 2, 80) * rng.integers(0, 2, 80).cumsum())  # with runs of equal ones
    whole = cutter()
    expected = taken(whole.push(values, 5.0) + whole.finish())
    cut, blocks = cutter(), []
    for piece in np.split(values, np.clip(np.cumsum(sizes), 0, 80)):
        blocks += cut.push(piece, None if cut.clock_seconds else 5.0)
    assert taken(blocks + cut.finish()) == expected
    assert cut.breaks == whole.breaks


def test_a_jump_in_time_is_a_break():
    cut = cutter()
    blocks = cut.push(column(range(8)), 0.0) + cut.push(column(range(8)), 20.0) + cut.finish()
    assert [(b.start_seconds, b.is_first, b.end_seconds) for b in blocks] == [(0.0, True, 8.0), (20.0, True, 28.0)]
    assert [str(lost) for lost in cut.breaks] == ["8.00-20.00 s no samples"]


def test_a_late_clock_is_no_break():
    cut = cutter(rate_hz=50.0)
    for second in range(100):  # 49.5 samples come in a second of the clock
        cut.push(column(np.arange(50) + second), second * 50 / 49.5)
    assert cut.breaks == []


def test_a_sensor_that_is_off_is_a_break():
    cut = cutter()
    values = [*range(8), *[7] * 5, *range(20, 29)]
    blocks = cut.push(column(values)) + cut.finish()
    assert [(b.start_seconds, b.end_seconds) for b in blocks] == [(0.0, 7.0), (13.0, 22.0)]
    assert [(b.start_seconds, b.end_seconds, b.reason) for b in cut.breaks] == [(7.0, 13.0, CONSTANT)]


def test_a_sensor_that_stays_off_is_a_break_to_the_end():
    cut = cutter()
    blocks = cut.push(column([*range(6), *[1] * 20])) + cut.push(column([1] * 3)) + cut.finish()
    assert [(b.start_seconds, b.end_seconds) for b in blocks] == [(0.0, 6.0)]
    assert [(b.start_seconds, b.end_seconds) for b in cut.breaks] == [(6.0, 29.0)]


def test_what_is_shorter_than_a_window_is_named():
    cut = cutter()
    blocks = cut.push(column(range(3)), 0.0) + cut.push(column(range(8)), 50.0) + cut.finish()
    assert [b.start_seconds for b in blocks] == [50.0]
    assert "0.00-3.00 s shorter than the window of 4 s" in [str(lost) for lost in cut.breaks]


def test_what_can_not_be_is_refused_and_not_taken():
    cut = cutter()
    cut.push(column(range(6)), 10.0)
    for samples, time, message in [
        (column([1, np.nan]), None, "walk.csv from 16.00 s on: 1 of 2 values are NaN"),
        (column([1, 2]), 4.0, "walk.csv: time jumps back, from 16.00 to 4.00 s"),
        (np.zeros((2, 3)), None, "samples of 3 channels at 16.00 s, after 1"),
    ]:
        with pytest.raises(ValueError, match=message.replace("(", r"\(")):
            cut.push(samples, time)
    cut.push(column([6, 7]))
    assert cut.finish()[0].values == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7]]
