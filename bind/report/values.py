"""The values behind the vectors of an embedded split, ready to be drawn."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from bind.data.transforms.audio import AudioTransform
from bind.data.transforms.channels import ChannelsTransform
from bind.evaluation.embedded import EmbeddedSplit
from bind.media.kinds import ARRAY_SUFFIXES
from bind.media.pictures import open_image
from bind.report.media import MissingValue
from bind.report.sample_words import call_sample, list_facts
from bind.report.style import DEPTH, coloured
from bind.types import Clip, Modality, Sample, SensorRecording, Source, StoredVector, Transform, Waveform

LARGEST_PICTURE_PX = 224
SHOWN_SECONDS = 5.0
"""Of a sound whose transform gives no window of it."""


class SplitValues:
    """The values behind the vectors of an embedded split; `transforms` read those that lie in files."""

    def __init__(
        self,
        split: EmbeddedSplit,
        sources: Sequence[Source],
        split_name: str,
        transforms: Mapping[Modality, Transform],
    ) -> None:
        self.split, self.split_name, self.transforms = split, split_name, transforms
        self.places = [(s, i) for s in sources for i in range(len(s.samples(split_name)))]

    def sample(self, row: int) -> Sample:
        """The metadata of a sample of the split."""
        source, index = self.places[row]
        return source.samples(self.split_name)[index]

    def source_name(self, row: int) -> str:
        return self.places[row][0].name

    def caption(self, row: int) -> str:
        """A few words for a sample: its group, label or key."""
        return call_sample(self.sample(row))

    def facts(self, modality: Modality, position: int) -> list[str]:
        """What a value is known by, see `list_facts`; of one that several samples share, the number of the others."""
        row = int(self.split.rows[modality][position])
        values = self.sample(row).values.get(modality, ())
        number = position - int(torch.searchsorted(self.split.rows[modality], row))
        ids = self.split.value_ids.get(modality)
        num_others = 0 if ids is None else int((ids == ids[position]).sum()) - 1
        value = values[number] if number < len(values) else None
        return list_facts(self.sample(row), self.places[row][0], value, num_others)

    def fetch(self, modality: Modality, positions: Sequence[int]) -> list[Any]:
        """The drawable values behind these vectors of a modality, see `drawable_or_missing`."""
        return [drawable_or_missing(modality, v, self.transforms) for v in self.fetch_values(modality, positions)]

    def fetch_values(self, modality: Modality, positions: Sequence[int]) -> list[Any]:
        """The values behind these vectors of a modality, as the sources give them."""
        rows = self.split.rows[modality]
        positions_n = torch.as_tensor(positions, dtype=torch.long)
        sample_rows = rows[positions_n]
        # Several captions are several vectors: neighbours, in the order of the sample's values.
        numbers = (positions_n - torch.searchsorted(rows, sample_rows)).tolist()
        of_source: dict[int, list[int]] = defaultdict(list)
        for order, row in enumerate(sample_rows.tolist()):
            of_source[id(self.places[row][0])].append(order)
        values: list[Any] = [None] * len(numbers)
        for orders in of_source.values():
            places = [self.places[int(sample_rows[order])] for order in orders]
            fetched = places[0][0].fetch(self.split_name, [index for _, index in places], [modality], None)
            for order, of_sample in zip(orders, fetched, strict=True):
                values[order] = of_sample[modality][numbers[order]]
        return values


def drawable_or_missing(modality: Modality, value: Any, transforms: Mapping[Modality, Transform]) -> Any:
    """`drawable`, or why there is none: a page still opens where a file is gone since its vector was cached."""
    try:
        return drawable(modality, value, transforms)
    except (ValueError, OSError) as error:
        return MissingValue(str(error))


def drawable(modality: Modality, value: Any, transforms: Mapping[Modality, Transform]) -> Any:
    """A value that can be drawn: recordings on disk are read as the encoder gets them, the first clip of several.

    A value without a drawing becomes a few words.
    """
    if isinstance(value, StoredVector):
        return f"a vector of {len(value.values)} numbers"
    is_array = isinstance(value, Clip) and value.path.suffix.lower() in ARRAY_SUFFIXES  # a vector, not a picture
    if modality == "image" and not is_array:
        picture = open_image(value)
        picture.thumbnail((LARGEST_PICTURE_PX, LARGEST_PICTURE_PX))
        return np.asarray(picture)
    if not isinstance(value, Clip):
        known = isinstance(value, (str, Waveform, SensorRecording)) or (
            isinstance(value, np.ndarray) and value.ndim == 2 and np.issubdtype(value.dtype, np.floating)
        )
        return value if known else f"a {type(value).__name__}"
    transform = transforms[modality]
    if isinstance(transform, ChannelsTransform):
        return transform.read_window(value)
    x = transform(value, None)
    x = x[0] if isinstance(x, list) else x
    if not isinstance(x, torch.Tensor):
        return str(value)
    rate = getattr(transform, "sample_rate_hz", None)
    channels, units = getattr(transform, "channels", None), getattr(transform, "units", None)
    if rate and x.ndim == 1:
        return Waveform(x.numpy(), rate)
    if rate and x.ndim == 4:  # spectrograms of an anchor's windows: what is heard is the sound
        window = AudioTransform(sample_rate_hz=rate, window_seconds=SHOWN_SECONDS)(value, None)
        assert isinstance(window, torch.Tensor)
        return Waveform(window.numpy(), rate)
    if rate and channels and x.ndim == 2:
        return SensorRecording(x.T.numpy(), rate, tuple(channels), tuple(units or ("",) * len(channels)))
    if x.dtype == torch.uint8 and x.ndim == 4 and x.shape[1] == 3:
        return x[len(x) // 2].permute(1, 2, 0).numpy()  # the middle frame of a video
    if x.ndim == 3 and len(x) == 1:
        x_HW = x[0].float()
        return coloured(((x_HW - x_HW.min()) / (x_HW.max() - x_HW.min()).clamp_min(1e-9)).numpy(), DEPTH)
    return str(value)
