"""Faults of sound files: silence, plateaus at the limit, constant or broken samples."""

from __future__ import annotations

import hashlib
import math

import numpy as np

from bind.media.audio import open_audio
from bind.studies.doctor.envelope import ENVELOPE_HZ, MAX_ENVELOPE_SECONDS
from bind.studies.doctor.findings import MANY, Fault, FileFacts, FindingKind, StretchFacts
from bind.studies.doctor.reading import CLIPPED, MIN_CLIPPED_SHARE, count_in_runs, unreadable_fault
from bind.types import Clip

SILENT = FindingKind("silent", MANY, "drop the rows, or look for the right channel or file")
CONSTANT_SOUND = FindingKind("constant sound", MANY, "the samples never change: drop the rows")

CANCELLED = FindingKind(
    "channels that cancel out", MANY, "training takes the mean of the channels: turn one of them round, or keep one"
)
BEYOND_FULL_SCALE = FindingKind(
    "beyond full scale", 0.0, "samples of sound lie between -1 and 1: divide by 32768 what was 16-bit numbers"
)

BLOCK_FRAMES = 1 << 18
MAX_CANCELLED_SHARE = 1e-4
"""Energy of the channels' mean, as a share of theirs: -40 dB, which no microphones in one room reach."""
MAX_PEAK = 4.0
"""12 dB above full scale: an honest float file that was made too loud stays below."""
SILENT_PEAK = 10 ** (-60 / 20)
"""-60 dBFS, 33 steps of 16 bits: below the noise floor of a consumer's microphone with its preamplifier."""
MIN_CLIPPED_PEAK = 0.5
"""Plateaus of quieter sounds are steps of 16 bits: the top of a 50 Hz tone at -40 dBFS stays 6 samples on one."""
STEP = 2.0**-15


class SoundMeter:
    """Figures of a sound that is read block by block."""

    def __init__(self, sample_rate_hz: int, num_frames: int, with_envelope: bool) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.num_frames = self.num_at_limit = self.num_values = 0
        self.energy = self.mean_energy = 0.0  # of the channels, and of their mean, which training takes
        self.lowest, self.highest, self.limit = math.inf, -math.inf, 0.0
        self.digest = hashlib.blake2b(f"{sample_rate_hz}".encode(), digest_size=16)
        seconds = min(num_frames / sample_rate_hz, MAX_ENVELOPE_SECONDS)
        self.energy_T = np.zeros(int(seconds * ENVELOPE_HZ)) if with_envelope else None

    def add(self, x_TC: np.ndarray) -> None:
        """Add the next block (T, C) float32."""
        self.digest.update(x_TC.data)
        self.energy += float(np.square(x_TC, dtype=np.float64).mean(axis=1).sum())
        self.mean_energy += float(np.square(x_TC.mean(axis=1), dtype=np.float64).sum())
        self.lowest, self.highest = min(self.lowest, float(x_TC.min())), max(self.highest, float(x_TC.max()))
        size_TC = np.abs(x_TC)
        if (limit := float(size_TC.max())) > self.limit + STEP:
            self.limit, self.num_at_limit = limit, 0
        self.num_at_limit += sum(count_in_runs(column) for column in (size_TC >= self.limit - STEP).T)
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
        if self.lowest == self.highest and peak > SILENT_PEAK:
            faults.append(Fault(CONSTANT_SOUND, f"every sample is {peak:g}"))
            is_flat = True
        elif peak <= SILENT_PEAK:
            level = f"its peak is {20 * math.log10(peak):.0f} dBFS" if peak else "every sample is 0"
            faults.append(Fault(SILENT, level))
            is_flat = True
        elif self.mean_energy < MAX_CANCELLED_SHARE * self.energy:
            faults.append(Fault(CANCELLED, "its channels are nearly opposite: their mean is next to silence"))
        elif peak > MAX_PEAK:
            faults.append(Fault(BEYOND_FULL_SCALE, f"its peak is {peak:g}"))
        elif peak >= MIN_CLIPPED_PEAK and share >= MIN_CLIPPED_SHARE:
            faults.append(Fault(CLIPPED, f"{share:.1%} of its samples lie flat at {20 * math.log10(peak):.1f} dBFS"))
        envelope_T = None if self.energy_T is None else np.sqrt(self.energy_T).astype(np.float32)
        seconds = self.num_frames / self.sample_rate_hz
        return StretchFacts(seconds, self.digest.digest(), faults, envelope_T, is_flat)


def examine_sound(clips: list[Clip], with_envelope: bool) -> FileFacts:
    """The clips of one sound file or sound track, read in blocks of 16 s at 16 kHz: memory does not grow with it."""
    facts, rate_hz = [], None
    for clip in clips:
        try:
            with open_audio(clip) as recording:
                rate_hz = recording.sample_rate_hz
                meter = SoundMeter(int(rate_hz), recording.num_frames, with_envelope)
                for first in range(0, recording.num_frames, BLOCK_FRAMES):
                    last = min(first + BLOCK_FRAMES, recording.num_frames)
                    meter.add(np.ascontiguousarray(recording.read(first, last)))
        except ValueError as error:
            facts.append(StretchFacts(faults=[unreadable_fault(error, str(clip))]))
        else:
            facts.append(meter.facts())
    return FileFacts(facts, rate_hz=rate_hz)
