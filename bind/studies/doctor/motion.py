"""Faults of sensor recordings that show in comparison: units, exchanged sensors, axes in another order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from bind.media.sensor_units import SI_FACTORS
from bind.studies.doctor.findings import Fault, FileFacts, FindingKind, MotionFacts
from bind.studies.doctor.gravity import TURN_SECONDS

EXCHANGED = FindingKind(
    "accelerometer and gyroscope exchanged", 0.0, "gravity is in the gyroscope's channels: swap the names"
)
ACC_UNIT = FindingKind(
    "unit of acceleration contradicts gravity", 0.0, "correct the unit in the file or convert the values"
)
GYRO_UNIT = FindingKind(
    "unit of turn rate contradicts the motion", 0.0, "correct the unit in the file or convert the values"
)
GYRO_RANGE = FindingKind("turn rate small for its unit", 1.0, "it moves and hardly turns: are the values rad/s?")
NO_GRAVITY = FindingKind(
    "gravity missing or out of scale", 1.0, "the other files have it: scrambled channels, or another scale?"
)
AXES = FindingKind(
    "axes unlike the rest", 1.0, "gravity lies elsewhere than in the other files: channels swapped, or worn otherwise?"
)
GYRO_AXES = FindingKind(
    "gyroscope's axes contradict the accelerometer's", 1.0, "another order or sign fits: check the axes"
)
RATE = FindingKind("rate unlike the rest", 1.0, "check the rate in the file, and the unit of its time column")

STANDARD_GRAVITY = 9.80665
GRAVITY_RANGE = (0.6, 1.6)
"""Gravity's size in g that passes: sensors are off by a few percent, and motion bends the mean of 2 s."""
GUESSES = {"m/s²": 1 / STANDARD_GRAVITY, "g": 1.0, "mg": 1e-3}
MIN_STEADINESS = 0.5
"""|mean| / mean | | over 2 s. Gravity gives 0.98 and more on phones at the waist, over 0.5 in the worst jump; noise
without it, or acceleration with gravity taken out, tends to 0."""
MIN_EXCHANGED_STEADINESS, EXCHANGED_RANGE = 0.8, (0.8, 1.25)
"""The same of a gyroscope's channels that hold gravity, tighter because a body that turns steadily is steady too."""
MAX_RAD_PER_SECOND = 70.0
"""±4000 °/s, the widest range of the gyroscopes in wearables (most have ±2000 °/s): nothing in rad/s exceeds it."""
MIN_DEG_PER_SECOND = 35.0
"""±2000 °/s in rad/s: what never exceeds 35 while the body moves could be that."""
MOVING_SPREAD_G = 0.1
"""Standard deviation of |acceleration| above which a body moves rather than rests: walking has 0.2 g and more."""
MIN_TURNS = 50
"""Comparisons (20 s) below which order, signs and scale of the gyroscope are not judged."""
MIN_FIT = 0.3
"""Correlation of gravity's turn with the gyroscope: 0.41 to 0.82 in recordings of phones at the waist."""
MIN_OTHER_FIT = 0.4
"""What another order of axes has to reach: the best of 48 orders fits 50 comparisons of noise by about 0.2."""
MIN_BETTER_FIT = 0.25
"""And by how much it has to beat the axes as they are named: 0.01 at most where these are right."""
SCALE_RANGE = (0.1, 10.0)
"""Slope of that relation: 1 where the unit is right (0.87 to 1.42 measured), 57 or 1/57 where it is the other one."""
MIN_SAME_DIRECTION = 0.8
"""Length of the mean of the files' gravity directions above which they are worn alike."""
MAX_ANGLE_COSINE = 0.5
"""60° from the corpus: closer to another axis than to its own."""
MIN_FILES = 5
"""Files that make a corpus to compare with."""
MIN_SAME_RATE = 0.9
MAX_RATE_DIFFERENCE = 0.05
"""Where nine in ten files share a rate, one over 5 % off is odd: clocks differ by less, nominal rates by more."""
MIN_RATE_HZ = 1.0
"""Accelerations are never sampled below 1 Hz; time in milliseconds gives a thousandth of the rate."""


def compare_recordings(files: Mapping[str, FileFacts]) -> tuple[dict[str, list[Fault]], list[str]]:
    """File → faults, from the facts of all sensor files of one modality, and notes on what could not be judged."""
    faults: dict[str, list[Fault]] = {name: [] for name in files}
    _compare_rates(files, faults)
    sensed = {name: facts.motion for name, facts in files.items() if facts.motion is not None}
    motions = {name: motion for name, motion in sensed.items() if _quantity(motion.acc_unit) == "acceleration"}
    notes = []
    if len(motions) < len(sensed):
        units = sorted({motion.acc_unit for motion in sensed.values()} - {m.acc_unit for m in motions.values()})
        notes.append(f"accelerations in {', '.join(units)} were not judged: units known are {', '.join(SI_FACTORS)}")
    if not motions:
        return faults, notes
    judged: dict[str, MotionFacts] = {}
    without: dict[str, MotionFacts] = {}
    for name, motion in motions.items():
        if fault := _exchanged(motion) or _wrong_acc_unit(motion):
            faults[name].append(fault)
        elif _has_gravity(motion):
            judged[name] = motion
            faults[name] += _gyro_faults(motion)
        else:
            without[name] = motion
    if len(without) <= len(motions) / 2:
        for name, motion in without.items():
            faults[name].append(Fault(NO_GRAVITY, _describe_gravity(motion)))
    else:
        notes.append(f"{len(without)} of {len(motions)} files show no gravity: units and axes were not judged there")
    notes += _compare_directions(judged, faults)
    with_gyro = [motion for motion in motions.values() if motion.gyro_unit is not None]
    num_turning = sum(motion.num_turns >= MIN_TURNS and motion.best_fit >= MIN_FIT for motion in with_gyro)
    if num_turning < len(with_gyro):
        notes.append(
            f"gyroscope and accelerometer were compared in {num_turning} of {len(with_gyro)} files: the others turn "
            f"too little or are shorter than {MIN_TURNS * TURN_SECONDS:g} s"
        )
    return faults, notes


def _quantity(unit: str) -> str:
    return SI_FACTORS.get(unit, ("", 0.0))[0]


def _in_g(motion: MotionFacts) -> float:
    return motion.acc_level * SI_FACTORS[motion.acc_unit][1] / STANDARD_GRAVITY


def _is_gravity(level_g: float) -> bool:
    return GRAVITY_RANGE[0] <= level_g <= GRAVITY_RANGE[1]


def _has_gravity(motion: MotionFacts) -> bool:
    return motion.acc_steadiness >= MIN_STEADINESS and _is_gravity(_in_g(motion))


def _describe_gravity(motion: MotionFacts) -> str:
    level = f"{motion.acc_level:.3g} {motion.acc_unit}"
    return f"the mean acceleration of 2 s is {level}, steadiness {motion.acc_steadiness:.2f}"


def _exchanged(motion: MotionFacts) -> Fault | None:
    """Gravity in the gyroscope's channels, more exactly than a steady turn would imitate it, and none in the others."""
    if motion.gyro_unit is None or _has_gravity(motion) or motion.gyro_steadiness < MIN_EXCHANGED_STEADINESS:
        return None
    for unit in ("g", "m/s²"):
        if EXCHANGED_RANGE[0] <= motion.gyro_level * GUESSES[unit] <= EXCHANGED_RANGE[1]:
            return Fault(EXCHANGED, f"the gyroscope's mean is {motion.gyro_level:.3g}, as gravity is in {unit}")
    return None


def _wrong_acc_unit(motion: MotionFacts) -> Fault | None:
    if motion.acc_steadiness < MIN_STEADINESS or _has_gravity(motion):
        return None
    for unit, size_g in GUESSES.items():
        if _is_gravity(motion.acc_level * size_g):
            return Fault(ACC_UNIT, f"says {motion.acc_unit}, but gravity is {motion.acc_level:.3g}: looks like {unit}")
    return None


def _gyro_faults(motion: MotionFacts) -> list[Fault]:
    if motion.gyro_unit is None:
        return []
    is_radian = motion.gyro_unit == "rad/s"
    is_judged = motion.num_turns >= MIN_TURNS
    if is_judged and motion.best_fit >= MIN_OTHER_FIT and motion.best_fit - motion.turn_fit >= MIN_BETTER_FIT:
        fits = f"{motion.best_fit:.2f}, as named {motion.turn_fit:.2f}"
        return [Fault(GYRO_AXES, f"its axes as {motion.best_order} fit gravity's turn by {fits}")]
    if is_judged and motion.turn_fit >= MIN_FIT and not SCALE_RANGE[0] <= motion.turn_scale <= SCALE_RANGE[1]:
        other = "deg/s" if motion.turn_scale < 1 else "rad/s"
        turn = f"gravity turns {motion.turn_scale:.3g} times as fast as the gyroscope says"
        return [Fault(GYRO_UNIT, f"says {motion.gyro_unit}, but {turn}: looks like {other}")]
    if is_radian and motion.gyro_peak > MAX_RAD_PER_SECOND:
        return [Fault(GYRO_UNIT, f"says rad/s, but goes up to {motion.gyro_peak:.0f}: looks like deg/s")]
    is_degree = _quantity(motion.gyro_unit) == "angular rate" and not is_radian
    moves = motion.acc_spread > MOVING_SPREAD_G * motion.acc_level
    if is_degree and moves and motion.gyro_peak < MIN_DEG_PER_SECOND and motion.turn_fit < MIN_FIT:
        return [Fault(GYRO_RANGE, f"says {motion.gyro_unit}, and never exceeds {motion.gyro_peak:.2g}")]
    return []


def _compare_directions(motions: Mapping[str, MotionFacts], faults: dict[str, list[Fault]]) -> list[str]:
    if len(motions) < MIN_FILES:
        return [f"gravity's direction needs {MIN_FILES} files to compare, there are {len(motions)}"]
    directions = np.array([motion.direction for motion in motions.values()])
    usual = np.median(directions, axis=0)
    agreement = float(np.median(directions @ usual) / max(float(np.linalg.norm(usual)), 1e-12))
    if agreement < MIN_SAME_DIRECTION:
        return ["the files are not worn alike: gravity's direction says nothing about the order of their axes"]
    usual /= np.linalg.norm(usual)
    for (name, motion), cosine in zip(motions.items(), directions @ usual, strict=True):
        if cosine < MAX_ANGLE_COSINE:
            here, there = (", ".join(f"{x:+.1f}" for x in vector) for vector in (motion.direction, usual))
            faults[name].append(Fault(AXES, f"gravity is ({here}), in the other files ({there})"))
    return []


def _compare_rates(files: Mapping[str, FileFacts], faults: dict[str, list[Fault]]) -> None:
    rates = {name: facts.rate_hz for name, facts in files.items() if facts.rate_hz}
    common = Counter(round(rate, 1) for rate in rates.values()).most_common(1)
    usual = common[0][0] if common else 0.0
    alike = [rate for rate in rates.values() if abs(rate - usual) <= MAX_RATE_DIFFERENCE * usual]
    for name, rate in rates.items():
        if files[name].motion is not None and rate < MIN_RATE_HZ:
            faults[name].append(Fault(RATE, f"{rate:.3g} Hz: is the time in milliseconds?"))
        elif abs(rate - usual) > MAX_RATE_DIFFERENCE * usual and len(alike) >= MIN_SAME_RATE * len(rates):
            faults[name].append(
                Fault(RATE, f"{rate:.4g} Hz, where {len(alike)} of {len(rates)} files have {usual:g} Hz")
            )
