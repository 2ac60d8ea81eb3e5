"""Planted offsets and drifts, and what `bindspace sync` says of them: python benchmarks/sync.py [--recordings 40]

A recording is what a body does that is bumped now and then: a sensor inside rings as the toy world's do, a microphone
hears decaying noise, and a camera of 30 or of 15 frames a second sees it shake. Each stream also has events of its own,
and noise. Offsets are 0.05 to 2 s to either side, drifts up to 200 parts in a million.
"""

from __future__ import annotations

import argparse
import functools
import json
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from bind.data.sources.toy.imu import CHANNELS, RING_DECAY_PER_SECOND, RING_HZ, UNITS
from bind.studies.sync.recordings import synchronise
from bind.types import Clip

EVENTS_PER_SECOND = 0.4
SOUND_HZ, SENSOR_HZ = 8000, 100


class Events:
    """What happens in a recording: seconds, strengths and materials of bumps, `own_share` more of a stream's own."""

    def __init__(self, rng: np.random.Generator, seconds: float) -> None:
        self.rng, self.seconds = rng, seconds
        number = rng.poisson(EVENTS_PER_SECOND * seconds)
        self.times = np.sort(rng.uniform(0, seconds, number))
        self.strengths = rng.exponential(1.0, number)
        self.material = int(rng.integers(len(RING_HZ)))

    def seen(self, offset: float, drift: float, own_share: float = 0.3) -> list[tuple[float, float]]:
        """Time and strength in a stream's clock."""
        own = self.rng.poisson(own_share * EVENTS_PER_SECOND * self.seconds)
        times = np.concatenate([self.times * (1 + drift) + offset, self.rng.uniform(0, self.seconds, own)])
        return list(zip(times.tolist(), [*self.strengths.tolist(), *self.rng.exponential(1.0, own)], strict=True))


def render(events: Events, rate_hz: float, seen: list[tuple[float, float]], hz: float, decay: float) -> np.ndarray:
    """Decaying rings of `hz` (noise where it is 0) from each event on, (T,)."""
    x_T = np.zeros(round(events.seconds * rate_hz))
    for time, strength in seen:
        first = max(0, int(np.ceil(time * rate_hz)))
        rows = np.arange(first, min(first + round(0.8 * rate_hz), len(x_T)))
        since = rows / rate_hz - time
        phase = 2 * np.pi * events.rng.random()
        wave = np.sin(2 * np.pi * hz * since + phase) if hz else events.rng.standard_normal(len(rows))
        x_T[rows] += strength * np.exp(-decay * since) * wave
    return x_T


def write_sensor(path: Path, events: Events, offset: float, drift: float) -> Path:
    """Six channels at 100 Hz."""
    ring_T = render(
        events,
        SENSOR_HZ,
        events.seen(offset, drift),
        float(RING_HZ[events.material]),
        float(RING_DECAY_PER_SECOND[events.material]),
    )
    x_TC = ring_T[:, None] * events.rng.normal(0, 1, 6) + events.rng.normal(0, 0.05, (len(ring_T), 6))
    x_TC[:, 2] += 1.0
    np.save(path, x_TC.astype(np.float32))
    path.with_suffix(".json").write_text(
        json.dumps({"channels": CHANNELS, "units": UNITS, "sample_rate_hz": SENSOR_HZ})
    )
    return path


def write_sound(path: Path, events: Events, offset: float, drift: float) -> Path:
    """A microphone at 8 kHz."""
    x_T = 0.1 * render(events, SOUND_HZ, events.seen(offset, drift), 0.0, 12.0)
    soundfile.write(path, np.clip(x_T + events.rng.normal(0, 0.003, len(x_T)), -1, 1), SOUND_HZ, subtype="FLOAT")
    return path


def write_video(path: Path, events: Events, offset: float, drift: float, frames_per_second: int = 30) -> Path:
    """A bright square that shakes, 64 by 48."""
    import av

    shake_T = render(events, frames_per_second, events.seen(offset, drift), 4.0, 6.0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=frames_per_second)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 64, 48, "yuv420p", 1_000_000
        for shake in shake_T:
            pixels = np.full((48, 64, 3), 40, np.uint8)
            x = int(np.clip(24 + 12 * shake, 0, 48))
            pixels[16:32, x : x + 16] = 220
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def main() -> None:
    """Print, for each kind of pair, how many were found to 20 ms at both ends, and the errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=40)
    parser.add_argument("--first-seed", type=int, default=0, help="others than 0 to try a change on (default: 0)")
    args = parser.parse_args()
    slow_video = functools.partial(write_video, frames_per_second=15)
    for reference, stream, film in (
        ("audio", "imu", write_video),
        ("video", "imu", write_video),
        ("video", "audio", write_video),
        ("video", "imu", slow_video),
        ("video", "audio", slow_video),
        ("audio", "unrelated", write_video),
    ):
        errors, num_known = [], 0
        for seed in range(args.first_seed, args.first_seed + args.recordings):
            rng = np.random.default_rng([seed, 7])
            seconds = float(rng.choice([60, 180] if "video" in (reference, stream) else [60, 180, 300]))
            offset = float(rng.uniform(0.05, 2) * rng.choice([-1, 1]))
            drift = float(rng.uniform(-200e-6, 200e-6)) if seconds > 100 else 0.0
            events = Events(rng, seconds)
            with tempfile.TemporaryDirectory() as name:
                writers = {"imu": write_sensor, "audio": write_sound, "video": film}
                suffixes = {"imu": ".npy", "audio": ".wav", "video": ".mp4"}
                first = writers[reference](Path(name, f"a{suffixes[reference]}"), events, 0.0, 0.0)
                kind = "imu" if stream == "unrelated" else stream
                of_stream = Events(rng, seconds) if stream == "unrelated" else events
                second = writers[kind](Path(name, f"b{suffixes[kind]}"), of_stream, offset, drift)
                (result,) = synchronise("a", {reference: Clip(first), kind: Clip(second)}, reference, 3.0)
            assert result.alignment is not None, result.problem
            num_known += result.is_known
            ends = (0.0, seconds)
            errors.append(max(abs(result.alignment.lag_seconds(t) - offset - drift * t) for t in ends))
        right = sum(error <= 0.02 for error in errors)
        if stream == "unrelated":
            print(f"unrelated {reference} and imu: {num_known} of {args.recordings} believed")
        else:
            middle, largest = np.median(errors) * 1000, max(errors) * 1000
            name = f"{reference}-{stream}{' at 15 frames a second' if film is slow_video else ''}"
            print(f"{name}: {num_known} of {args.recordings} believed, {right} right to 20 ms", end=", ")
            print(f"median error {middle:.1f} ms, largest {largest:.1f} ms", flush=True)


if __name__ == "__main__":
    main()
