"""The overview of a manifest: counts, durations, rates and sizes of each modality."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from bind.data.sources.sample_table import SPLITS, SampleTable
from bind.studies.doctor.clip_uses import ClipUses, Examined
from bind.types import Modality


def make_overview(samples: SampleTable, uses: ClipUses, examined: Examined) -> dict[Modality, dict[str, Any]]:
    """Modality → samples, samples per split, values, files, seconds (total, min, median, max), rates, sizes."""
    overview: dict[Modality, dict[str, Any]] = {}
    codes_N = samples.split_codes()
    has_N = {modality: samples.has(modality) for modality in samples.modalities}
    carried = [modality for modality in samples.modalities if has_N[modality].any()]
    for modality in sorted(carried, key=lambda modality: int(has_N[modality].argmax())):  # as they first occur
        counts = np.bincount(codes_N[has_N[modality]], minlength=len(SPLITS)).tolist()
        overview[modality] = {
            "samples": sum(counts),
            "splits": {split: count for split, count in zip(SPLITS, counts, strict=True) if count},
            "values": samples.count_values(modality),
        }
    seconds: dict[Modality, list[float]] = {}
    rates: dict[Modality, Counter[str]] = {}
    sizes: dict[Modality, Counter[str]] = {}
    for file, facts in examined.items():
        modality = uses.modality(file)
        about = overview[modality]
        about["files"] = about.get("files", 0) + 1
        seconds.setdefault(modality, []).extend(s.seconds for s in facts.stretches if s.seconds is not None)
        if facts.rate_hz:
            rates.setdefault(modality, Counter())[f"{round(facts.rate_hz, 1):g}"] += 1
        if facts.size:
            sizes.setdefault(modality, Counter())[facts.size] += 1
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
