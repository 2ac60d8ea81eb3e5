"""The diagnosis of a manifest: its rows and files are read once, and all that is wrong with them is named."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from rich.progress import track

from bind.data.sources.sample_table import SampleTable
from bind.studies.doctor.between_splits import check_splits
from bind.studies.doctor.captions import check_cut_captions
from bind.studies.doctor.clip_uses import ClipUses, Examined
from bind.studies.doctor.doors import file_sort, training_transforms
from bind.studies.doctor.duplicates import check_exact_duplicates, describe_span
from bind.studies.doctor.examine import FileTask, examine_all
from bind.studies.doctor.findings import Diagnosis, Fault, Finding, FindingKind
from bind.studies.doctor.motion import compare_recordings
from bind.studies.doctor.offsets import MAX_SAMPLES, OUT_OF_STEP, measure_offsets
from bind.studies.doctor.overview import make_overview
from bind.studies.doctor.shared import check_groups
from bind.studies.doctor.table import read_samples
from bind.terminal import PrintableConsole
from bind.types import Anchor, Modality, TextLookup, Transform

MISSING = FindingKind("missing file", 0.0, "paths are relative to the manifest: correct them or add the file")


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
    uses = ClipUses(samples)
    diagnosis = Diagnosis(str(manifest), findings=[*findings, *check_splits(samples, uses, known)])
    in_step = _pair_timed_streams(uses, transforms)
    enveloped = {int(uses.files_C[clip]) for pairs_P2 in in_step.values() for clip in np.unique(pairs_P2).tolist()}
    files = np.flatnonzero(uses.exists_F).tolist()
    tasks = (_file_task(uses, file, file in enveloped, transforms) for file in files)
    screen = PrintableConsole(stderr=True)
    facts = track(
        examine_all(tasks, num_workers),
        f"reading {len(files)} files",
        total=len(files),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    )
    examined = dict(zip(files, facts, strict=True))
    diagnosis.overview = make_overview(samples, uses, examined)
    _note_unexamined(diagnosis, uses, examined, transforms)
    diagnosis.findings += [
        Finding(MISSING, uses.modality(file), uses.name(file), split, keys) for file, split, keys in uses.missing()
    ]
    _add_file_faults(diagnosis, uses, examined)
    _add_motion(diagnosis, uses, examined, transforms)
    diagnosis.findings += check_exact_duplicates(examined, uses, known)
    _add_shared(diagnosis, samples, uses)
    diagnosis.findings += check_cut_captions(samples, anchor) if anchor is not None else []
    _add_offsets(diagnosis, in_step, uses, examined)
    if anchor is not None:
        _add_near(diagnosis, uses, examined, anchor, known)
    return diagnosis


def _file_task(uses: ClipUses, file: int, with_envelope: bool, transforms: Mapping[Modality, Transform]) -> FileTask:
    modality, clips = uses.modality(file), tuple(map(uses.clip, uses.clips_of(file)))
    return FileTask(modality, uses.path(file), clips, with_envelope, transforms.get(modality))


def _note_unexamined(
    diagnosis: Diagnosis, uses: ClipUses, examined: Examined, transforms: Mapping[Modality, Transform]
) -> None:
    counts = Counter(uses.modality(file) for file in examined)
    diagnosis.notes += [
        f"{m}: {n} files are only counted, as no transform of that name is known; name yours as in training: "
        f"--config-dir DIR +transform/{m}=default"
        for m, n in counts.items()
        if m not in transforms
    ]


def _finding_of_file(uses: ClipUses, file: int, fault: Fault) -> Finding:
    """A fault of a whole file touches all samples that use any of it."""
    return Finding(fault.kind, uses.modality(file), uses.name(file), fault.detail, uses.keys(uses.clips_of(file)))


def _add_file_faults(diagnosis: Diagnosis, uses: ClipUses, examined: Examined) -> None:
    for file, facts in examined.items():
        diagnosis.findings += [_finding_of_file(uses, file, fault) for fault in facts.faults]
        for clip, stretch in zip(uses.clips_of(file), facts.stretches, strict=True):
            if stretch.faults:
                keys = uses.keys(range(clip, clip + 1))
                name, part = uses.name(file), describe_span(uses.clip(clip))
                diagnosis.findings += [
                    Finding(fault.kind, uses.modality(file), name, fault.detail, keys, part) for fault in stretch.faults
                ]


def _add_motion(
    diagnosis: Diagnosis, uses: ClipUses, examined: Examined, transforms: Mapping[Modality, Transform]
) -> None:
    sensors: dict[Modality, dict[str, int]] = defaultdict(dict)
    for file in examined:
        modality = uses.modality(file)
        if file_sort(transforms.get(modality)) == "sensor":
            sensors[modality][str(uses.path(file))] = file
    for modality, files in sensors.items():
        faults, notes = compare_recordings({name: examined[file] for name, file in files.items()})
        diagnosis.notes += [f"{modality}: {note}" for note in notes]
        for name, file in files.items():
            diagnosis.findings += [_finding_of_file(uses, file, fault) for fault in faults[name]]
        motions = [m for file in files.values() if (m := examined[file].motion) is not None]
        if motions:
            diagnosis.measured[f"{modality} gravity"] = {
                "median_level": float(np.median([motion.acc_level for motion in motions])),
                "declared_units": sorted({motion.acc_unit for motion in motions}),
            }


def _add_shared(diagnosis: Diagnosis, samples: SampleTable, uses: ClipUses) -> None:
    findings, shares = check_groups(samples, uses)
    diagnosis.findings += findings
    for modality, share in shares.items():
        own = "caption" if modality == "text" else modality
        diagnosis.measured[f"rows that meet their own {own} as a negative in a batch of 64"] = share


def _pair_timed_streams(
    uses: ClipUses, transforms: Mapping[Modality, Transform]
) -> dict[tuple[Modality, Modality], np.ndarray]:
    """Two modalities that run in time → the clips (P, 2) of samples that have both, at most as many as are compared."""
    clips_of: dict[Modality, np.ndarray] = {}
    for modality in uses.modalities:
        if file_sort(transforms.get(modality)) in ("sound", "sensor"):
            clips_N = uses.first_clips(modality)
            is_there = np.append(uses.exists_F[uses.files_C], False)[clips_N]
            clips_of[modality] = np.where(is_there, clips_N, -1)
    pairs_of: dict[tuple[Modality, Modality], np.ndarray] = {}
    first_of: dict[tuple[Modality, Modality], int] = {}
    for a, b in combinations(clips_of, 2):
        samples = np.flatnonzero((clips_of[a] >= 0) & (clips_of[b] >= 0))
        if len(samples):
            drawn = _thin_out(samples)
            pairs_of[a, b] = np.stack([clips_of[a][drawn], clips_of[b][drawn]], axis=1)
            first_of[a, b] = int(samples[0])
    return {modalities: pairs_of[modalities] for modalities in sorted(pairs_of, key=first_of.__getitem__)}


def _thin_out(samples: np.ndarray) -> np.ndarray:
    if len(samples) <= MAX_SAMPLES:
        return samples
    drawn: np.ndarray = samples[np.linspace(0, len(samples) - 1, MAX_SAMPLES).astype(int)]
    return drawn


def _add_offsets(
    diagnosis: Diagnosis,
    in_step: Mapping[tuple[Modality, Modality], np.ndarray],
    uses: ClipUses,
    examined: Examined,
) -> None:
    envelopes = {
        clip: stretch.envelope_T
        for file, facts in examined.items()
        for clip, stretch in zip(uses.clips_of(file), facts.stretches, strict=True)
        if stretch.envelope_T is not None
    }
    for (a, b), all_pairs_P2 in in_step.items():
        pairs = [pair for pair in all_pairs_P2.tolist() if set(pair) <= set(envelopes)]
        recordings = [tuple(uses.name(uses.files_C[clip]) for clip in pair) for pair in pairs]
        common, apart, note = measure_offsets([(envelopes[one], envelopes[other]) for one, other in pairs], recordings)
        if common is not None:
            figures = {"seconds": common.seconds, "score": common.score, "samples": len(common.positions)}
            diagnosis.measured[f"offset of {b} behind {a}"] = figures
        if note is not None:
            diagnosis.notes.append(f"{a} and {b}: {note}")
        for offset in apart:
            first_uses = (uses.rows(range(pairs[i][0], pairs[i][0] + 1))[0] for i in offset.positions)
            keys = tuple(dict.fromkeys(uses.samples.key(int(row)) for row in first_uses))
            files = {recordings[i][0] for i in offset.positions}
            name = f"{len(keys)} samples" if len(files) > 1 else files.pop()
            detail = f"{b} comes {abs(offset.seconds):.2f} s {'late' if offset.seconds > 0 else 'early'}"
            diagnosis.findings.append(Finding(OUT_OF_STEP, f"{a}, {b}", name, detail, keys))


def _add_near(
    diagnosis: Diagnosis, uses: ClipUses, examined: Examined, anchor: str | Anchor, known: Sequence[Modality]
) -> None:
    by_content: dict[bytes, int] = {}
    for file, facts in examined.items():
        stretch = facts.stretches[0]
        if uses.modality(file) == "image" and stretch.digest is not None and not stretch.is_flat:
            by_content.setdefault(stretch.digest, uses.clips_of(file)[0])
    if len(by_content) < 2 and isinstance(anchor, str):
        return
    from bind.anchors.dual_encoder import TOY
    from bind.anchors.near_duplicates import why_not_comparable
    from bind.studies.doctor.anchor import check_anchor, load_anchor
    from bind.studies.doctor.near import NEAR_ACROSS, check_near_duplicates

    loaded = load_anchor(anchor)
    name = loaded.name
    is_readable_F = np.zeros(len(uses.exists_F), bool)
    is_readable_F[[file for file, facts in examined.items() if facts.stretches[0].digest is not None]] = True
    is_readable_C = np.append(is_readable_F[uses.files_C], False)  # the last is of no clip, -1
    unknown, diagnosis.measured["the anchor alone"] = check_anchor(
        uses.samples, lambda modality: is_readable_C[uses.first_clips(modality)], loaded, name
    )
    diagnosis.findings += unknown
    if reason := why_not_comparable(loaded):
        if by_content:
            diagnosis.notes.append(f"image: near duplicates were not looked for: {reason}")
        return
    if len(by_content) < 2:
        return
    items = [uses.items(clip)[0] for clip in by_content.values()]
    findings, thresholds, notes = check_near_duplicates(items, loaded, uses.samples.folder)
    diagnosis.findings += [f for f in findings if not (f.kind is NEAR_ACROSS and f.modality in known)]
    diagnosis.measured["near duplicates"] = {"anchor": name, **thresholds}
    diagnosis.notes += [f"image: {note}" for note in notes]
    if name == TOY:
        diagnosis.notes.append(
            "image: near duplicates were looked for with the toy anchor, which knows toy pictures and digits; "
            "for photographs pass --anchor openai/clip-vit-base-patch32"
        )
