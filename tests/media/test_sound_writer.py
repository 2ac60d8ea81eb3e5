import io

import numpy as np
import pytest
import soundfile

from bind.media.audio import open_audio
from bind.media.sound_writer import cut_sound, encode_for_browsers
from bind.types import Clip, PackedFile

SOUND = np.random.default_rng(0).uniform(-0.9, 0.9, (2000, 2))


@pytest.mark.parametrize(
    ("file", "subtype", "extension", "stored"),
    [
        ("a.wav", "PCM_16", "wav", "PCM_16"),
        ("a.wav", "PCM_24", "wav", "PCM_24"),
        ("a.flac", "PCM_16", "flac", "PCM_16"),
        ("a.wav", "FLOAT", "wav", "FLOAT"),
        ("a.wav", "PCM_U8", "wav", "FLOAT"),
        ("a.ogg", "VORBIS", "wav", "FLOAT"),
    ],
)
def test_a_cut_decodes_to_the_frames_of_the_span(tmp_path, file, subtype, extension, stored):
    soundfile.write(tmp_path / file, SOUND, 8000, subtype=subtype)
    clip = Clip(tmp_path / file, 0.05, 0.15)
    written, content = cut_sound(clip)
    assert (written, soundfile.info(io.BytesIO(content)).subtype) == (extension, stored)
    with open_audio(clip) as span, open_audio(Clip(PackedFile(f"cut.{written}", content))) as cut:
        assert (cut.num_frames, cut.sample_rate_hz) == (800, 8000)
        np.testing.assert_array_equal(cut.read(0, 800), span.read(0, 800))


def test_a_cut_has_the_same_bytes_each_time(tmp_path):
    soundfile.write(tmp_path / "a.wav", SOUND, 8000, subtype="FLOAT")
    assert cut_sound(Clip(tmp_path / "a.wav", 0.0, 0.1)) == cut_sound(Clip(tmp_path / "a.wav", 0.0, 0.1))


def test_a_span_beyond_the_file_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", SOUND, 8000)
    with pytest.raises(ValueError, match=r"a\.wav .*: the recording is only 0\.25 s long"):
        cut_sound(Clip(tmp_path / "a.wav", 0.0, 1.0))


def test_browsers_are_given_a_sound_they_play():
    media_type, content = encode_for_browsers(1.5 * np.sin(np.arange(16_000) / 20, dtype=np.float32), 16_000)
    heard, rate_hz = soundfile.read(io.BytesIO(content))
    assert media_type in ("audio/mpeg", "audio/wav")
    assert rate_hz == 16_000
    assert len(heard) == pytest.approx(16_000, rel=0.15)
    assert 0.9 < np.abs(heard).max() < 1.2  # louder than full scale is clipped
