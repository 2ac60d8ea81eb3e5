"""Windows hold what they have to, whatever the annotations; those of training lie around those of evaluation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bind.data.sources.recordings.windows import WindowOptions, Windows, fit_windows, free_stretches, lay_windows

SECONDS = st.floats(0.0, 50.0)
OPTIONS = st.builds(
    WindowOptions,
    window_seconds=st.floats(0.5, 5.0),
    stride_seconds=st.floats(0.2, 5.0),
    jitter_seconds=st.none() | st.floats(0.0, 5.0),
    min_share=st.floats(0.1, 1.0),
)


def held_seconds(start: np.ndarray, end: np.ndarray, annotation: tuple[float, float]) -> np.ndarray:
    return np.minimum(end, annotation[1]) - np.maximum(start, annotation[0])


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(options=OPTIONS, start=SECONDS, length=st.floats(0.0, 40.0))
def test_every_start_between_low_and_high_holds_the_share(options: WindowOptions, start: float, length: float) -> None:
    windows = lay_windows(np.array([start]), np.array([start + length]), options)
    needed = options.min_share * min(options.window_seconds, length)
    for starts in (windows.start_N, windows.low_N, windows.high_N):
        held = held_seconds(starts, starts + options.window_seconds, (start, start + length))
        assert (held >= needed - 1e-5).all()
    assert (windows.low_N <= windows.start_N + 1e-9).all()
    assert (windows.start_N <= windows.high_N + 1e-5).all()
    if length > options.window_seconds:
        assert windows.start_N[0] == start
        assert len(windows.start_N) > (length - options.window_seconds) / options.stride_seconds


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    options=OPTIONS,
    start=SECONDS,
    length=st.floats(0.0, 40.0),
    edges=st.lists(SECONDS, min_size=2, max_size=6, unique=True),
)
def test_a_stream_fills_all_that_training_may_draw(
    options: WindowOptions, start: float, length: float, edges: list[float]
) -> None:
    edges = sorted(edges)[: len(edges) // 2 * 2]
    stretches = np.array(edges).reshape(-1, 2)
    laid = lay_windows(np.array([start]), np.array([start + length]), options)
    windows, fills = fit_windows(laid, {"imu": stretches, "audio": np.array([[0.0, 100.0]])}, options)
    for modality, spans in (("imu", stretches), ("audio", np.array([[0.0, 100.0]]))):
        for row in np.flatnonzero(fills[modality]):
            for begin in (windows.start_N[row], windows.low_N[row], windows.high_N[row]):
                end = begin + options.window_seconds
                assert any(a - 1e-5 <= begin and end <= b + 1e-5 for a, b in spans)
    assert (windows.start_N - windows.low_N <= options.jitter + 1e-9).all()
    assert (windows.high_N - windows.start_N <= options.jitter + 1e-9).all()


def test_a_window_over_the_edge_of_the_recording_is_moved_into_it() -> None:
    options = WindowOptions(window_seconds=4.0, stride_seconds=1.0, jitter_seconds=0.0)
    laid = lay_windows(np.array([0.5, 9.0]), np.array([0.5, 9.0]), options)
    windows, fills = fit_windows(laid, {"imu": np.array([[0.0, 10.0]])}, options)
    assert windows.start_N.tolist() == [0.0, 6.0]
    assert fills["imu"].all()


def test_a_moment_outside_of_what_is_measured_is_filled_by_nothing() -> None:
    options = WindowOptions(window_seconds=4.0, stride_seconds=1.0)
    laid = Windows(np.array([0]), np.array([3.0]), np.array([1.0]), np.array([5.0]))
    windows, fills = fit_windows(laid, {"imu": np.zeros((0, 2)), "audio": np.array([[6.0, 20.0]])}, options)
    assert not fills["imu"].any()
    assert not fills["audio"].any()
    assert windows.low_N <= windows.start_N <= windows.high_N


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(SECONDS, st.floats(0.0, 9.0)), max_size=8))
def test_what_is_free_and_what_is_annotated_are_the_whole(spans: list[tuple[float, float]]) -> None:
    starts = np.array([start for start, _ in spans])
    ends = np.array([start + length for start, length in spans])
    free = free_stretches(starts, ends, 10.0, 40.0)
    times_T = np.linspace(10.01, 39.99, 200)[:, None]
    is_free = ((free[:, 0] < times_T) & (times_T < free[:, 1])).any(axis=1)
    is_annotated = ((starts < times_T) & (times_T < ends)).any(axis=1)
    is_near = (np.abs(np.concatenate([starts, ends, [np.inf]]) - times_T) < 1e-3).any(axis=1)
    assert (is_near | (is_free != is_annotated)).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"window_seconds": 0.0}, "data.window_seconds=0.0: give seconds above 0"),
        ({"stride_seconds": -1.0}, "data.stride_seconds=-1.0"),
        ({"jitter_seconds": -1.0}, "data.jitter_seconds=-1.0"),
        ({"min_annotation_seconds": float("nan")}, "data.min_annotation_seconds=nan"),
        ({"min_share": 0.0}, "data.min_share=0.0: give a share above 0"),
        ({"min_share": 1.5}, "data.min_share=1.5"),
    ],
)
def test_absurd_options_name_their_key(changed: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WindowOptions(**{"window_seconds": 2.0, "stride_seconds": 1.0, **changed})
