"""Batches: collated samples, their embeddings, and the pairs of modalities that the loss compares.

Shapes: B rows of a batch, B_m items of modality m in it, D embedding.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bind.types.samples import Modality

if TYPE_CHECKING:  # torch takes seconds to import, and what only checks arguments needs names of modalities alone
    import torch
    from torch import Tensor

Inputs: TypeAlias = "Tensor | dict[str, Tensor]"
"""Input of an encoder: one tensor, or several by name (`input_ids`, `attention_mask`), first axis B_m."""


SECOND_VIEW = "@2"
"""What the name of a modality ends in where a batch has its samples a second time, drawn anew."""


def second_view(modality: Modality) -> Modality:
    """The name of the second views of a modality in a batch: other windows, other augmentations of the same samples.

    Examples:
        >>> second_view("imu"), without_view(second_view("imu")), without_view("imu")
        ('imu@2', 'imu', 'imu')
    """
    return modality + SECOND_VIEW


def without_view(name: Modality) -> Modality:
    """The modality whose encoder embeds what stands under `name` in a batch."""
    return name.removesuffix(SECOND_VIEW)


@dataclass
class Batch:
    """Collated samples of one source; `inputs` and `cached` hold only the rows that have the modality.

    Attributes:
        keys: B sample keys.
        group_ids_B: int64 (B,).
        inputs: modality → (B_m, …), for towers and encoders.
        cached: modality → what was computed before: (B_m, D) embeddings of the anchor's, (B_m, F) features of a frozen
            encoder, for its head; of several clips of an item a row each.
        rows: modality → int64 (B_m,) on the CPU, the row of the batch that each item belongs to. A row may be absent
            (missing modality) or, in evaluation, occur several times (five captions). This is the presence mask.
        source: name of the dataset inside the mixture.
        modalities: what the source carries: the same on every rank, also when no row of this batch has it. A modality
            that is paired with itself is there twice, the second time as `second_view` names it.
        num_clips: modality → int64 (B_m,), where items are several clips of one recording: `inputs` or `cached`
            then holds the clips of all items in a row (first axis its sum), and an item's embedding is made of all
            of its clips.

    Examples:
        Three samples, of which the second lacks its sound:

        >>> import torch
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
        import torch

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
        import torch

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
class MaskedPatches:
    """A share of a modality's patches that its encoder does not see, and that are predicted from those it does.

    Examples:
        >>> MaskedPatches("imu").name
        'masked/imu'
    """

    modality: Modality
    weight: float = 1.0
    share: float = 0.5

    @property
    def name(self) -> str:
        return f"masked/{self.modality}"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two modalities that are pulled together; `name` is `audio-image` in configs, logs and messages.

    Both may be one: then two views of each sample are pulled together, which needs nothing else beside it.

    Examples:
        >>> Pair("audio", "image", weight=2.0).name
        'audio-image'
        >>> Pair("imu", "imu").sides
        ('imu', 'imu@2')
    """

    a: Modality
    b: Modality
    weight: float = 1.0
    temperature: float = 0.07
    learn_temperature: bool = True

    @property
    def name(self) -> str:
        return f"{self.a}-{self.b}"

    @property
    def has_views(self) -> bool:
        """Whether its sides are two views of one modality."""
        return self.a == self.b

    @property
    def sides(self) -> tuple[Modality, Modality]:
        """What its two sides are called in a batch."""
        return self.a, second_view(self.b) if self.has_views else self.b
