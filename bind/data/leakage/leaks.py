"""Leaks: evaluated samples that share something with training data, and the audit that collects them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bind.types import Modality, Sample, Source

NUM_NAMED = 3
LEAK_KINDS = {
    "owners": "of an owner that was trained on",
    "files": "with a file that was trained on, or a copy of it",
    "windows": "with a stretch of a recording that was trained on",
    "combinations": "of a combination that was trained on",
    "near": "nearly the same as a picture that was trained on",
}


@dataclass(frozen=True, slots=True)
class SourceSplit:
    """One split of one source on one side of an audit, and the modalities that are read of its samples."""

    name: str
    source: Source
    split: str
    modalities: tuple[Modality, ...]

    @property
    def samples(self) -> Sequence[Sample]:
        """The samples of the split."""
        return self.source.samples(self.split)


@dataclass(frozen=True, slots=True)
class Leak:
    """An evaluated sample, the sample of `source` that was trained on, and what they share."""

    key: str
    source: str
    trained_key: str
    shared: str


@dataclass
class Audit:
    """The leaks between the evaluated samples and the training samples, and what was compared.

    Attributes:
        num_samples: evaluated ones.
        trained_on: sources, with their runs where these are earlier ones.
        leaks: kind → key of an evaluated sample → its first leak.
        checked: kind → what was compared.
        not_checked: what was not, and why.
        notes: what is worth knowing and no leakage.
    """

    num_samples: int
    trained_on: list[str]
    leaks: dict[str, dict[str, Leak]] = field(default_factory=lambda: defaultdict(dict))
    checked: dict[str, str] = field(default_factory=dict)
    not_checked: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, kind: str, leak: Leak) -> None:
        """Keep the leak, unless its sample has one of this kind."""
        self.leaks[kind].setdefault(leak.key, leak)

    @property
    def leaked(self) -> set[str]:
        """The keys of all samples with any leak."""
        return {key for leaks in self.leaks.values() for key in leaks}

    def figures(self) -> dict[str, Any]:
        """The entry `leakage` of `metrics.json`, in plain values."""
        leaks_by_kind = {kind: self.leaks[kind] for kind in LEAK_KINDS if self.leaks.get(kind)}
        return {
            "samples": self.num_samples,
            "leaked": len(self.leaked),
            "share": len(self.leaked) / self.num_samples,
            "kinds": {
                kind: {
                    "samples": len(leaks),
                    "share": len(leaks) / self.num_samples,
                    "first": [
                        {"key": x.key, "trained_key": x.trained_key, "source": x.source, "shared": x.shared}
                        for x in list(leaks.values())[:NUM_NAMED]
                    ],
                }
                for kind, leaks in leaks_by_kind.items()
            },
            "trained_on": self.trained_on,
            "checked": self.checked,
            "not_checked": self.not_checked,
            "notes": self.notes,
        }
