"""Limits of what a service accepts, so that no request costs more than it was meant to."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may cost.

    Attributes:
        max_bytes: of a body.
        max_bytes_at_a_time: of the bodies of all requests that are being served.
        max_items: that one request embeds.
        max_media_seconds: of a sound or a video.
        max_pixels: of a picture.
        max_text_characters: of a text.
        max_waiting: items of all requests that wait or are embedded; more are refused with 429.
        max_requests: that are served at a time; more are refused with 429.
        body_seconds: in which a body has to arrive; 408 afterwards.
        request_seconds: in which a request is answered; 504 afterwards.
        max_streams: live time lines at a time.
        max_stream_bytes: of one message of samples.
        max_stream_seconds: of what one live time line is made of.
        stream_idle_seconds: without a message, after which a live time line ends.

    Raises:
        ValueError: for a limit that is not above 0.
    """

    max_bytes: int = 32_000_000
    max_bytes_at_a_time: int = 256_000_000
    max_items: int = 64
    max_media_seconds: float = 600.0
    max_pixels: int = 40_000_000
    max_text_characters: int = 10_000
    max_waiting: int = 512
    max_requests: int = 128
    body_seconds: float = 30.0
    request_seconds: float = 60.0
    max_streams: int = 8
    max_stream_bytes: int = 1_000_000
    max_stream_seconds: float = 86_400.0
    stream_idle_seconds: float = 60.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value > 0:
                raise ValueError(f"limits.{name}={value}: give a number above 0")


class RefusedError(Exception):
    """A request that is not served, with the status that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message
