"""Small video files: one colour after another, with a tone of one pitch after another as sound."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE_HZ = 16_000
RED, GREEN, BLUE = (250, 10, 10), (10, 250, 10), (10, 10, 250)


def plain(colour: tuple[int, int, int], height: int = 32, width: int = 48) -> np.ndarray:
    return np.full((height, width, 3), colour, dtype=np.uint8)


def tones(pitches_hz: list[float], seconds: float = 1.0) -> np.ndarray:
    time = np.arange(round(RATE_HZ * seconds)) / RATE_HZ
    return np.concatenate([0.3 * np.sin(2 * np.pi * hz * time) for hz in pitches_hz]).astype(np.float32)


def write_video(
    path: Path,
    frames: list[np.ndarray] | None,
    sound: np.ndarray | None = None,
    *,
    frames_per_second: int = 10,
    times: list[float] | None = None,
    rotation: int = 0,
    sound_start: float = 0.0,
) -> Path:
    """`frames` (H, W, 3) at a steady rate or at `times`, and `sound` (T,) at 16 kHz from `sound_start` seconds on."""
    with av.open(str(path), "w") as container:
        streams = {}
        if frames is not None:
            video = streams["video"] = container.add_stream("mpeg4", rate=frames_per_second)
            video.height, video.width = frames[0].shape[:2]
            video.pix_fmt, video.bit_rate, video.gop_size = "yuv420p", 4_000_000, 10
            video.codec_context.time_base = Fraction(1, 1000)
            if rotation:
                video.set_display_rotation(rotation)
        if sound is not None:
            codec = "aac" if path.suffix != ".avi" else "pcm_s16le"
            audio = streams["audio"] = container.add_stream(codec, rate=RATE_HZ, layout="mono")
        for index, pixels in enumerate(frames or []):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.time_base = Fraction(1, 1000)
            frame.pts = round(1000 * (times[index] if times else index / frames_per_second))
            container.mux(video.encode(frame))
        if sound is not None:
            frame = av.AudioFrame.from_ndarray((sound * 32767).astype(np.int16)[None], format="s16", layout="mono")
            frame.sample_rate, frame.time_base = RATE_HZ, Fraction(1, RATE_HZ)
            frame.pts = round(sound_start * RATE_HZ)
            resampled = av.AudioResampler(format=audio.codec_context.format.name).resample(frame)
            container.mux([packet for piece in resampled for packet in audio.encode(piece)])
        for stream in streams.values():
            container.mux(stream.encode())
    return path


def three_colours(path: Path, **options) -> Path:
    """A second each of red, green and blue at 10 frames per second, and of 400, 800 and 1600 Hz."""
    frames = [plain(colour) for colour in (RED, GREEN, BLUE) for _ in range(10)]
    return write_video(path, frames, tones([400, 800, 1600]), **options)
