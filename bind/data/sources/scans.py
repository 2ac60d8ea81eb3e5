"""Source of real scans of handwritten digits with captions, for the toy anchor besides the toy world."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from bind.data.sources.content import hash_generated
from bind.data.sources.digits import DIGIT_WORDS, digit_captions, digit_image, digit_scans
from bind.types import Modality, Sample


class ScanSource:
    """Image and text of the 1,797 scans, with the split that the spoken digits use too; group = digit.

    Args:
        shift_px, rotation_degrees: largest shift and rotation of a training picture, drawn anew at every step.
        seed: of the split.
    """

    name = "scans"

    def __init__(self, *, shift_px: float = 4.0, rotation_degrees: float = 8.0, seed: int = 0) -> None:
        self.shift_px, self.rotation_degrees = shift_px, rotation_degrees
        self.fresh = frozenset({"image"})
        self._scans = {split: [s for s in digit_scans(seed) if s.split == split] for split in ("train", "val", "test")}
        empty: dict[Modality, tuple[Any, ...]] = {"image": (), "text": ()}
        self._samples = {
            split: [
                Sample(
                    f"scans/{scan.index:04d}",
                    split,
                    empty,
                    group=f"digit {scan.digit}",
                    owners=(f"scan:{scan.index:04d}",),
                    label=DIGIT_WORDS[scan.digit],
                )
                for scan in scans
            ]
            for split, scans in self._scans.items()
        }

    def modalities(self) -> tuple[Modality, ...]:
        """Image and text."""
        return ("image", "text")

    def samples(self, split: str) -> Sequence[Sample]:
        """The metadata of `train`, `val` or `test`."""
        if split not in self._samples:
            raise ValueError(f"the scans have the splits {list(self._samples)}, not {split!r}")
        return self._samples[split]

    def content_hash(self, split: str, modality: Modality) -> str:
        """See `bind.data.sources.content.hash_generated`."""
        return hash_generated(self, split, modality, *(scan.pixels.tobytes() for scan in self._scans[split]))

    def fetch(
        self,
        split: str,
        indices: Sequence[int],
        modalities: Sequence[Modality],
        rngs: Sequence[np.random.Generator] | None,
    ) -> list[dict[Modality, list[Any]]]:
        """Pictures (slightly moved where there are generators) and all captions of these scans."""
        fetched: list[dict[Modality, list[Any]]] = []
        for position, index in enumerate(indices):
            scan = self._scans[split][index]
            values: dict[Modality, list[Any]] = {}
            if "image" in modalities:
                values["image"] = [self._picture(scan.pixels, None if rngs is None else rngs[position])]
            if "text" in modalities:
                values["text"] = list(digit_captions(scan.digit))
            fetched.append(values)
        return fetched

    def _picture(self, pixels: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
        image = digit_image(pixels)
        if rng is None:
            return image
        degrees = rng.uniform(-self.rotation_degrees, self.rotation_degrees)
        shift = rng.uniform(-self.shift_px, self.shift_px, size=2).tolist()
        moved = Image.fromarray(image).rotate(
            degrees, resample=Image.Resampling.BILINEAR, translate=(shift[0], shift[1]), fillcolor=(255, 255, 255)
        )
        return np.asarray(moved)
