"""The diagnosis of a manifest: its rows and files are read once, and all that is wrong with them is named."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from bind.studies.doctor.captions import check_captions, check_cut_captions
from bind.studies.doctor.doors import file_sort, training_transforms
from bind.studies.doctor.duplicates import check_exact_duplicates, describe_span, name_in_manifest
from bind.studies.doctor.examine import FileTask, examine_all, make_file_tasks
from bind.studies.doctor.findings import Diagnosis, Fault, FileFacts, Finding, Item
from bind.studies.doctor.motion import compare_recordings
from bind.studies.doctor.offsets import MAX_SAMPLES, OUT_OF_STEP, measure_offsets
from bind.studies.doctor.overview import make_overview
from bind.studies.doctor.table import MISSING, check_splits, read_samples
from bind.terminal import PrintableConsole
from bind.types import Anchor, Clip, Modality, Sample, TextLookup, Transform

Examined = list[tuple[FileTask, FileFacts]]
Stream = tuple[Modality, Clip]
ItemsOfStream = Mapping[Stream, list[Item]]
"""A stream → the items of all samples that use it."""


def diagnose(
    manifest: Path,
    anchor: str | Anchor | None = None,
    num_workers: int = 0,
    *,
    transforms: Mapping[Modality, Transform] | None = None,
    known: Sequence[Modality] = (),
) -> Diagnosis:
    """Read every file of `manifest` once and name all that is wrong. Contents are not kept, only figures of them.

    Args:
        manifest: CSV, JSONL or Parquet.
        anchor: the anchor whose vectors find near duplicates of pictures, or its name as in `anchor.pretrained=`; None
            skips that.
        num_workers: processes that read files; 0 reads in this one.
        transforms: what training reads each modality with; None: bind's own with their defaults.
        known: modalities of which splits may share files, as in `evaluation.known`.

    Raises:
        ValueError: a file that is no manifest at all, or an anchor that can't be loaded.

    Examples:
        >>> import tempfile
        >>> manifest = Path(tempfile.mkdtemp()) / "manifest.csv"
        >>> _ = manifest.write_text("key,split,text,audio\\na,train,a dog barks,a.wav\\nb,test,rain,\\n")
        >>> [(problem.kind.name, problem.findings[0].name) for problem in diagnose(manifest).problems()]
        [('missing file', 'a.wav')]
    """
    transforms = training_transforms() if transforms is None else transforms
    if isinstance(anchor, TextLookup):  # its pictures are vectors
        transforms = {**transforms, **anchor.transforms}
    samples, findings = read_samples(manifest)
    folder = manifest.parent
    diagnosis = Diagnosis(str(manifest), findings=[*findings, *check_splits(samples, folder, known)])
    items = _clip_items(samples)
    existing = {path for path in {item.clip.path for item in items} if isinstance(path, Path) and path.is_file()}
    in_step = _pair_timed_streams(samples, existing, transforms)
    enveloped: set[tuple[Modality, Any]] = {
        (m, clip.path) for pairs in in_step.values() for pair in pairs for m, clip in pair
    }
    tasks = make_file_tasks(
        ((item.modality, item.clip) for item in items if item.clip.path in existing), enveloped, transforms
    )
    screen = PrintableConsole(stderr=True)
    facts = track(
        examine_all(tasks, num_workers),
        f"reading {len(tasks)} files",
        total=len(tasks),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    )
    examined = list(zip(tasks, facts, strict=True))
    diagnosis.overview = make_overview(samples, examined)
    _note_unexamined(diagnosis, tasks)

    items_of = _items_of_streams(items)
    missing: dict[tuple[Modality, Any], list[Item]] = defaultdict(list)
    for item in items:
        if item.clip.path not in existing:
            missing[item.modality, item.clip.path].append(item)
    diagnosis.findings += [
        Finding(MISSING, modality, name_in_manifest(path, folder), users[0].split, tuple(item.key for item in users))
        for (modality, path), users in missing.items()
    ]
    _add_file_faults(diagnosis, examined, items_of, folder)
    _add_motion(diagnosis, examined, items_of, folder)
    diagnosis.findings += check_exact_duplicates(examined, items_of, folder, known)
    _add_captions(diagnosis, samples)
    diagnosis.findings += check_cut_captions(samples, anchor) if anchor is not None else []
    _add_offsets(diagnosis, in_step, examined, items_of, folder)
    if anchor is not None:
        _add_near(diagnosis, examined, items_of, anchor, folder, known, samples)
    return diagnosis


def _clip_items(samples: Sequence[Sample]) -> list[Item]:
    return [
        Item(sample.key, sample.split, modality, value, sample.group_id)
        for sample in samples
        for modality, values in sample.values.items()
        for value in values
        if isinstance(value, Clip)
    ]


def _items_of_streams(items: Sequence[Item]) -> ItemsOfStream:
    items_of: dict[Stream, list[Item]] = defaultdict(list)
    for item in items:
        items_of[item.modality, item.clip].append(item)
    return items_of


def _note_unexamined(diagnosis: Diagnosis, tasks: Sequence[FileTask]) -> None:
    unexamined: dict[Modality, int] = defaultdict(int)
    for task in tasks:
        if task.transform is None:
            unexamined[task.modality] += 1
    diagnosis.notes += [
        f"{m}: {n} files are only counted, as no transform of that name is known; name yours as in training: "
        f"--config-dir DIR +transform/{m}=default"
        for m, n in unexamined.items()
    ]


def _add_file_faults(diagnosis: Diagnosis, examined: Examined, items_of: ItemsOfStream, folder: Path) -> None:
    for task, facts in examined:
        _add(diagnosis, task, facts.faults, items_of, folder)
        for clip, stretch in zip(task.clips, facts.stretches, strict=True):
            if stretch.faults:
                keys = tuple(dict.fromkeys(item.key for item in items_of[task.modality, clip]))
                name, part = name_in_manifest(task.path, folder), describe_span(clip)
                diagnosis.findings += [
                    Finding(fault.kind, task.modality, name, fault.detail, keys, part) for fault in stretch.faults
                ]


def _add(diagnosis: Diagnosis, task: FileTask, faults: Sequence[Fault], items_of: ItemsOfStream, folder: Path) -> None:
    """Faults of a whole file touch all samples that use any of it."""
    if faults:
        keys = tuple(dict.fromkeys(item.key for clip in task.clips for item in items_of[task.modality, clip]))
        name = name_in_manifest(task.path, folder)
        diagnosis.findings += [Finding(fault.kind, task.modality, name, fault.detail, keys) for fault in faults]


def _add_motion(diagnosis: Diagnosis, examined: Examined, items_of: ItemsOfStream, folder: Path) -> None:
    sensors: dict[Modality, dict[str, tuple[FileTask, FileFacts]]] = defaultdict(dict)
    for task, facts in examined:
        if task.sort == "sensor":
            sensors[task.modality][str(task.path)] = (task, facts)
    for modality, files in sensors.items():
        faults, notes = compare_recordings({name: facts for name, (_, facts) in files.items()})
        diagnosis.notes += [f"{modality}: {note}" for note in notes]
        for name, (task, _) in files.items():
            _add(diagnosis, task, faults[name], items_of, folder)
        motions = [facts.motion for _, facts in files.values() if facts.motion is not None]
        if motions:
            diagnosis.measured[f"{modality} gravity"] = {
                "median_level": float(np.median([motion.acc_level for motion in motions])),
                "declared_units": sorted({motion.acc_unit for motion in motions}),
            }


def _add_captions(diagnosis: Diagnosis, samples: Sequence[Sample]) -> None:
    findings, share = check_captions(samples)
    diagnosis.findings += findings
    if share:
        diagnosis.measured["rows that meet their own caption as a negative in a batch of 64"] = share


def _pair_timed_streams(
    samples: Sequence[Sample], existing: set[Path], transforms: Mapping[Modality, Transform]
) -> dict[tuple[Modality, Modality], list[tuple[Stream, Stream]]]:
    """Two modalities that run in time → the streams of samples that have both, at most as many as are compared."""
    pairs_of: dict[tuple[Modality, Modality], list[tuple[Stream, Stream]]] = defaultdict(list)
    for sample in samples:
        streams = [
            (modality, values[0])
            for modality, values in sample.values.items()
            if isinstance(values[0], Clip)
            and values[0].path in existing
            and file_sort(transforms.get(modality)) in ("sound", "sensor")
        ]
        for a, b in combinations(streams, 2):
            pairs_of[a[0], b[0]].append((a, b))
    return {modalities: _thin_out(pairs) for modalities, pairs in pairs_of.items()}


def _thin_out(pairs: list[tuple[Stream, Stream]]) -> list[tuple[Stream, Stream]]:
    if len(pairs) <= MAX_SAMPLES:
        return pairs
    return [pairs[i] for i in np.linspace(0, len(pairs) - 1, MAX_SAMPLES).astype(int)]


def _add_offsets(
    diagnosis: Diagnosis,
    in_step: Mapping[tuple[Modality, Modality], Sequence[tuple[Stream, Stream]]],
    examined: Examined,
    items_of: ItemsOfStream,
    folder: Path,
) -> None:
    envelopes = {
        (task.modality, clip): stretch.envelope_T
        for task, facts in examined
        for clip, stretch in zip(task.clips, facts.stretches, strict=True)
        if stretch.envelope_T is not None
    }
    for (a, b), all_pairs in in_step.items():
        pairs = [pair for pair in all_pairs if set(pair) <= set(envelopes)]
        recordings = [(one[1].path, other[1].path) for one, other in pairs]
        common, apart, note = measure_offsets([(envelopes[one], envelopes[other]) for one, other in pairs], recordings)
        if common is not None:
            figures = {"seconds": common.seconds, "score": common.score, "samples": len(common.positions)}
            diagnosis.measured[f"offset of {b} behind {a}"] = figures
        if note is not None:
            diagnosis.notes.append(f"{a} and {b}: {note}")
        for offset in apart:
            keys = tuple(dict.fromkeys(items_of[pairs[i][0]][0].key for i in offset.positions))
            files = {name_in_manifest(pairs[i][0][1].path, folder) for i in offset.positions}
            name = f"{len(keys)} samples" if len(files) > 1 else files.pop()
            detail = f"{b} comes {abs(offset.seconds):.2f} s {'late' if offset.seconds > 0 else 'early'}"
            diagnosis.findings.append(Finding(OUT_OF_STEP, f"{a}, {b}", name, detail, keys))


def _add_near(
    diagnosis: Diagnosis,
    examined: Examined,
    items_of: ItemsOfStream,
    anchor: str | Anchor,
    folder: Path,
    known: Sequence[Modality],
    samples: Sequence[Sample],
) -> None:
    by_content: dict[bytes, Item] = {}
    for task, facts in examined:
        stretch = facts.stretches[0]
        if task.modality == "image" and stretch.digest is not None and not stretch.is_flat:
            by_content.setdefault(stretch.digest, items_of[task.modality, task.clips[0]][0])
    if len(by_content) < 2 and isinstance(anchor, str):
        return
    from bind.anchors.dual_encoder import TOY
    from bind.anchors.processors import ImageTransform
    from bind.studies.doctor.anchor import check_anchor, load_anchor
    from bind.studies.doctor.near import NEAR_ACROSS, check_near_duplicates

    loaded = load_anchor(anchor)
    name = loaded.name
    readable = {clip: facts for task, facts in examined for clip in task.clips if facts.stretches[0].digest is not None}
    unknown, diagnosis.measured["the anchor alone"] = check_anchor(samples, readable, loaded, name)
    diagnosis.findings += unknown
    if not isinstance(loaded.transforms.get("image"), ImageTransform):
        if by_content:
            diagnosis.notes.append(f"image: near duplicates were not looked for, {name} embeds no pictures")
        return
    if len(by_content) < 2:
        return
    findings, thresholds, notes = check_near_duplicates(list(by_content.values()), loaded, folder)
    diagnosis.findings += [f for f in findings if not (f.kind is NEAR_ACROSS and f.modality in known)]
    diagnosis.measured["near duplicates"] = {"anchor": name, **thresholds}
    diagnosis.notes += [f"image: {note}" for note in notes]
    if name == TOY:
        diagnosis.notes.append(
            "image: near duplicates were looked for with the toy anchor, which knows toy pictures and digits; "
            "for photographs pass --anchor openai/clip-vit-base-patch32"
        )
