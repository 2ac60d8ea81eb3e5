import base64
import io

import numpy as np
import pytest
import soundfile
from PIL import Image

from bind.report.media import LONGEST_TEXT, NUM_TRACE_POINTS, as_media
from bind.types import SensorRecording, Waveform


def content_of(address):
    return io.BytesIO(base64.b64decode(address.partition(",")[2]))


def tone(pitch_hz, rate_hz, seconds, num_channels=1):
    time = np.arange(round(rate_hz * seconds)) / rate_hz
    x = (0.5 * np.sin(2 * np.pi * pitch_hz * time)).astype(np.float32)
    return Waveform(x if num_channels == 1 else np.stack([x] * num_channels, axis=1), rate_hz)


@pytest.mark.parametrize(
    ("sound", "rate_hz", "note"),
    [
        (tone(440, 16_000, 1), 16_000, "1.0 s, up to 8 kHz"),
        (tone(440, 8_000, 1), 8_000, "1.0 s, up to 4 kHz"),
        (tone(440, 44_100, 1, num_channels=2), 16_000, "1.0 s, up to 22.05 kHz"),
        (tone(440, 16_000, 9), 16_000, "4.0 of 9.0 s, up to 8 kHz"),
    ],
)
def test_a_sound_plays_at_its_pitch_for_its_time(sound, rate_hz, note):
    media = as_media(sound)
    samples, rate = soundfile.read(content_of(media["src"]))
    assert (media["kind"], media["note"], rate, samples.ndim) == ("sound", note, rate_hz, 1)
    assert len(samples) / rate == pytest.approx(min(4, len(sound.samples) / sound.sample_rate_hz), abs=0.2)
    spectrum = np.abs(np.fft.rfft(samples))
    assert np.argmax(spectrum) * rate / len(samples) == pytest.approx(440, abs=5)
    assert len(media["src"]) < 4 * 8_000 * 4 / 3


def test_the_bright_row_of_a_spectrogram_is_the_pitch():
    picture = np.asarray(Image.open(content_of(as_media(tone(2_000, 16_000, 1))["picture"])).convert("L"))
    brightest = picture.mean(axis=1).argmax() / len(picture)
    assert brightest == pytest.approx(1 - 2_000 / 8_000, abs=0.05)


def test_traces_keep_their_values_to_a_part_in_255_of_their_range():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(120, 3)).astype(np.float32) * [1, 1, 50]
    media = as_media(
        SensorRecording(values.astype(np.float32), 60.0, ("acc_x", "acc_y", "gyro_z"), ("g", "g", "rad/s"))
    )
    assert media["note"] == "2.0 s"
    assert [(p["unit"], p["channels"]) for p in media["panels"]] == [("g", ["acc_x", "acc_y"]), ("rad/s", ["gyro_z"])]
    columns = iter(values.T)
    for panel in media["panels"]:
        for line in panel["lines"]:
            shares = np.frombuffer(base64.b64decode(line), np.uint8) / 255
            restored = panel["low"] + shares * (panel["high"] - panel["low"])
            np.testing.assert_allclose(restored, next(columns), atol=0.01 * (panel["high"] - panel["low"]))


def test_long_traces_are_thinned_and_constant_ones_are_drawn():
    ramp = np.linspace(0, 1, 5_000, dtype=np.float32)[:, None]
    panel = as_media(SensorRecording(ramp, 100.0, ("a",), ("V",)))["panels"][0]
    shares = np.frombuffer(base64.b64decode(panel["lines"][0]), np.uint8)
    assert (len(shares), shares[0], shares[-1]) == (NUM_TRACE_POINTS, 0, 255)
    assert as_media(SensorRecording(ramp * 0 + 3, 100.0, ("a",), ("V",)))["panels"][0]["low"] == 3


def test_pictures_become_small_and_keep_their_shape():
    media = as_media(np.full((300, 600, 3), (200, 30, 30), dtype=np.uint8))
    picture = Image.open(content_of(media["src"]))
    assert (media["width"], media["height"]) == picture.size == (160, 80)
    np.testing.assert_allclose(np.asarray(picture)[40, 80], (200, 30, 30), atol=8)


def test_a_depth_map_says_what_its_colours_mean_and_holes_are_dark():
    depth = np.linspace(0.5, 3, 64, dtype=np.float32).reshape(8, 8)
    depth[0, 0] = np.nan
    media = as_media(depth)
    assert (media["kind"], media["note"]) == ("picture", "0.54 (dark) to 3.00 m")


def test_text_is_bounded_and_what_is_unknown_is_reported():
    assert as_media("</script>") == {"kind": "text", "text": "</script>"}
    assert len(as_media("x" * 10_000)["text"]) < LONGEST_TEXT + 5
    assert as_media(np.zeros((2, 2, 2, 2), np.int64))["text"] == "(int64 array (2, 2, 2, 2))"
    assert as_media(object())["text"] == "(object)"
