"""Transform of sound for CLAP: its log-mel of 10 s."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import ClapFeatureExtractor

from bind.data.transforms.pretrained.sound import ExtractedSound


class ClapTransform(ExtractedSound):
    """Sound → `input_features` (B, 1 or 4, frames, M) and `is_longer` (B, 1), always False.

    As `ClapFeatureExtractor`, which repeats shorter sounds to 10 s. Of longer ones it would take a random part, and of
    a batch without one it may mark a random sound as longer: windows are cut before, and none is marked.
    """

    extractor_class = ClapFeatureExtractor

    def longest_seconds(self) -> float:
        """As many as the extractor repeats to."""
        return float(self.extractor.max_length_s)

    def collate(self, items: list[Tensor]) -> dict[str, Tensor]:
        """B_m windows → log-mel of one length."""
        inputs = self.extract([x_T.numpy() for x_T in items])
        return {
            "input_features": inputs["input_features"].float(),
            "is_longer": torch.zeros(len(items), 1, dtype=torch.bool),
        }
