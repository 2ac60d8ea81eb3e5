"""The examination of files: each is read once, by the function for its sort."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bind.studies.doctor.findings import FileFacts, StretchFacts
from bind.studies.doctor.pictures import examine_picture
from bind.studies.doctor.reading import unreadable_fault
from bind.studies.doctor.sensors import examine_sensor
from bind.studies.doctor.sound import examine_sound
from bind.types import Clip, Modality

SENSOR_SUFFIXES = (".csv", ".parquet")
SOUND_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".au", ".opus")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
BY_MODALITY = {"image": "picture", "depth": "picture", "thermal": "picture", "audio": "sound", "imu": "sensor"}
"""Modality → the sort of its files, whatever their suffix."""
FILES_PER_TURN = 16


@dataclass(frozen=True)
class FileTask:
    """One file of one modality, with all clips of it; `with_envelope` where its activity over time is wanted too."""

    modality: Modality
    path: Path
    clips: tuple[Clip, ...]
    with_envelope: bool = False


def file_sort(modality: Modality, path: Path) -> str | None:
    """`picture`, `sound` or `sensor`; None for what is only counted: videos, and arrays of a user's own modality."""
    suffix = path.suffix.lower()
    for sort, suffixes in (("picture", PICTURE_SUFFIXES), ("sound", SOUND_SUFFIXES), ("sensor", SENSOR_SUFFIXES)):
        if suffix in suffixes:
            return sort
    if suffix == ".npy" and path.with_suffix(".json").is_file():
        return "sensor"
    return BY_MODALITY.get(modality)


def examine(task: FileTask) -> FileFacts:
    """The facts of one file. Whatever goes wrong in a decoder is the file's fault, and is named with it.

    Its bytes are hashed only where no hash of all its decoded values can stand for them.
    """
    sort, clips = file_sort(task.modality, task.path), list(task.clips)
    try:
        if sort == "picture":
            return examine_picture(clips, task.modality)
        if sort == "sound":
            facts = examine_sound(clips, task.with_envelope)
        elif sort == "sensor":
            facts = examine_sensor(clips, task.with_envelope)
        else:
            facts = FileFacts([StretchFacts() for _ in clips])
        if sort is None or Clip(task.path) not in clips:
            with task.path.open("rb") as file:
                facts.digest = hashlib.file_digest(file, "blake2b").digest()
        return facts
    except Exception as error:  # decoders raise errors of any class on broken files
        return FileFacts([StretchFacts() for _ in clips], [unreadable_fault(error, str(task.path))])


def examine_all(tasks: Sequence[FileTask], num_workers: int) -> Iterator[FileFacts]:
    """Facts of every file in the order of `tasks`; with workers, files are read in that many processes."""
    if num_workers == 0:
        yield from map(examine, tasks)
        return
    with multiprocessing.get_context("spawn").Pool(num_workers) as pool:
        yield from pool.imap(examine, tasks, chunksize=FILES_PER_TURN)


def make_file_tasks(
    clips: Iterable[tuple[Modality, Clip]], enveloped: Container[tuple[Modality, Path]]
) -> list[FileTask]:
    """One task per modality and file, in order of first appearance, with the clips that differ."""
    by_file: dict[tuple[Modality, Path], dict[Clip, None]] = {}
    for modality, clip in clips:
        assert isinstance(clip.path, Path)
        by_file.setdefault((modality, clip.path), {})[clip] = None
    return [FileTask(*file, tuple(differing), file in enveloped) for file, differing in by_file.items()]
