"""Transform of sound for Whisper: its log-mel, and where in it there is sound."""

from __future__ import annotations

import math

from torch import Tensor
from transformers import WhisperFeatureExtractor

from bind.data.transforms.pretrained.sound import ExtractedSound

FRAMES_PER_POSITION = 2


class WhisperTransform(ExtractedSound):
    """Sound → `input_features` (B, M, frames) and `attention_mask` (B, frames), 1 where there is sound.

    As `WhisperFeatureExtractor`, whose 30 s (or those of its settings) are cut to `window_seconds`: the first frames of
    the same values.
    """

    extractor_class = WhisperFeatureExtractor

    def longest_seconds(self) -> float:
        """As many as the extractor pads to."""
        return float(self.extractor.chunk_length)

    def collate(self, items: list[Tensor]) -> dict[str, Tensor]:
        """B_m windows → log-mel of one length, and its mask."""
        hop = self.extractor.hop_length
        num_frames = FRAMES_PER_POSITION * round(self.num_extracted / hop / FRAMES_PER_POSITION)
        # The extractor mirrors what is at the end of its input: silence, as in 30 s, or what lies beyond the cut.
        behind = math.ceil(self.extractor.n_fft / hop) * hop
        num_samples = min(self.extractor.n_samples, num_frames * hop + behind)
        inputs = self.extract([x_T.numpy() for x_T in items], max_length=num_samples, return_attention_mask=True)
        return {
            "input_features": inputs["input_features"][..., :num_frames].contiguous(),
            "attention_mask": inputs["attention_mask"][:, :num_frames].contiguous(),
        }
