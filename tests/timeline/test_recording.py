import numpy as np
import pytest
import soundfile
from support import timelines, videos

from bind.timeline.labels import choose_labels, embed_labels
from bind.timeline.parameters import Parameters
from bind.timeline.timeline import make_timeline

VALUES = timelines.motion(12)


@pytest.fixture(scope="module")
def binder():
    return timelines.tiny_binder()


@pytest.fixture(scope="module")
def labels(binder):
    return embed_labels(binder, timelines.LABELS)


def line_of(binder, labels, path, modality="imu"):
    return make_timeline(binder, modality, path, labels, Parameters())


@pytest.mark.slow
def test_a_table_with_a_gap_keeps_its_clock(binder, labels, tmp_path):
    path = timelines.write_sensor_csv(tmp_path / "day.csv", VALUES, start_seconds=100.0, gaps=[(100, 140)])
    line = line_of(binder, labels, path)
    assert (line.start_seconds, round(line.end_seconds, 6)) == (100.0, 112.0)
    assert [str(lost) for lost in line.breaks] == ["105.00-107.00 s no samples"]
    assert not any(s.start_seconds < 106 < s.end_seconds for s in line.segments)
    assert line.trace.channels == timelines.CHANNELS
    assert np.isnan(line.trace.low_BC).any()


@pytest.mark.slow
def test_a_sensor_that_was_off_has_no_label_there(binder, labels, tmp_path):
    values = VALUES.copy()
    values[60:120] = values[60]
    line = line_of(binder, labels, timelines.write_sensor_array(tmp_path / "day.npy", values))
    assert "3.00-6.00 s every channel is constant" in str(line.breaks[0])


@pytest.mark.slow
def test_a_sound_is_read_in_pieces(binder, labels, tmp_path):
    soundfile.write(tmp_path / "day.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 8000), 800)
    line = line_of(binder, labels, tmp_path / "day.wav", "audio")
    assert line.segments[-1].end_seconds == line.end_seconds
    assert np.nanmax(line.trace.high_BC) > 0


@pytest.mark.slow
def test_a_video_has_windows_of_two_seconds(binder, labels, tmp_path):
    path = videos.three_colours(tmp_path / "day.mp4")
    line = line_of(binder, labels, path, "video")
    assert (line.segments[0].start_seconds, line.trace) == (0.0, None)
    assert line.segments[-1].end_seconds == line.end_seconds


def test_what_is_shorter_than_a_window_is_refused(binder, labels, tmp_path):
    path = timelines.write_sensor_array(tmp_path / "day.npy", VALUES[:10])
    with pytest.raises(ValueError, match=r"day.npy: its 0.5 s are shorter than the window of 1 s"):
        line_of(binder, labels, path)
    path = timelines.write_sensor_csv(tmp_path / "day.csv", VALUES, gaps=[(i, i + 5) for i in range(10, 240, 15)])
    with pytest.raises(ValueError, match=r"day.csv: nothing in it is as long as a window of 1 s: 0.00-0.50 s"):
        line_of(binder, labels, path)


def test_labels_are_a_set_or_a_file(tmp_path):
    sets = {"moves": {"modalities": ["imu"], "templates": ["a person {}"], "classes": ["spinning", "resting"]}}
    assert choose_labels("moves", sets, "imu").prompts == [["a person spinning"], ["a person resting"]]
    path = tmp_path / "phrases.txt"
    for content, message in [
        (b"one\n", r"phrases.txt: 1 phrase\(s\) in it; write two or more"),
        (b"a\nb\na\n", "phrases.txt: 'a' is there twice"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            choose_labels(str(path), sets, "imu")
    path.write_text("a door slams\n\n  rain \n")
    assert choose_labels(str(path), sets, "imu") == ["a door slams", "rain"]
    with pytest.raises(ValueError, match=r"labels=movs: neither a label set of the run \(moves\) nor a file"):
        choose_labels("movs", sets, "imu")
