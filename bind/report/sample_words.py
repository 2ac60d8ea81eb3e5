"""What a page says of a sample in words: what it is called, and what it is known by."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bind.types import Clip, FileSource, Sample, Source


def call_sample(sample: Sample) -> str:
    """A few words for a sample: its group, label or key."""
    return sample.group or sample.label or sample.key


def caption_of(sample: Sample) -> str:
    """What it is called, where that is not its key, which stands among its facts."""
    called = call_sample(sample)
    return "" if called == sample.key else called


def list_facts(sample: Sample, source: Source, value: Any = None, num_others: int = 0) -> list[str]:
    """What a value of a sample is known by: the key, its file as the table names it, and the owners.

    Args:
        value: one of its values, which may be a file; None: there is none.
        num_others: samples that share this value: of those no owner has it alone.

    Examples:
        >>> from bind.data.sources.toy.world import ToySource
        >>> toy = ToySource(num_train=1)
        >>> list_facts(toy.samples("train")[0], toy)
        ['key and owner toy/train/0017/00']
        >>> list_facts(toy.samples("train")[0], toy, num_others=2)
        ['key toy/train/0017/00 and 2 more']
    """
    is_own_owner = sample.owners == (sample.key,) and not num_others
    others = f" and {num_others} more" if num_others else ""
    facts = [f"key and owner {sample.key}" if is_own_owner else f"key {sample.key}{others}"]
    if isinstance(value, Clip):
        folder = source.path.parent if isinstance(source, FileSource) and isinstance(source.path, Path) else None
        facts.append(str(value).removeprefix(f"{folder}{os.sep}"))
    if sample.owners and not num_others and not is_own_owner:
        facts.append(f"owner{'s' * (len(sample.owners) > 1)} {', '.join(sample.owners)}")
    return facts
