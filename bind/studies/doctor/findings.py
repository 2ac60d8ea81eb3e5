"""Findings of the doctor: kinds of problems, where each occurs, and which of them spoil a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bind.types import Clip

MANY = 0.1
"""The share of a modality's samples above which a problem that may occur in a few becomes an error: with a tenth of its
pairs wrong an encoder learns the wrong pairs too. Ten times the damaged files that the data scripts let pass."""


@dataclass(frozen=True)
class FindingKind:
    """One sort of problem, and what to do about it.

    It is an error where it touches more than `spoils_above` of a modality's samples: 0 where one is enough, 1 where it
    never is more than a warning.
    """

    name: str
    spoils_above: float
    advice: str


@dataclass(frozen=True, slots=True)
class Fault:
    """A problem of one file or of a stretch of it, before it is known which samples use that."""

    kind: FindingKind
    detail: str


@dataclass(slots=True)
class StretchFacts:
    """Facts of one clip: its length, a hash of its decoded values, and its energy over time where that is wanted."""

    seconds: float | None = None
    digest: bytes | None = None
    faults: list[Fault] = field(default_factory=list)
    envelope_T: np.ndarray | None = None
    is_flat: bool = False


@dataclass(slots=True)
class MotionFacts:
    """Facts by which accelerometer and gyroscope of a recording check each other; levels are in the declared units.

    Attributes:
        acc_unit, gyro_unit: declared.
        acc_level: median over windows of the length of the mean acceleration: gravity, where there is any.
        acc_steadiness: median over windows of |mean| / mean | |: 1 where one direction dominates, as gravity does.
        gyro_level, gyro_steadiness: the same of the gyroscope.
        gyro_peak: 99.9th percentile of the turn rate.
        acc_spread: standard deviation of |acceleration|.
        direction: mean direction of the acceleration, a unit vector.
        num_turns, turn_fit, turn_scale, best_fit, best_order: how well the turn of gravity follows the gyroscope.
    """

    acc_unit: str
    acc_level: float
    acc_steadiness: float
    acc_spread: float
    direction: tuple[float, float, float]
    gyro_unit: str | None = None
    gyro_level: float = 0.0
    gyro_steadiness: float = 0.0
    gyro_peak: float = 0.0
    num_turns: int = 0
    turn_fit: float = 0.0
    turn_scale: float = 0.0
    best_fit: float = 0.0
    best_order: str = ""


@dataclass(slots=True)
class FileFacts:
    """Facts of one file: rate or size, perhaps a hash of its bytes, and one entry per clip, in order."""

    stretches: list[StretchFacts]
    faults: list[Fault] = field(default_factory=list)
    rate_hz: float | None = None
    size: str | None = None
    digest: bytes | None = None
    motion: MotionFacts | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One file of one sample, or a stretch of it."""

    key: str
    split: str
    modality: str
    clip: Clip
    group_id: int


@dataclass(frozen=True)
class Finding:
    """One problem of one thing: `name` is a file, a key, an owner or a caption, `keys` are the samples it touches.

    `part` is the stretch of that file, if it is not all of it.
    """

    kind: FindingKind
    modality: str
    name: str
    detail: str
    keys: tuple[str, ...] = ()
    part: str = ""


@dataclass
class Problem:
    """All findings of one kind in one modality."""

    kind: FindingKind
    modality: str
    findings: list[Finding]
    is_error: bool

    def by_name(self) -> dict[str, list[Finding]]:
        """The findings of each file, or other thing, that touch most samples first."""
        named: dict[str, list[Finding]] = {}
        for finding in sorted(self.findings, key=lambda finding: -len(finding.keys)):
            named.setdefault(finding.name, []).append(finding)
        return named


@dataclass
class Diagnosis:
    """The diagnosis of a manifest: an overview per modality, findings, figures, and notes on what was not examined."""

    manifest: str
    overview: dict[str, dict[str, Any]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    measured: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def problems(self) -> list[Problem]:
        """The findings by kind and modality, errors first, then by how many there are."""
        grouped: dict[tuple[FindingKind, str], list[Finding]] = {}
        for finding in self.findings:
            grouped.setdefault((finding.kind, finding.modality), []).append(finding)
        problems = [
            Problem(kind, modality, findings, self._share(modality, findings) > kind.spoils_above)
            for (kind, modality), findings in grouped.items()
        ]
        return sorted(problems, key=lambda problem: (not problem.is_error, -len(problem.findings)))

    def _share(self, modality: str, findings: list[Finding]) -> float:
        touched = {key for finding in findings for key in finding.keys}
        num_samples: int = self.overview.get(modality, {}).get("samples", 0)
        return min(1.0, max(1, len(touched)) / max(1, num_samples))

    def as_json(self) -> dict[str, Any]:
        """The diagnosis as plain values for `json.dump`."""
        problems = self.problems()
        return {
            "manifest": self.manifest,
            "errors": sum(problem.is_error for problem in problems),
            "warnings": sum(not problem.is_error for problem in problems),
            "overview": self.overview,
            "problems": [
                {
                    "problem": problem.kind.name,
                    "severity": "error" if problem.is_error else "warning",
                    "modality": problem.modality,
                    "count": len(problem.findings),
                    "advice": problem.kind.advice,
                    "items": [
                        {"name": f.name, "part": f.part, "detail": f.detail, "keys": list(f.keys)}
                        for f in problem.findings
                    ],
                }
                for problem in problems
            ],
            "measured": self.measured,
            "notes": self.notes,
        }
