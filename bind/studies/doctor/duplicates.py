"""Duplicates: the same content under several names, by hashes of files and of decoded values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from bind.studies.doctor.clip_uses import ClipUses, Examined
from bind.studies.doctor.findings import Finding, FindingKind
from bind.types import Clip, Modality

ACROSS = FindingKind("same content in two splits", 0.0, "keep copies in one split: scores on them measure memory")
WITHIN = FindingKind("same content twice in a split", 1.0, "drop the copies, or give their samples one `group`")


def check_exact_duplicates(examined: Examined, uses: ClipUses, known: Sequence[Modality] = ()) -> list[Finding]:
    """Files with equal bytes, and pictures, sounds and recordings or stretches of them with equal values.

    One file that several rows use is no duplicate, nor are copies within a group and split. Constant content is left
    out: it is named as such.
    """
    files: dict[tuple[Modality, bytes], list[int]] = defaultdict(list)
    stretches: dict[tuple[Modality, bytes], list[tuple[int, int]]] = defaultdict(list)
    for file, facts in examined.items():
        modality, first_copy = uses.modality(file), file
        if facts.digest is not None and not all(stretch.is_flat for stretch in facts.stretches):
            copies = files[modality, facts.digest]
            copies.append(file)
            first_copy = copies[0]  # equal stretches of equal files are named once
        for clip, stretch in zip(uses.clips_of(file), facts.stretches, strict=True):
            if stretch.digest is not None and not stretch.is_flat:
                stretches[modality, stretch.digest].append((first_copy, clip))
    findings = []
    for (modality, _), of_file in files.items():
        if len(of_file) > 1:
            names = list(map(uses.name, of_file))
            findings += _findings(modality, names, "", uses, [c for file in of_file for c in uses.clips_of(file)])
    for (modality, _), of_stretch in stretches.items():
        if len(of_stretch) > 1:
            clips_of: dict[tuple[str, str], list[int]] = defaultdict(list)
            for file, clip in of_stretch:
                clips_of[uses.name(file), describe_span(uses.clip(clip))].append(clip)
            (first, part), *others = clips_of
            names = [first, *(f"{name} {part}".strip() for name, part in others)]
            findings += _findings(modality, names, part, uses, [c for clips in clips_of.values() for c in clips])
    return [finding for finding in findings if not (finding.kind is ACROSS and finding.modality in known)]


def _findings(modality: Modality, names: list[str], part: str, uses: ClipUses, clips: Sequence[int]) -> list[Finding]:
    if len(names) < 2:
        return []
    items = [item for clip in clips for item in uses.items(clip)]
    splits = {item.split for item in items}
    if len(splits) == 1 and len({item.group_id for item in items}) == 1:
        return []
    kind = ACROSS if len(splits) > 1 else WITHIN
    keys = tuple(dict.fromkeys(item.key for item in items))
    return [Finding(kind, modality, names[0], f"equals {', '.join(names[1:])}", keys, part)]


def name_in_manifest(path: object, folder: Path) -> str:
    """A file as the manifest writes it."""
    return str(path).removeprefix(f"{folder}/")


def describe_span(clip: Clip) -> str:
    """The span of a clip, empty where it is the whole file."""
    return str(clip).removeprefix(str(clip.path)).strip()
