"""Transform of sound for wav2vec 2.0 and models like it: the waveform."""

from __future__ import annotations

from torch import Tensor
from transformers import Wav2Vec2FeatureExtractor

from bind.data.transforms.pretrained.sound import ExtractedSound


class Wav2Vec2Transform(ExtractedSound):
    """Sound → `input_values` (B, T) and `attention_mask` (B, T), T = `window_seconds` at 16 kHz.

    As `Wav2Vec2FeatureExtractor` with `padding="max_length"`: standardised over the sound where its settings say so,
    with zeros behind it. Models without a mask would see how long the others of a batch are, so all have one length.
    """

    extractor_class = Wav2Vec2FeatureExtractor
    shortest_seconds = 0.025  # one token

    def collate(self, items: list[Tensor]) -> dict[str, Tensor]:
        """B_m windows → waveforms of one length, and where they are."""
        return self.extract(
            [x_T.numpy() for x_T in items],
            padding="max_length",
            max_length=self.num_extracted,
            return_attention_mask=True,
        )
