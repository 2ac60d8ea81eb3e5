"""Faults of sound files: silence, plateaus at the limit, constant or broken samples, channels that cancel out."""

from __future__ import annotations

import hashlib
import math

import numpy as np

from bind.media.audio import MAX_PEAK, open_sound, sound_span_frames
from bind.media.decoded import Sound
from bind.studies.doctor.envelope import ENVELOPE_HZ, MAX_ENVELOPE_SECONDS
from bind.studies.doctor.findings import MANY, Fault, FileFacts, FindingKind, StretchFacts
from bind.studies.doctor.reading import CLIPPED, MIN_CLIPPED_SHARE, NOT_FINITE, count_in_runs, unreadable_fault
from bind.types import Clip

SILENT = FindingKind("silent", MANY, "drop the rows, or look for the right channel or file")
CONSTANT_SOUND = FindingKind("constant sound", MANY, "the samples never change: drop the rows")
OPPOSITE = FindingKind(
    "channels that cancel out", 0.0, "training averages them to near silence: swap one channel's sign, or keep only one"
)
NOT_SOUND = FindingKind(
    "integers called floats", 0.0, "sound lies in [-1, 1]: divide by 32768 (16 bits) or 2147483648 (32), write it again"
)
TOO_LOUD = FindingKind("values beyond full scale", MANY, "sound lies in [-1, 1]: scale it down and write it again")

BLOCK_FRAMES = 1 << 18
SILENT_PEAK = 10 ** (-60 / 20)
"""-60 dBFS, 33 steps of 16 bits: below the noise floor of a consumer's microphone with its preamplifier."""
MIN_CLIPPED_PEAK = 0.5
"""Plateaus of quieter sounds are steps of 16 bits: the top of a 50 Hz tone at -40 dBFS stays 6 samples on one."""
STEP = 2.0**-15
MIN_KEPT_POWER = 0.01
"""The power of the average of the channels, as a share of theirs: 20 dB lost. Of independent channels half is kept."""
LOUD_PEAK = 2.0
"""Decoders of lossy sound exceed full scale by a few dB; 6 dB is none of theirs."""


class SoundMeter:
    """Figures of a sound that is read block by block."""

    def __init__(self, sample_rate_hz: int, num_frames: int, with_envelope: bool) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.num_frames = self.num_bad = self.num_at_limit = self.num_values = 0
        self.lowest, self.highest, self.limit = math.inf, -math.inf, 0.0
        self.power = self.mixed_power = 0.0
        self.digest = hashlib.blake2b(f"{sample_rate_hz}".encode(), digest_size=16)
        seconds = min(num_frames / sample_rate_hz, MAX_ENVELOPE_SECONDS)
        self.energy_T = np.zeros(int(seconds * ENVELOPE_HZ)) if with_envelope else None

    def add(self, x_TC: np.ndarray) -> None:
        """Add the next block (T, C) float32."""
        self.digest.update(x_TC.data)
        bad = x_TC.size - int(np.isfinite(x_TC).sum())
        if bad:
            self.num_bad += bad
            x_TC = np.nan_to_num(x_TC, posinf=0.0, neginf=0.0)
        self.lowest, self.highest = min(self.lowest, float(x_TC.min())), max(self.highest, float(x_TC.max()))
        size_TC = np.abs(x_TC)
        if (limit := float(size_TC.max())) > self.limit + STEP:
            self.limit, self.num_at_limit = limit, 0
        self.num_at_limit += sum(count_in_runs(column) for column in (size_TC >= self.limit - STEP).T)
        if x_TC.shape[1] > 1:
            self.power += float(np.square(x_TC, dtype=np.float64).sum()) / x_TC.shape[1]
            self.mixed_power += float(np.square(x_TC.mean(axis=1), dtype=np.float64).sum())
        if self.energy_T is not None and len(self.energy_T):
            bins = (self.num_frames + np.arange(len(x_TC))) * ENVELOPE_HZ // self.sample_rate_hz
            energy = np.bincount(bins, np.square(x_TC).mean(axis=1), minlength=len(self.energy_T))
            self.energy_T += energy[: len(self.energy_T)]
        self.num_frames += len(x_TC)
        self.num_values += x_TC.size

    def facts(self) -> StretchFacts:
        """The facts of all blocks together."""
        faults, is_flat = [], False
        peak = max(abs(self.lowest), abs(self.highest))
        share = self.num_at_limit / self.num_values
        if self.num_bad:
            faults.append(Fault(NOT_FINITE, f"{self.num_bad} of {self.num_values} samples"))
        elif self.lowest == self.highest and peak > SILENT_PEAK:
            faults.append(Fault(CONSTANT_SOUND, f"every sample is {peak:g}"))
            is_flat = True
        elif peak <= SILENT_PEAK:
            level = f"its peak is {20 * math.log10(peak):.0f} dBFS" if peak else "every sample is 0"
            faults.append(Fault(SILENT, level))
            is_flat = True
        elif self.mixed_power < MIN_KEPT_POWER * self.power:
            kept = f"{self.mixed_power / self.power:.1%} of their power is left in their average"
            faults.append(Fault(OPPOSITE, kept))
        elif peak > MAX_PEAK:
            faults.append(Fault(NOT_SOUND, f"its values reach {peak:g}"))
        elif peak > LOUD_PEAK:
            faults.append(Fault(TOO_LOUD, f"its values reach {peak:g}"))
        elif peak >= MIN_CLIPPED_PEAK and share >= MIN_CLIPPED_SHARE:
            faults.append(Fault(CLIPPED, f"{share:.1%} of its samples lie flat at {20 * math.log10(peak):.1f} dBFS"))
        envelope_T = None if self.energy_T is None else np.sqrt(self.energy_T).astype(np.float32)
        seconds = self.num_frames / self.sample_rate_hz
        return StretchFacts(seconds, self.digest.digest(), faults, envelope_T, is_flat)


def examine_sound(clips: list[Clip], with_envelope: bool) -> FileFacts:
    """The clips of one sound file, read in blocks of 16 s at 16 kHz: memory does not grow with its length."""
    with open_sound(clips[0]) as sound:
        facts = [_examine_stretch(sound, clip, with_envelope) for clip in clips]
        return FileFacts(facts, rate_hz=sound.sample_rate_hz)


def _examine_stretch(sound: Sound, clip: Clip, with_envelope: bool) -> StretchFacts:
    try:
        first, last = sound_span_frames(clip, sound)
        meter = SoundMeter(sound.sample_rate_hz, last - first, with_envelope)
        for begin in range(first, last, BLOCK_FRAMES):
            meter.add(sound.read(begin, min(last, begin + BLOCK_FRAMES)))
    except ValueError as error:
        return StretchFacts(faults=[unreadable_fault(error, str(clip))])
    return meter.facts()
