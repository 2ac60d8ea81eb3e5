"""Transform of vectors that someone else's model made."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from bind.media.vectors import read_vector
from bind.types import Clip


class VectorTransform:
    """A vector, in a `.npy` file or in memory → float32 (`width`,), of unit length or as it is.

    Args:
        width: how many numbers a vector has; None: any, the same for all of a batch.
        unit_length: divide by the length, as models whose vectors are compared by their cosine do.

    Raises:
        ValueError: naming the file, where it holds no vector of this width, or NaN.

    Examples:
        >>> VectorTransform(width=2)([3.0, 4.0], None)
        tensor([0.6000, 0.8000])
        >>> VectorTransform(width=3)([3.0, 4.0], None)
        Traceback (most recent call last):
        ValueError: a vector in memory: it has 2 numbers instead of 3. Is it of another model?
    """

    def __init__(self, *, width: int | None = None, unit_length: bool = True) -> None:
        if width is not None and width < 1:
            raise ValueError(f"width={width}: give the number of values of a vector")
        self.width, self.unit_length = width, unit_length

    def __call__(self, value: Clip | np.ndarray | Any, rng: np.random.Generator | None) -> Tensor:
        vector = torch.from_numpy(read_vector(value, self.width))
        return torch.nn.functional.normalize(vector, dim=0) if self.unit_length else vector

    def collate(self, items: list[Tensor]) -> Tensor:
        """B_m vectors (V,) → (B_m, V); ValueError where they have several widths."""
        if len(widths := sorted({len(item) for item in items})) > 1:
            raise ValueError(f"vectors of {widths} numbers in one modality: are they of several models?")
        return torch.stack(items)
