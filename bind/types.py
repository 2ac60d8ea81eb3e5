"""Types that rooms share: what flows from a sample to an embedding, and the protocols of what handles it.

Shapes: B rows of a batch, B_m items of modality m in it, N pool, T time, C channels, F features, D embedding.
"""

from __future__ import annotations

import functools
import hashlib
import io
import unicodedata
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

Modality = str
"""A lower-case name such as `image`, `text`, `audio`, `imu` or `depth`: the only key used anywhere."""

Inputs = Tensor | dict[str, Tensor]
"""Input of an encoder: one tensor, or several by name (`input_ids`, `attention_mask`), first axis B_m."""


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
        if owners is not self.owners or not all(unicodedata.is_normalized("NFC", owner) for owner in owners):
            object.__setattr__(self, "owners", tuple(unicodedata.normalize("NFC", owner) for owner in owners))

    @property
    def group_id(self) -> int:
        """The group as a 63-bit integer, equal on every machine; a sample without a group is its own group."""
        return stable_id("group:" + self.group) if self.group is not None else stable_id("key:" + self.key)


def stable_id(text: str) -> int:
    """A 63-bit hash of `text` that is the same in every process and on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


@dataclass
class Batch:
    """Collated samples of one source; `inputs` and `cached` hold only the rows that have the modality.

    Attributes:
        keys: B sample keys.
        group_ids_B: int64 (B,).
        inputs: modality → (B_m, …), for towers and encoders.
        cached: anchor modality → (B_m, D) embeddings that need no tower any more.
        rows: modality → int64 (B_m,) on the CPU, the row of the batch that each item belongs to. A row may be absent
            (missing modality) or, in evaluation, occur several times (five captions). This is the presence mask.
        source: name of the dataset inside the mixture.
        modalities: what the source carries: the same on every rank, also when no row of this batch has it.
        num_clips: modality → int64 (B_m,), where items are several clips of one recording: `inputs` then holds the
            clips of all items in a row (first axis its sum), and an item's embedding is made of all of its clips.

    Examples:
        Three samples, of which the second lacks its sound:

        >>> batch = Batch(
        ...     keys=["a", "b", "c"],
        ...     group_ids_B=torch.tensor([1, 2, 3]),
        ...     inputs={"audio": torch.zeros(2, 16000), "depth": torch.zeros(3, 1, 64, 64)},
        ...     rows={"audio": torch.tensor([0, 2]), "depth": torch.tensor([0, 1, 2])},
        ... )
        >>> len(batch), [batch.keys[row] for row in batch.rows["audio"]]
        (3, ['a', 'c'])
    """

    keys: list[str]
    group_ids_B: Tensor
    inputs: dict[Modality, Inputs]
    rows: dict[Modality, Tensor]
    cached: dict[Modality, Tensor] = field(default_factory=dict)
    source: str = ""
    modalities: tuple[Modality, ...] = ()
    num_clips: dict[Modality, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.keys)

    def __getstate__(self) -> dict[str, Any]:
        """Row numbers, groups and counts as arrays: from one process to another those travel along, tensors do not.

        A tensor becomes a file descriptor, which the other process has to fetch: half a millisecond each.
        """
        return self.__dict__ | {
            "group_ids_B": _as_array(self.group_ids_B),
            "rows": {m: _as_array(x) for m, x in self.rows.items()},
            "num_clips": {m: _as_array(x) for m, x in self.num_clips.items()},
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self.group_ids_B = torch.as_tensor(state["group_ids_B"])
        self.rows = {m: torch.as_tensor(x) for m, x in state["rows"].items()}
        self.num_clips = {m: torch.as_tensor(x) for m, x in state["num_clips"].items()}

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The same batch on `device`, but for `rows`: which rows belong together is decided without waiting for it."""

        def move(value: Inputs) -> Inputs:
            if isinstance(value, dict):
                return {name: tensor.to(device, non_blocking=non_blocking) for name, tensor in value.items()}
            return value.to(device, non_blocking=non_blocking)

        return Batch(
            keys=self.keys,
            group_ids_B=self.group_ids_B.to(device, non_blocking=non_blocking),
            inputs={m: move(x) for m, x in self.inputs.items()},
            rows=self.rows,
            cached={m: x.to(device, non_blocking=non_blocking) for m, x in self.cached.items()},
            source=self.source,
            modalities=self.modalities,
            num_clips={m: x.to(device, non_blocking=non_blocking) for m, x in self.num_clips.items()},
        )

    def pin_memory(self) -> Batch:
        """The same batch in memory from which a GPU copies while the step goes on (data loaders call this)."""

        def pin(value: Inputs) -> Inputs:
            if isinstance(value, dict):
                return {name: tensor.pin_memory() for name, tensor in value.items()}
            return value.pin_memory()

        return replace(
            self,
            group_ids_B=self.group_ids_B.pin_memory(),
            inputs={m: pin(x) for m, x in self.inputs.items()},
            cached={m: x.pin_memory() for m, x in self.cached.items()},
            num_clips={m: x.pin_memory() for m, x in self.num_clips.items()},
        )


def _as_array(x: Tensor) -> Tensor | np.ndarray:
    return x.numpy() if x.device.type == "cpu" else x


@dataclass
class Embeddings:
    """Unit vectors of a batch: `z[m]` (B_m, D) with `rows[m]` (B_m,), on the CPU, naming the batch row of each."""

    z: dict[Modality, Tensor]
    rows: dict[Modality, Tensor]
    num_rows: int

    def aligned(self, modalities: Sequence[Modality]) -> tuple[list[Tensor], Tensor]:
        """The rows that have all of `modalities`: one (R, D) tensor each, in the same order, and their rows (R,).

        A row with several values of one modality counts with its first. Nothing is asked of the vectors' device.
        """
        first, *others = numbers = [self.rows[m].numpy() for m in modalities]
        if all(np.array_equal(first, other) for other in others) and bool((first[1:] > first[:-1]).all()):
            return [self.z[m] for m in modalities], self.rows[modalities[0]]  # the same rows: nothing to copy
        uniques = [np.unique(rows, return_index=True) for rows in numbers]
        common = functools.reduce(np.intersect1d, [rows for rows, _ in uniques])
        places = [torch.from_numpy(positions[np.searchsorted(rows, common)]) for rows, positions in uniques]
        vectors = [self.z[m] for m in modalities]
        aligned = [z[place.to(z.device, non_blocking=True)] for z, place in zip(vectors, places, strict=True)]
        return aligned, torch.from_numpy(common)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two modalities that are pulled together; `name` is `audio-image` in configs, logs and messages.

    Examples:
        >>> Pair("audio", "image", weight=2.0).name
        'audio-image'
    """

    a: Modality
    b: Modality
    weight: float = 1.0
    temperature: float = 0.07
    learn_temperature: bool = True

    @property
    def name(self) -> str:
        return f"{self.a}-{self.b}"


@runtime_checkable
class Transform(Protocol):
    """From one value of a sample to one tensor, and from several tensors to an encoder's inputs."""

    def __call__(self, value: Any, rng: np.random.Generator | None) -> Any:
        """`rng` is the sample's own generator in training and None in evaluation, which is deterministic.

        A list of tensors is several clips of the value, whose embeddings are averaged into one.
        """

    def collate(self, items: list[Any]) -> Inputs:
        """Stack what `__call__` returned for B_m values, clip by clip."""


@runtime_checkable
class Encoder(Protocol):
    """A trainable encoder, stem and trunk: a modality's tensor (B_m, …) → features (B_m, `num_features`)."""

    num_features: int

    def __call__(self, x: Tensor) -> Tensor: ...


@runtime_checkable
class TokenEncoder(Protocol):
    """An encoder that also gives the tokens behind its features, for fusions that attend to them."""

    def tokens(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B_m, L, F) and which of them are there, bool (B_m, L)."""


class FrozenTower(Protocol):
    """What a feature cache computes with: frozen towers of some modalities, with the transforms that feed them.

    `fingerprint` changes with the weights and with the preprocessing; `trainable` are the modalities whose vectors
    training changes, which can't be cached; vectors have `dim` numbers.
    """

    name: str
    dim: int
    modalities: tuple[Modality, ...]
    transforms: dict[Modality, Transform]

    @property
    def trainable(self) -> Sequence[Modality]: ...

    @property
    def fingerprint(self) -> str: ...

    def embed(self, modality: Modality, inputs: Inputs) -> Tensor:
        """Unit embeddings (B_m, D) of processed inputs."""

    def parameters(self) -> Iterator[Parameter]: ...

    def to(self, device: torch.device) -> Any: ...


class EmbeddingCache(Protocol):
    """Anchor embeddings computed earlier, looked up by sample key."""

    def lookup(
        self,
        modality: Modality,
        keys: Sequence[str],
        *,
        source: int,
        split: str,
        rngs: Sequence[np.random.Generator] | None = None,
    ) -> list[Tensor] | None:
        """One (V, D) tensor of unit vectors per key (V values, 0 if missing); None where this is not cached.

        `source` is the place of the key's source in the mixture. Where several views are cached, the sample's generator
        in `rngs` draws one; without generators it is the plain one.
        """


@runtime_checkable
class ColumnarSamples(Protocol):
    """A sequence of samples that has facts of all of them in columns, where a loop over samples would take minutes."""

    def keys(self) -> list[str]:
        """The key of every sample, in their order."""

    def count_values(self, modality: Modality) -> int:
        """The number of values of a modality that all samples have together."""


class Source(Protocol):
    """One dataset: samples whose metadata is known and whose values are made or opened on request.

    What a source can do beyond this it says by the optional protocols below.
    """

    name: str

    def modalities(self) -> tuple[Modality, ...]:
        """What samples of this source may carry."""

    def samples(self, split: str) -> Sequence[Sample]:
        """The metadata of a split, in a fixed order, nothing where the source has no such split.

        `values` may still be empty lists per modality.
        """

    def content_hash(self, split: str, modality: Modality) -> str:
        """A hash of keys and values of `modality` in their order: equal only where every value is still the same.

        What was computed from a source is stored under it; values that `fetch` draws afresh count undrawn.
        """

    def fetch(
        self,
        split: str,
        indices: Sequence[int],
        modalities: Sequence[Modality],
        rngs: Sequence[np.random.Generator] | None,
    ) -> list[dict[Modality, list[Any]]]:
        """The values of `modalities` of these samples; with `rngs`, a generated source may draw its nuisance afresh."""


@runtime_checkable
class GeneratedSource(Source, Protocol):
    """A source whose `fetch` draws the values of the modalities in `fresh` anew whenever it is given generators."""

    fresh: Collection[Modality]


@runtime_checkable
class FactorSource(GeneratedSource, Protocol):
    """A generated source that knows the factors behind its samples, and so the best retrieval that is possible.

    `carries`: modality → the names of the factors that can be read off it.
    """

    factor_names: tuple[str, ...]
    carries: Mapping[Modality, Sequence[str]]

    def factor_table(self, split: str) -> np.ndarray:
        """The factors of every sample as indices, (N, len(factor_names)) int64, in the order of `samples`."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file on disk or inside a shard: `read(start, stop)` gives these bytes; one file has one `identity`.

    `checksum` is its CRC-32 where that is known without reading it.
    """

    name: str
    identity: Hashable
    num_bytes: int
    modality: Modality
    read: Callable[[int, int], bytes]
    checksum: int | None = None


@runtime_checkable
class StoredSource(Source, Protocol):
    """A source that says where its values are stored although they are no `Clip`s of files."""

    def stored(
        self, split: str, modalities: Sequence[Modality]
    ) -> Iterator[tuple[int, StoredFile, float | None, float | None]]:
        """Place of the sample, file, start and end in seconds of every value of `modalities` that may be compared.

        Values of one modality of a sample come one after the other, in the order in which `fetch` gives them.
        """


@runtime_checkable
class FileSource(Source, Protocol):
    """A source that is read from one place: a manifest, or a pattern of shards."""

    path: Path | str


@runtime_checkable
class OrderedSource(Source, Protocol):
    """A source that is read best in a certain order, such as one shard after the other."""

    def training_order(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """A permutation (size,) int64 of the training samples, another one for each epoch's generator."""


@runtime_checkable
class UnforkableSource(Protocol):
    """A source that says whether its connections break in a process that was forked from one that has them too."""

    is_unforkable: bool
