import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import timelines

from bind.timeline.labels import embed_labels
from bind.timeline.none_of_these import NoneDetector
from bind.timeline.parameters import Parameters
from bind.timeline.recording import open_windows
from bind.timeline.stream import Stream
from bind.timeline.timeline import make_timeline

SECONDS = 40
VALUES = timelines.motion(SECONDS)
DETECTOR = NoneDetector((0.0,) * 4, (1.0,) * 4, (-3.0, 0.0, 0.3, 0.2), bias=1.0)
PARAMETERS = Parameters(temperature=0.01, switch_cost=1.0, look_ahead_seconds=3.0, none_detector=DETECTOR)


@pytest.fixture(scope="module")
def binder():
    return timelines.tiny_binder()


@pytest.fixture(scope="module")
def labels(binder):
    return embed_labels(binder, timelines.LABELS)


@pytest.fixture(scope="module")
def expected(binder, labels, tmp_path_factory):
    path = timelines.write_sensor_array(tmp_path_factory.mktemp("motion") / "day.npy", VALUES)
    return make_timeline(binder, "imu", path, labels, PARAMETERS).segments


@pytest.mark.slow
def test_the_time_line_has_several_labels(expected):
    assert len({segment.label for segment in expected}) > 1
    assert (expected[0].start_seconds, expected[-1].end_seconds) == (0.0, SECONDS)
    assert all(a.end_seconds == b.start_seconds for a, b in itertools.pairwise(expected))
    assert all(0 < segment.confidence <= 1 for segment in expected)


@pytest.mark.slow
@settings(max_examples=4)
@given(st.lists(st.integers(0, 120), max_size=40))
def test_a_stream_says_what_the_time_line_of_the_whole_says(binder, labels, expected, sizes):
    stream = Stream(binder, "imu", labels=labels, parameters=PARAMETERS)
    for piece in np.split(VALUES, np.clip(np.cumsum(sizes), 0, len(VALUES))):
        so_far = stream.push(piece)
        final = [s for s in so_far if s.end_seconds < stream.final_seconds]
        assert final == list(expected[: len(final)]), "what is final is what the whole recording says"
        known = stream._sampled.clock_seconds
        if so_far:
            assert so_far[-1].end_seconds <= known
        if known > stream.look_ahead_seconds:
            assert stream.final_seconds >= known - stream.look_ahead_seconds
    assert stream.finish() == expected


@pytest.mark.slow
def test_sample_by_sample_is_the_same(binder, labels, expected):
    stream = Stream(binder, "imu", labels=labels, parameters=PARAMETERS)
    for sample in VALUES:
        stream.push(sample[None])
    assert stream.finish() == expected


@pytest.mark.slow
def test_a_pause_ends_a_segment_and_is_named(binder, labels):
    stream = Stream(binder, "imu", labels=labels, parameters=PARAMETERS)
    stream.push(VALUES[:200], time_seconds=0.0)
    stream.push(VALUES[200:400], time_seconds=100.0)
    segments = stream.finish()
    assert {10.0, 100.0, 110.0} <= {edge for s in segments for edge in (s.start_seconds, s.end_seconds)}
    assert not any(s.start_seconds < 50 < s.end_seconds for s in segments)
    assert [str(lost) for lost in stream.breaks] == ["10.00-100.00 s no samples"]


@pytest.mark.slow
def test_channels_are_found_by_name(binder, labels, expected):
    order = [3, 0, 5, 1, 4, 2]
    more = [*(timelines.CHANNELS[i] for i in order), "temperature"], [*(timelines.UNITS[i] for i in order), "degC"]
    stream = Stream(binder, "imu", labels=labels, parameters=PARAMETERS, channels=more[0], units=more[1])
    stream.push(np.column_stack([VALUES[:, order], np.full(len(VALUES), 20.0)]))
    assert stream.finish() == expected


@pytest.mark.slow
def test_another_rate_is_resampled(binder, labels):
    stream = Stream(binder, "imu", labels=labels, parameters=PARAMETERS, sample_rate_hz=50.0)
    stream.push(timelines.motion(12, rate_hz=50.0))
    assert stream.finish()[-1].end_seconds == 12.0


@pytest.mark.slow
def test_sound_streams_too(binder, labels):
    sound = np.random.default_rng(0).standard_normal(16_000).astype(np.float32) / 10
    stream = Stream(binder, "audio", labels=labels, parameters=PARAMETERS)
    stream.push(sound[:5000])
    stream.push(sound[5000:])
    assert stream.finish()[-1].end_seconds == 20.0


@pytest.mark.parametrize(
    ("modality", "options", "message"),
    [
        ("sonar", {}, "sonar: the run embeds image, text, video, imu, audio, depth; train one with sonar"),
        ("depth", {}, "depth: a time line is made of sound, of a sensor"),
        ("text", {}, "text: a time line is made of sound, of a sensor"),
        ("imu", {"labels": []}, r"labels: 0 label\(s\); a time line needs two or more"),
        ("imu", {"labels": ["a", "a"]}, "labels: 'a' is there twice"),
        ("imu", {"labels": ["a", " "]}, "labels: phrase 2 is empty"),
        ("imu", {"labels": "spinning"}, r"labels: pass a list of phrases, such as \['spinning'"),
        ("imu", {"labels": ["a", "none of these"]}, "'none of these' is the answer where no label fits"),
        (
            "imu",
            {"channels": ["acc_x"], "units": ["g"]},
            "no channel acc_y, acc_z, gyro_x, gyro_y, gyro_z; it has acc_x",
        ),
        ("imu", {"channels": ["acc_x"]}, r"6 unit\(s\) for 1 channels"),
        ("imu", {"sample_rate_hz": 0.0}, "sample_rate_hz is 0, it must be above 0"),
        ("imu", {"sample_rate_hz": 1e6}, "cannot resample 1e.06 Hz to 20 Hz"),
        ("imu", {"hop_seconds": 2.0}, "hop_seconds=2: windows of 1 s start so far apart"),
    ],
)
def test_what_can_not_be_is_one_message(binder, modality, options, message):
    with pytest.raises(ValueError, match=message):
        Stream(binder, modality, **{"labels": timelines.LABELS, **options})


def test_samples_that_do_not_fit_are_refused(binder, labels):
    stream = Stream(binder, "imu", labels=labels)
    with pytest.raises(ValueError, match=r"samples of the shape \(5, 3\), not \(time, 6\)"):
        stream.push(np.zeros((5, 3)))
    stream.push(VALUES[:10])
    with pytest.raises(ValueError, match=r"nothing in it, up to 0.5 s, is as long as the window of 1 s"):
        stream.finish()


@pytest.fixture(scope="module")
def binder_of_any_channels():
    return timelines.tiny_binder(
        imu={
            "encoder": {
                "_target_": "bind.encoders.channels.ChannelsTransformer",
                "window_seconds": 1.0, "patch_seconds": 0.5, "width": 8, "num_layers": 1, "num_heads": 2,
            },
            "transform": {
                "_target_": "bind.data.transforms.channels.ChannelsTransform",
                "window_seconds": 1.0,
                "patch_seconds": 0.5,
            },
        }
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("rate_hz", [20.0, 33.0])
def test_a_run_of_any_channels_answers_for_those_that_there_are(binder_of_any_channels, rate_hz, tmp_path):
    samples = timelines.motion(12, rate_hz=rate_hz)[:, [3, 0, 1]]
    names = {"channels": ["gyro_x", "acc_x", "acc_y"], "units": ["rad/s", "g", "g"]}
    stream = Stream(
        binder_of_any_channels, "imu", labels=timelines.LABELS, sample_rate_hz=rate_hz, hop_seconds=0.5, **names
    )
    for piece in np.array_split(samples, 7):
        stream.push(piece)
    segments = stream.finish()
    assert segments[0].start_seconds == 0
    assert segments[-1].end_seconds == pytest.approx(12, abs=0.1)

    np.save(tmp_path / "day.npy", samples)
    (tmp_path / "day.json").write_text(json.dumps({**names, "sample_rate_hz": rate_hz}))
    recording = open_windows(binder_of_any_channels, "imu", tmp_path / "day.npy", hop_seconds=0.5)
    num_windows = sum(len(block.values) for block in recording.blocks)
    assert num_windows == pytest.approx((12 - 1) / 0.5 + 1, abs=1)
    assert recording.trace.channels == ("gyro_x", "acc_x", "acc_y")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_rate_hz": 20.0}, "the run takes any channels. Say what the samples are: give channels and units"),
        ({"channels": ["acc_x"], "units": ["g"]}, "the run takes any rate. Say that of the samples"),
        ({"sample_rate_hz": 20.0, "channels": ["acc_x"], "units": []}, r"0 unit\(s\) for 1 channels"),
    ],
)
def test_a_run_of_any_channels_has_to_know_what_comes(binder_of_any_channels, options, message):
    with pytest.raises(ValueError, match=message):
        Stream(binder_of_any_channels, "imu", labels=timelines.LABELS, **options)
