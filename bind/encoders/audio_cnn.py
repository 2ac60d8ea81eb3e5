"""A small convolutional encoder of sound: the default on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from bind.encoders.mel import LogMel, SpecAugment
from bind.layers import ConvBlock1d, ConvBlock2d, Pooling, make_pooling


class AudioCNN(nn.Module):
    """Log-mel convolutions, then convolutions along time: (B, T) mono samples in [-1, 1] → (B, num_features).

    `num_layers` 3×3 convolutions halve time and frequency at each of the first two and frequency alone after that,
    doubling the width up to `4 * width`. The bands that are left become channels, so that pitch is kept; dilated
    convolutions read the rhythm and pooling over time forgets when a sound began. Clips of any length from one window
    on, at `sample_rate_hz`.

    Examples:
        >>> import torch
        >>> encoder = AudioCNN(sample_rate_hz=16000).eval()
        >>> features_BF = encoder(torch.zeros(2, 8000))  # two clips of half a second
        >>> features_BF.shape == (2, encoder.num_features)
        True
    """

    def __init__(
        self,
        *,
        sample_rate_hz: int,
        num_mels: int = 64,
        window_ms: float = 25.0,
        hop_ms: float = 10.0,
        per_clip: bool = True,
        width: int = 16,
        num_layers: int = 4,
        time_width: int = 128,
        num_time_layers: int = 2,
        dropout: float = 0.1,
        pool: Pooling = "mean_max",
        num_time_masks: int = 1,
        max_time_share: float = 0.1,
        num_mel_masks: int = 1,
        max_mel_share: float = 0.1,
    ) -> None:
        super().__init__()
        self.mel = LogMel(sample_rate_hz, num_mels=num_mels, window_ms=window_ms, hop_ms=hop_ms, per_clip=per_clip)
        self.augment = SpecAugment(
            num_time_masks=num_time_masks,
            max_time_share=max_time_share,
            num_mel_masks=num_mel_masks,
            max_mel_share=max_mel_share,
        )
        layers: list[nn.Module] = []
        in_width, num_bands = 1, num_mels
        for i in range(num_layers):
            out_width = width * min(2**i, 4)
            layers.append(ConvBlock2d(in_width, out_width, stride=(2, 2 if i < 2 else 1)))
            in_width, num_bands = out_width, (num_bands + 1) // 2
        layers += [nn.Flatten(1, 2), ConvBlock1d(in_width * num_bands, time_width, kernel=1)]
        self.stem = nn.Sequential(*layers)
        self.trunk = nn.Sequential(
            *(ConvBlock1d(time_width, time_width, kernel=3, dilation=2**i) for i in range(num_time_layers))
        )
        self.pool, self.num_features = make_pooling(pool, time_width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, wave_BT: Tensor) -> Tensor:
        mel_BMT = self.augment(self.mel(wave_BT))
        x_BCT = self.stem(mel_BMT[:, None].to(next(self.stem.parameters()).dtype))
        features_BF: Tensor = self.dropout(self.pool(self.trunk(x_BCT)))
        return features_BF

    def layers(self) -> Sequence[nn.Module]:
        """See `LayeredEncoder.layers`: the convolutions along time."""
        return list(self.trunk)
