"""The examination of files: each is read as training reads it, and figures are taken of it."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bind.studies.doctor.doors import file_sort, refusal
from bind.studies.doctor.findings import Fault, FileFacts, StretchFacts
from bind.studies.doctor.pictures import NOTHING_MEASURED, examine_picture
from bind.studies.doctor.reading import NOT_FINITE, REFUSED, UNREADABLE, unreadable_fault
from bind.studies.doctor.sensors import FLAT, GAPS, examine_sensor
from bind.studies.doctor.sound import examine_sound
from bind.types import Clip, Modality, Transform

STOPS_TRAINING = (UNREADABLE, REFUSED, NOT_FINITE, FLAT, GAPS, NOTHING_MEASURED)
"""Kinds of faults at which training stops with an error."""
FILES_PER_TURN = 16


@dataclass(frozen=True)
class FileTask:
    """One file of one modality, with all clips of it; `with_envelope` where its activity over time is wanted too.

    `transform` is what training reads it with; None where that is not known.
    """

    modality: Modality
    path: Path
    clips: tuple[Clip, ...]
    with_envelope: bool = False
    transform: Transform | None = None

    @property
    def sort(self) -> str | None:
        """`picture`, `map`, `sound` or `sensor`; None for what has no figures, such as video."""
        return file_sort(self.transform)


def examine(task: FileTask) -> FileFacts:
    """The facts of one file, which is unreadable where the transform of training can't read it.

    Its bytes are hashed only where no hash of all its decoded values can stand for them.
    """
    clips = list(task.clips)
    facts = _facts_of_sort(task, clips)
    refusals = [refusal(task.transform, clip) if task.transform is not None else None for clip in clips]
    if task.transform is not None and task.sort in ("sensor", "map", "picture") and not any(refusals):
        # Training is the judge: what it reads is not called unreadable, and what it bridges no gap.
        facts.faults = [fault for fault in facts.faults if fault.kind not in (UNREADABLE, GAPS)]
    is_named = any(fault.kind in STOPS_TRAINING for fault in facts.faults)
    for clip, stretch, error in zip(clips, facts.stretches, refusals, strict=True):
        if error is not None and not is_named and not any(f.kind in STOPS_TRAINING for f in stretch.faults):
            fault = unreadable_fault(error, str(clip))
            was_read = stretch.digest is not None and fault.kind is UNREADABLE
            stretch.faults.append(Fault(REFUSED, fault.detail) if was_read else fault)
    if task.sort not in ("picture", "map") and (task.sort is None or Clip(task.path) not in clips):
        try:
            with task.path.open("rb") as file:
                facts.digest = hashlib.file_digest(file, "blake2b").digest()
        except OSError as error:
            facts.faults.append(unreadable_fault(error, str(task.path)))
    return facts


def _facts_of_sort(task: FileTask, clips: list[Clip]) -> FileFacts:
    """The figures of one file; where they can't be had, the reason is a fault of it."""
    try:
        if task.sort in ("picture", "map"):
            return examine_picture(clips, task.modality, task.sort)
        if task.sort == "sound":
            return examine_sound(clips, task.with_envelope)
        if task.sort == "sensor":
            return examine_sensor(clips, task.with_envelope)
    except Exception as error:  # decoders raise errors of any class on broken files
        return FileFacts([StretchFacts() for _ in clips], [unreadable_fault(error, str(task.path))])
    return FileFacts([StretchFacts() for _ in clips])


def examine_all(tasks: Iterable[FileTask], num_workers: int) -> Iterator[FileFacts]:
    """Facts of every file in the order of `tasks`; with workers, files are read in that many processes."""
    if num_workers == 0:
        yield from map(examine, tasks)
        return
    with multiprocessing.get_context("spawn").Pool(num_workers) as pool:
        yield from pool.imap(examine, tasks, chunksize=FILES_PER_TURN)
