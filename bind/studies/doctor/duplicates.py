"""Duplicates: the same content under several names, by hashes of files and of decoded values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bind.studies.doctor.examine import FileTask
from bind.studies.doctor.findings import FileFacts, Finding, FindingKind, Item
from bind.types import Clip, Modality

ACROSS = FindingKind("same content in two splits", 0.0, "keep copies in one split: scores on them measure memory")
WITHIN = FindingKind("same content twice in a split", 1.0, "drop the copies, or give their samples one `group`")


def check_exact_duplicates(
    examined: Iterable[tuple[FileTask, FileFacts]],
    items_of: Mapping[tuple[Modality, Clip], Sequence[Item]],
    folder: Path,
    known: Sequence[Modality] = (),
) -> list[Finding]:
    """Files with equal bytes, and pictures, sounds and recordings or stretches of them with equal values.

    One file that several rows use is no duplicate, nor are copies within a group and split. Constant content is left
    out: it is named as such.
    """
    files: dict[tuple[Modality, bytes], list[FileTask]] = defaultdict(list)
    stretches: dict[tuple[Modality, bytes], dict[tuple[Path, str], list[Item]]] = defaultdict(lambda: defaultdict(list))
    for task, facts in examined:
        path = task.path
        if facts.digest is not None and not all(stretch.is_flat for stretch in facts.stretches):
            copies = files[task.modality, facts.digest]
            copies.append(task)
            path = copies[0].path  # equal stretches of equal files are named once
        for clip, stretch in zip(task.clips, facts.stretches, strict=True):
            if stretch.digest is not None and not stretch.is_flat:
                stretches[task.modality, stretch.digest][path, describe_span(clip)] += items_of[task.modality, clip]
    findings = []
    for (modality, _), tasks in files.items():
        items = [item for task in tasks for clip in task.clips for item in items_of[modality, clip]]
        findings += _findings(modality, [name_in_manifest(task.path, folder) for task in tasks], "", items)
    for (modality, _), places in stretches.items():
        (first, part), *others = ((name_in_manifest(path, folder), part) for path, part in places)
        names = [first, *(f"{name} {part}".strip() for name, part in others)]
        findings += _findings(modality, names, part, [item for items in places.values() for item in items])
    return [finding for finding in findings if not (finding.kind is ACROSS and finding.modality in known)]


def _findings(modality: Modality, names: list[str], part: str, items: Sequence[Item]) -> list[Finding]:
    splits = {item.split for item in items}
    if len(names) < 2 or (len(splits) == 1 and len({item.group_id for item in items}) == 1):
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
