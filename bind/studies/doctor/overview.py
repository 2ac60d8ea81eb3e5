"""The overview of a manifest: counts, durations, rates and sizes of each modality."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bind.data.sources.sample_table import SPLITS
from bind.studies.doctor.examine import FileTask
from bind.studies.doctor.findings import FileFacts
from bind.types import Modality, Sample


def make_overview(
    samples: Sequence[Sample], examined: Iterable[tuple[FileTask, FileFacts]]
) -> dict[Modality, dict[str, Any]]:
    """Modality → samples, samples per split, values, files, seconds (total, min, median, max), rates, sizes."""
    overview: dict[Modality, dict[str, Any]] = {}
    for modality in dict.fromkeys(m for sample in samples for m in sample.values):
        with_modality = [sample for sample in samples if modality in sample.values]
        counts = Counter(sample.split for sample in with_modality)
        overview[modality] = {
            "samples": len(with_modality),
            "splits": {split: counts[split] for split in SPLITS if counts[split]},
            "values": sum(len(sample.values[modality]) for sample in with_modality),
        }
    seconds: dict[Modality, list[float]] = {}
    rates: dict[Modality, Counter[str]] = {}
    sizes: dict[Modality, Counter[str]] = {}
    for task, facts in examined:
        about = overview[task.modality]
        about["files"] = about.get("files", 0) + 1
        seconds.setdefault(task.modality, []).extend(s.seconds for s in facts.stretches if s.seconds is not None)
        if facts.rate_hz:
            rates.setdefault(task.modality, Counter())[f"{round(facts.rate_hz, 1):g}"] += 1
        if facts.size:
            sizes.setdefault(task.modality, Counter())[facts.size] += 1
    for modality, about in overview.items():
        if lengths := seconds.get(modality):
            middle = float(np.median(lengths))
            about["seconds"] = {"total": sum(lengths), "min": min(lengths), "median": middle, "max": max(lengths)}
        for name, counted in (("rates_hz", rates), ("sizes", sizes)):
            if modality in counted:
                about[name] = dict(counted[modality].most_common())
    return overview


def overview_rows(overview: Mapping[Modality, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """The overview as cells of a table: one row per modality."""
    return [
        (
            modality,
            *(str(about["splits"].get(split, "–")) for split in SPLITS),
            str(about.get("files", "–")),
            _length(about.get("seconds")),
            _most_frequent(about.get("rates_hz"), " Hz") or _most_frequent(about.get("sizes"), " px") or "–",
        )
        for modality, about in overview.items()
    ]


def _length(seconds: Mapping[str, float] | None) -> str:
    if seconds is None:
        return "–"
    total = f"{seconds['total'] / 3600:.1f} h" if seconds["total"] >= 3600 else f"{seconds['total']:.0f} s"
    if seconds["min"] == seconds["max"]:
        return f"{seconds['min']:.3g} s each, {total}"
    return f"{seconds['min']:.3g}–{seconds['max']:.3g} s, median {seconds['median']:.3g}, {total}"


def _most_frequent(counts: Mapping[str, int] | None, unit: str) -> str:
    if not counts:
        return ""
    most = list(counts)
    return f"{most[0]}{unit}" + (f" and {len(most) - 1} other" + "s" * (len(most) > 2) if len(most) > 1 else "")
