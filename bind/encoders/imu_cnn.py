"""A small convolutional encoder of motion: the default on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bind.layers import ConvBlock1d, Pooling, make_pooling


class ImuCNN(nn.Module):
    """Convolutions along time: (B, num_channels, T) sensor windows at any rate → (B, num_features).

    Expects SI-like units, acceleration in g or m/s² and angular velocity in rad/s; `channel_scales` divides each
    channel, and asinh then tames impacts without losing small motion. With `magnitudes` the length of every three
    consecutive channels joins them: it does not change when the sensor is mounted at another angle. GroupNorm hides
    amplitude, so each channel's mean and log standard deviation go to the features directly.

    Raises:
        ValueError: channel counts that do not fit, or a window shorter than 2 steps.

    Examples:
        >>> encoder = ImuCNN(channel_scales=[9.81] * 3 + [1.0] * 3).eval()  # acceleration in m/s², then rad/s
        >>> features_BF = encoder(torch.zeros(2, 6, 100))  # two windows of a second at 100 Hz
        >>> features_BF.shape == (2, encoder.num_features)
        True
    """

    scales_C1: Tensor

    def __init__(
        self,
        *,
        num_channels: int = 6,
        width: int = 48,
        num_layers: int = 4,
        kernel: int = 7,
        dropout: float = 0.1,
        channel_scales: Sequence[float] | None = None,
        magnitudes: bool = True,
        pool: Pooling = "mean_max",
    ) -> None:
        super().__init__()
        if magnitudes and num_channels % 3:
            raise ValueError(
                f"magnitudes need channels in threes (x, y, z), got num_channels={num_channels}: set magnitudes=false"
            )
        scales = list(channel_scales) if channel_scales is not None else [1.0] * num_channels
        if len(scales) != num_channels or min(scales) <= 0:
            raise ValueError(f"channel_scales needs {num_channels} positive numbers, got {scales}")
        self.num_channels = num_channels
        self.magnitudes = magnitudes
        self.register_buffer("scales_C1", torch.tensor(scales).unsqueeze(-1), persistent=False)
        in_width = num_channels + (num_channels // 3 if magnitudes else 0)
        num_statistics = 2 * in_width
        layers: list[nn.Module] = []
        for i in range(num_layers):
            out_width = width * min(2**i, 4)
            layers.append(ConvBlock1d(in_width, out_width, kernel if i == 0 else 5, stride=2 if i < 3 else 1))
            in_width = out_width
        self.stem, self.trunk = layers[0], nn.Sequential(*layers[1:])
        self.pool, num_pooled = make_pooling(pool, in_width)
        self.num_features = num_pooled + num_statistics
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BCT: Tensor) -> Tensor:
        if x_BCT.ndim != 3 or x_BCT.shape[1] != self.num_channels or x_BCT.shape[2] < 2:
            raise ValueError(
                f"expected sensor windows (B, {self.num_channels}, T) with T >= 2, got {tuple(x_BCT.shape)}: "
                f"channels come before time; set encoder.imu.num_channels for another sensor"
            )
        x_BCT = x_BCT.float() / self.scales_C1.float()
        if self.magnitudes:
            lengths = x_BCT.unflatten(1, (-1, 3)).square().sum(dim=2).add(1e-12).sqrt()
            x_BCT = torch.cat([x_BCT, lengths], dim=1)
        x_BCT = torch.asinh(x_BCT)
        mean_BC = x_BCT.mean(dim=-1)
        log_std_BC = 0.5 * ((x_BCT - mean_BC[..., None]).square().mean(dim=-1) + 1e-6).log()
        x_BWT = self.trunk(self.stem(x_BCT.to(self.scales_C1.dtype)))
        pooled_BF = self.dropout(self.pool(x_BWT))
        return torch.cat([pooled_BF, mean_BC.to(pooled_BF), log_std_BC.to(pooled_BF)], dim=-1)

    def layers(self) -> Sequence[nn.Module]:
        """See `LayeredEncoder.layers`: the convolutions but the first."""
        return list(self.trunk)
