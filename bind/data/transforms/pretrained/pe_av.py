"""Transform of sound for Perception Encoder Audiovisual: the waveform at 48 kHz."""

from __future__ import annotations

from torch import Tensor
from transformers import PeAudioFeatureExtractor

from bind.data.transforms.pretrained.sound import ExtractedSound


class PeAvTransform(ExtractedSound):
    """Sound → `input_values` (B, 1, T) and `padding_mask` (B, T), T = `window_seconds` at 48 kHz.

    As `PeAudioFeatureExtractor` with `padding="max_length"`: its first convolutions would see how long the others of a
    batch are, so all have one length.
    """

    extractor_class = PeAudioFeatureExtractor
    shortest_seconds = 0.04  # one token

    def collate(self, items: list[Tensor]) -> dict[str, Tensor]:
        """B_m windows → waveforms of one length, and where they are."""
        hop = self.extractor.hop_length
        num_samples = -(-self.num_extracted // hop) * hop
        return self.extract([x_T.numpy() for x_T in items], padding="max_length", max_length=num_samples)
