"""Samples and their values: what a source gives, before anything became a tensor."""

from __future__ import annotations

import hashlib
import io
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Modality = str
"""A lower-case name such as `image`, `text`, `audio`, `imu` or `depth`: the only key used anywhere."""


@dataclass(frozen=True, slots=True)
class PackedFile:
    """The content of a file that lies inside a larger one, such as a shard; `name` says where.

    `sidecar` is what a file on disk has beside it under the same name: the JSON of a `.npy` recording.
    """

    name: str
    content: bytes = field(repr=False)
    sidecar: bytes | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.name

    @property
    def suffix(self) -> str:
        return Path(self.name).suffix


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording in a file, whole or from `start_seconds` to `end_seconds`.

    A sensor's span is in the clock of its file, or counts from its first row where `from_first_row`.

    Examples:
        >>> print(Clip(Path("walk.wav"), start_seconds=2.0, end_seconds=4.5))
        walk.wav [2-4.5 s]
    """

    path: Path | PackedFile
    start_seconds: float | None = None
    end_seconds: float | None = None
    from_first_row: bool = False

    @property
    def file(self) -> Path | io.BytesIO:
        """What decoders open: the path, or the content of a packed file."""
        return self.path if isinstance(self.path, Path) else io.BytesIO(self.path.content)

    def __str__(self) -> str:
        if self.start_seconds is None and self.end_seconds is None:
            return str(self.path)
        return f"{self.path} [{self.start_seconds or 0:g}-{'end' if self.end_seconds is None else self.end_seconds} s]"


@dataclass(frozen=True, slots=True)
class Waveform:
    """Sound in memory: `samples` (T,) or (T, C) float32 in [-1, 1] at `sample_rate_hz`.

    Examples:
        >>> tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 16000).astype(np.float32)
        >>> sound = Waveform(tone, sample_rate_hz=16000)
        >>> len(sound.samples) / sound.sample_rate_hz  # seconds
        0.5
    """

    samples: np.ndarray
    sample_rate_hz: int


@dataclass(frozen=True, slots=True, eq=False)
class StoredVector:
    """A vector in memory, `values` (V,), and what it is called in messages; equal are those of equal values.

    Examples:
        >>> StoredVector(np.ones(3), "row 1") == StoredVector(np.ones(3), "row 2")
        True
    """

    values: np.ndarray
    name: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoredVector) and np.array_equal(self.values, other.values)

    def __hash__(self) -> int:
        return hash(self.values.tobytes())


@dataclass(frozen=True, slots=True)
class SensorRecording:
    """A sensor stream in memory: `values` (T, C) float32 at `sample_rate_hz`, one name and one unit per channel.

    Examples:
        >>> still = np.tile(np.float32([0.0, 0.0, 9.81]), (100, 1))
        >>> recording = SensorRecording(still, 50.0, channels=("acc_x", "acc_y", "acc_z"), units=("m/s^2",) * 3)
        >>> recording.values.shape
        (100, 3)
    """

    values: np.ndarray
    sample_rate_hz: float
    channels: tuple[str, ...]
    units: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """One record: its modalities' values (any may be missing), who it comes from and what it means.

    `values[modality]` is a list (five captions are five values) of `Clip`, text, or something in memory: a uint8
    image (H, W, 3), a depth map (H, W) float32 in metres, a `Waveform`, a `SensorRecording`. Owners are kept in
    Unicode's composed form (NFC), so that one name is one owner however it was typed; a single text is one owner.

    Examples:
        >>> values = {"audio": [Clip(Path("bark.wav"))], "text": ["a dog barks", "barking"]}
        >>> bark = Sample("bark", "train", values, group="dog", owners=("anna",))
        >>> howl = Sample("howl", "train", {"text": ["a dog howls"]}, group="dog")
        >>> bark.group_id == howl.group_id  # one group: relevant to each other, never negatives
        True
        >>> Sample("a", "train", {}).group_id == Sample("b", "train", {}).group_id
        False
        >>> Sample("a", "train", {}, owners="anna").owners
        ('anna',)
    """

    key: str
    split: str
    values: Mapping[Modality, Sequence[Any]]
    group: str | None = None
    owners: tuple[str, ...] = ()
    label: str | None = None

    def __post_init__(self) -> None:
        owners = (self.owners,) if isinstance(self.owners, str) else self.owners
        composed = tuple(map(compose_name, owners))
        if composed != self.owners:
            object.__setattr__(self, "owners", composed)

    @property
    def group_id(self) -> int:
        """The group as a 63-bit integer, equal on every machine; a sample without a group is its own group."""
        return group_id_of(self.key, self.group)


def group_id_of(key: str, group: str | None) -> int:
    """See `Sample.group_id`."""
    return stable_id(f"key:{key}" if group is None else f"group:{group}")


def compose_name(name: str) -> str:
    """`name` in Unicode's composed form (NFC), in which names are compared: some systems write é as two characters."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def stable_id(text: str) -> int:
    """A 63-bit hash of `text` that is the same in every process and on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
