import logging

from bind.media import notices


def test_a_conversion_is_warned_of_once(caplog, monkeypatch):
    monkeypatch.setattr(notices, "_warned", set())
    with caplog.at_level(logging.WARNING, "bind.data"):
        for name in ("a.wav", "b.wav"):
            notices.warn_once("stereo is averaged", name)
        notices.warn_once("8000 Hz is resampled", "b.wav")
    assert caplog.messages == [
        "stereo is averaged (first: a.wav; not repeated)",
        "8000 Hz is resampled (first: b.wav; not repeated)",
    ]
