"""Transform of sound for the Audio Spectrogram Transformer: its filter bank of about 10 s."""

from __future__ import annotations

from transformers import ASTFeatureExtractor

from bind.data.transforms.pretrained.sound import ExtractedSound

FRAMES_PER_SECOND = 100


class AstTransform(ExtractedSound):
    """Sound → `input_values` (B, frames, M), as `ASTFeatureExtractor`: shorter sounds have zeros behind them."""

    extractor_class = ASTFeatureExtractor
    shortest_seconds = 0.025  # one frame

    def longest_seconds(self) -> float:
        """As many as the extractor has frames for."""
        return float(self.extractor.max_length / FRAMES_PER_SECOND)
