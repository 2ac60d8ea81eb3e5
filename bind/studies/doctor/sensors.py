"""Faults of sensor files: in their time axis and rate, and constant, clipped or broken channels."""

from __future__ import annotations

import numpy as np

from bind.media.sensor import SensorFile, load_sensor_file, sensor_span_frames
from bind.media.sensor_time import UnorderedTimeError
from bind.studies.doctor.envelope import motion_envelope
from bind.studies.doctor.findings import MANY, Fault, FileFacts, FindingKind, StretchFacts
from bind.studies.doctor.gravity import measure_motion
from bind.studies.doctor.reading import (
    CLIPPED,
    MIN_CLIPPED_SHARE,
    NOT_FINITE,
    count_in_runs,
    hash_values,
    unreadable_fault,
)
from bind.types import Clip, SensorRecording

FLAT = FindingKind("flat recording", 0.0, "no channel ever changes: drop the rows, training refuses them")
FLAT_CHANNEL = FindingKind("flat channel", MANY, "a channel never changes: is it plugged in, and the right column?")
GAPS = FindingKind("gaps or steps back in time", 0.0, "sort it; give it spans without gaps: training refuses both")
JITTER = FindingKind("irregular sampling", 1.0, "training interpolates it: a sensor's own even clock is better")
HELD = FindingKind("repeated frames", MANY, "the true rate is lower than the file says: resample properly")

MAX_JITTER = 0.1
"""Standard deviation of the steps, as a share of the step. A signal at a quarter of the sampling rate then carries
timing noise of 20·log10(2π · 0.25 · 0.1) = -16 dB."""
MIN_STEPS_OF_RANGE = 100
"""Channels that span fewer quantisation steps repeat their extremes by chance, and are not judged as clipped."""
MAX_HELD_SHARE = 0.5


def examine_sensor(clips: list[Clip], with_envelope: bool) -> FileFacts:
    """The clips of one sensor file, which is in memory as a whole where it is CSV or Parquet."""
    try:
        file = load_sensor_file(clips[0])
    except UnorderedTimeError as error:
        detail = str(error).removeprefix(f"{clips[0].path}: ")
        return FileFacts([StretchFacts() for _ in clips], [Fault(GAPS, detail)])
    recording = SensorRecording(file.values, file.sample_rate_hz, file.channels, file.units)
    faults = _plateaus(recording)
    if file.even.jitter > MAX_JITTER and file.even.is_interpolated:
        step = 1 / file.sample_rate_hz
        faults.insert(0, Fault(JITTER, f"steps of {step:.4g} s vary by ±{file.even.jitter:.0%}"))
    stretches = [_examine_stretch(file, clip, with_envelope) for clip in clips]
    return FileFacts(stretches, faults, file.sample_rate_hz, motion=measure_motion(recording))


def _plateaus(recording: SensorRecording) -> list[Fault]:
    """Channels that stand still at their limit, and frames that repeat."""
    values_TC = np.asarray(recording.values, dtype=np.float32)
    moving = [
        c for c in range(values_TC.shape[1]) if np.isfinite(values_TC[:, c]).all() and np.ptp(values_TC[:, c]) > 0
    ]
    if not moving or len(values_TC) < 3:
        return []
    held = float((np.diff(values_TC[:, moving], axis=0) == 0).all(axis=1).mean())
    if held > MAX_HELD_SHARE and len(moving) >= 3:
        return [Fault(HELD, f"{held:.0%} of its frames equal the one before")]
    clipped = []
    for column in moving:
        x_T = values_TC[:, column]
        distinct = np.unique(x_T)
        if len(distinct) < 3 or np.ptp(distinct) < MIN_STEPS_OF_RANGE * float(np.diff(distinct).min()):
            continue
        at_limit = max(count_in_runs(x_T == distinct[0]), count_in_runs(x_T == distinct[-1]))
        if at_limit >= MIN_CLIPPED_SHARE * len(x_T) and at_limit:
            clipped.append(f"{recording.channels[column]} ({at_limit / len(x_T):.1%} of it)")
    return [Fault(CLIPPED, f"flat at its limit: {', '.join(clipped)}")] if clipped else []


def _examine_stretch(file: SensorFile, clip: Clip, with_envelope: bool) -> StretchFacts:
    try:
        first, last = sensor_span_frames(clip, file)
    except ValueError as error:
        return StretchFacts(faults=[unreadable_fault(error, str(clip))])
    seconds = (last - first) / file.sample_rate_hz
    if gaps := file.even.gaps(first, last):
        start, longest = max(gaps, key=lambda gap: gap[1])
        detail = f"{len(gaps)} gap(s), the longest {longest:.3g} s after {start:.3f} s"
        return StretchFacts(seconds, faults=[Fault(GAPS, detail)])
    x_TC = np.asarray(file.even.read(first, last, str(clip)), dtype=np.float32)
    facts = StretchFacts(seconds, hash_values(x_TC))
    num_bad = x_TC.size - int(np.isfinite(x_TC).sum())
    if num_bad:
        bad = [name for name, column in zip(file.channels, x_TC.T, strict=True) if not np.isfinite(column).all()]
        facts.faults.append(Fault(NOT_FINITE, f"{num_bad} of {x_TC.size} values, in {', '.join(bad)}"))
        return facts
    flat_C = (x_TC == x_TC[0]).all(axis=0)
    facts.is_flat = bool(flat_C.all())
    if facts.is_flat:
        facts.faults.append(Fault(FLAT, f"all {len(flat_C)} channels are constant"))
    elif flat_C.any():
        names = [name for name, is_flat in zip(file.channels, flat_C, strict=True) if is_flat]
        facts.faults.append(Fault(FLAT_CHANNEL, ", ".join(names)))
    if with_envelope and not facts.is_flat:
        facts.envelope_T = motion_envelope(x_TC, file.sample_rate_hz)
    return facts
