import numpy as np
import pytest

from bind.media.recording import checked_finite, recording_in_memory, span_frames
from bind.types import Clip


def test_spans_beyond_the_recording_or_without_samples_are_refused(tmp_path):
    assert span_frames(Clip(tmp_path, 1.0, 2.0), 50, 99) == (50, 99)
    with pytest.raises(ValueError, match=r"\[1-2\.1 s\]: the recording is only 2 s long"):
        span_frames(Clip(tmp_path, 1.0, 2.1), 50, 100)
    with pytest.raises(ValueError, match="there are no samples in it"):
        span_frames(Clip(tmp_path, 3.0), 50, 100)


def test_values_that_are_not_finite_are_counted():
    values = np.array([[1.0, np.nan], [np.inf, 2.0]])
    with pytest.raises(ValueError, match=r"a\.wav: 2 of 4 values are NaN or infinite"):
        checked_finite(values, "a.wav")
    assert checked_finite(values[:1, :1], "a.wav").tolist() == [[1.0]]


def test_values_in_memory_are_checked_where_they_are_read():
    recording = recording_in_memory("x", np.array([[1.0], [np.nan]]), 50.0, channels=("a",), units=("g",))
    assert (recording.num_frames, recording.channels, recording.units) == (2, ("a",), ("g",))
    frames = recording.read(0, 1)
    assert (frames.dtype, frames.tolist()) == (np.float32, [[1.0]])
    with pytest.raises(ValueError, match="x: 1 of 1 values are NaN"):
        recording.read(1, 2)
    with pytest.raises(ValueError, match="x: there are no samples in it"):
        recording_in_memory("x", np.zeros((0, 1)), 50.0)
