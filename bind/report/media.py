"""Media of a page, made of samples' values: small pictures, short sounds, thinned traces and text."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from bind.media.sound_writer import encode_for_browsers
from bind.report.style import DEPTH, SPECTROGRAM, coloured
from bind.types import SensorRecording, StoredVector, Waveform

LARGEST_SIDE_PX = 160
LONGEST_SOUND_SECONDS = 4.0
LONGEST_TEXT = 600
NUM_TRACE_POINTS = 160
SOUND_RATES_HZ = (8_000, 16_000)  # a sound is kept at the lowest that holds what the encoder heard, or the highest


@dataclass(frozen=True)
class MissingValue:
    """A value that can't be shown, and why."""

    reason: str


def as_media(value: Any) -> dict[str, Any]:
    """What a page's script shows of a value, ready for JSON.

    `kind` is `text`, `picture`, `sound`, `trace`, or `missing`, whose text says why.

    Values: text, uint8 pictures (H, W, 3), depth maps (H, W) in metres, `Waveform`, `SensorRecording`; of anything else
    the type is named.
    """
    if isinstance(value, str):
        return {"kind": "text", "text": value if len(value) <= LONGEST_TEXT else value[:LONGEST_TEXT] + " …"}
    if isinstance(value, MissingValue):
        return {"kind": "missing", "text": f"can't be shown: {value.reason[:LONGEST_TEXT]}"}
    if isinstance(value, Waveform):
        return _sound(value)
    if isinstance(value, SensorRecording):
        return _trace(value)
    if isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3 and value.shape[2] == 3:
        return _picture(value)
    if isinstance(value, np.ndarray) and value.ndim == 2 and np.issubdtype(value.dtype, np.floating):
        low, high = float(np.nanmin(value)), float(np.nanmax(value))
        shown = coloured((value - low) / max(high - low, 1e-9), DEPTH)
        return _picture(shown) | {"note": f"{low:.2f} (dark) to {high:.2f} m"}
    if isinstance(value, StoredVector):
        return {"kind": "text", "text": f"(vector of {len(value.values)} numbers)"}
    what = f"{value.dtype} array {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
    return {"kind": "text", "text": f"({what})"}


def spectrogram(sound: Waveform) -> tuple[np.ndarray, float, float]:
    """Power in decibels below the loudest cell (frequency, time), 80 dB deep, its seconds and its highest Hz.

    Hann windows of 25 ms every 10 ms; channels are averaged.
    """
    samples = sound.samples if sound.samples.ndim == 1 else sound.samples.mean(axis=1)
    window, hop = max(2, round(0.025 * sound.sample_rate_hz)), max(1, round(0.010 * sound.sample_rate_hz))
    samples = np.pad(samples, (0, max(0, window - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop] * np.hanning(window)
    power = np.abs(np.fft.rfft(frames, axis=1).T) ** 2
    decibels = 10 * np.log10(np.maximum(power / max(power.max(), 1e-20), 1e-8))
    return decibels, len(samples) / sound.sample_rate_hz, sound.sample_rate_hz / 2


def _picture(pixels: np.ndarray) -> dict[str, Any]:
    from PIL import Image

    picture = Image.fromarray(pixels)
    picture.thumbnail((LARGEST_SIDE_PX, LARGEST_SIDE_PX))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80)
    src = "data:image/jpeg;base64," + _base64(file.getvalue())
    return {"kind": "picture", "src": src, "width": picture.width, "height": picture.height}


def _sound(sound: Waveform) -> dict[str, Any]:
    from PIL import Image
    from scipy.signal import resample_poly

    kept = sound.samples[: round(LONGEST_SOUND_SECONDS * sound.sample_rate_hz)]
    mono = kept if kept.ndim == 1 else kept.mean(axis=1)
    rate = next((r for r in SOUND_RATES_HZ if r >= sound.sample_rate_hz), SOUND_RATES_HZ[-1])
    if rate != sound.sample_rate_hz:
        common = math.gcd(rate, sound.sample_rate_hz)
        mono = resample_poly(mono, rate // common, sound.sample_rate_hz // common)
    media_type, content = encode_for_browsers(mono, rate)
    src = f"data:{media_type};base64,{_base64(content)}"
    decibels, seconds, highest_hz = spectrogram(Waveform(kept, sound.sample_rate_hz))
    pixels = Image.fromarray(coloured(1 + decibels[::-1] / 80, SPECTROGRAM)).resize((LARGEST_SIDE_PX, 80))
    shown = _picture(np.asarray(pixels))
    whole = len(sound.samples) / sound.sample_rate_hz
    of = f" of {whole:.1f}" if len(kept) < len(sound.samples) else ""
    note = f"{seconds:.1f}{of} s, up to {highest_hz / 1000:g} kHz"
    return shown | {"kind": "sound", "picture": shown["src"], "src": src, "note": note}


def _trace(recording: SensorRecording) -> dict[str, Any]:
    """One panel per unit: its channels as bytes between the panel's lowest and highest value."""
    values = recording.values[_thinned(recording.values)]
    panels = []
    for unit in dict.fromkeys(recording.units):
        columns = [c for c, channel_unit in enumerate(recording.units) if channel_unit == unit]
        low, high = float(values[:, columns].min()), float(values[:, columns].max())
        scaled = np.round((values[:, columns].T - low) / max(high - low, 1e-9) * 255).astype(np.uint8)
        panels.append(
            {
                "unit": unit,
                "low": float(f"{low:.3g}"),
                "high": float(f"{high:.3g}"),
                "channels": [recording.channels[c] for c in columns],
                "lines": [_base64(line.tobytes()) for line in scaled],
            }
        )
    seconds = len(recording.values) / recording.sample_rate_hz
    return {"kind": "trace", "panels": panels, "note": f"{seconds:.1f} s"}


def _thinned(values_TC: np.ndarray) -> np.ndarray:
    """Evenly spaced frames, at most `NUM_TRACE_POINTS`."""
    return np.linspace(0, len(values_TC) - 1, min(NUM_TRACE_POINTS, len(values_TC))).round().astype(int)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
