"""Faults of captions: shared without a common group, so false negatives of the loss, and cut by the text tower."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from textwrap import shorten

from bind.studies.doctor.findings import Finding, FindingKind
from bind.types import Anchor, CuttingTransform, Sample

BATCH_SIZE = 64
"""The default batch, in which samples are each other's negatives."""
MAX_CLASHING_SHARE = 0.01
"""Share of rows that may have their own caption as a negative in a batch. Such a row is pulled to and pushed from the
same text; one in a hundred is the share of damaged files that the data scripts let pass."""

SHARED_CAPTION = FindingKind(
    "caption shared without a group", 1.0, "give samples that mean the same one `group`: they are negatives now"
)
ONE_GROUP = FindingKind("all samples in one group", 0.0, "samples of a group are no negatives: the loss has none left")


CUT_CAPTION = FindingKind(
    "caption longer than the text tower takes",
    1.0,
    "what stands behind the cut is not seen: shorten or split them, or choose an anchor that takes more tokens",
)
EXAMPLE_LENGTH = 80
NEVER_CUT_BYTES = 20
"""No text tower is too short for captions of so few bytes, whose tokens are no more."""


def normalise_caption(caption: str) -> str:
    """A caption without case, punctuation and repeated blanks."""
    return " ".join(re.findall(r"\w+", caption.casefold()))


def check_cut_captions(samples: Sequence[Sample], anchor: str | Anchor) -> list[Finding]:
    """One finding for all captions that have more tokens than the text tower of `anchor` takes, if it has one."""
    captions = [(sample.key, text) for sample in samples for text in sample.values.get("text", ())]
    if all(len(text.encode()) <= NEVER_CUT_BYTES for _, text in captions):
        return []
    from bind.studies.doctor.anchor import load_anchor

    loaded = load_anchor(anchor)
    transform = loaded.transforms.get("text")
    if not isinstance(transform, CuttingTransform):
        return []
    cut = set(transform.find_cut([text for _, text in captions]))
    if not cut:
        return []
    num_cut = sum(text in cut for _, text in captions)
    detail = f"{num_cut} of {len(captions)} captions have more than the {transform.max_tokens} tokens of {loaded.name}"
    example = next(text for _, text in captions if text in cut)
    keys = tuple(dict.fromkeys(key for key, text in captions if text in cut))
    return [Finding(CUT_CAPTION, "text", repr(shorten(example, EXAMPLE_LENGTH, placeholder=" …")), detail, keys)]


def check_captions(samples: Sequence[Sample]) -> tuple[list[Finding], float]:
    """Captions that training samples of different groups share, and the share of rows that have theirs as a negative.

    That share is of a batch of 64 drawn at random: each other row is a false negative with the probability that it has
    one of the row's captions and another group.
    """
    train = [sample for sample in samples if sample.split == "train"]
    if len(train) > 1 and len({sample.group_id for sample in train}) == 1:
        return [Finding(ONE_GROUP, "", str(train[0].group), f"{len(train)} samples", (train[0].key,))], 0.0
    holders: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    wording: dict[str, str] = {}
    for sample in train:
        for caption, text in {normalise_caption(text): text for text in sample.values.get("text", ())}.items():
            wording.setdefault(caption, text)
            holders[caption][sample.group_id].append(sample.key)
    findings, clashes = [], 0
    for caption, groups in holders.items():
        if len(groups) < 2:
            continue
        sizes = [len(keys) for keys in groups.values()]
        clashes += sum(sizes) ** 2 - sum(size**2 for size in sizes)
        keys = tuple(key for group in groups.values() for key in group)
        findings.append(
            Finding(SHARED_CAPTION, "text", repr(wording[caption]), f"{len(keys)} samples, {len(groups)} groups", keys)
        )
    if not findings:
        return [], 0.0
    others = min(BATCH_SIZE, len(train)) - 1
    chance = min(1.0, clashes / (len(train) * (len(train) - 1)))
    share = 1 - (1 - chance) ** others
    findings.sort(key=lambda finding: -len(finding.keys))
    return (findings if share > MAX_CLASHING_SHARE else []), share
