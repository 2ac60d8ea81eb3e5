import pytest

from bind.media import audio, sensor
from bind.media.readers import describe_readers


def test_a_key_names_every_reader_that_may_have_read_the_file(monkeypatch):
    monkeypatch.setattr(audio, "READER_VERSION", 7)
    monkeypatch.setattr(sensor, "READER_VERSION", 8)
    assert "audio 7" in describe_readers("audio")
    assert "sensor 8" in describe_readers("imu")


@pytest.mark.parametrize("modality", ["image", "text", "video"])
def test_a_reader_of_other_files_is_not_in_the_key(monkeypatch, modality):
    before = describe_readers(modality)
    monkeypatch.setattr(audio, "READER_VERSION", 7)
    assert describe_readers(modality) == before
