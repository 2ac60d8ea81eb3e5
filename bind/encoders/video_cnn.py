"""A small convolutional encoder of video clips."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from bind.layers import Pooling, make_group_norm, make_pooling


class VideoCNN(nn.Module):
    """Convolutions over time and space: (B, T, 3, H, W) frames from 0 to 255, uint8 or float → (B, num_features).

    `num_layers` 3 × 3 × 3 convolutions halve height and width and keep time, so that motion is seen between frames;
    pooling over time and space takes clips of any length and size from 64 × 64 up.
    """

    def __init__(
        self, *, width: int = 24, num_layers: int = 4, dropout: float = 0.1, pool: Pooling = "mean_max"
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        in_width = 3
        for i in range(num_layers):
            out_width = width * min(2**i, 4)
            layers += [
                nn.Conv3d(in_width, out_width, 3, stride=(1, 2, 2), padding=1, bias=False),
                make_group_norm(out_width),
                nn.SiLU(),
            ]
            in_width = out_width
        self.stem, self.trunk = nn.Sequential(*layers[:3]), nn.Sequential(*layers[3:])
        self.pool, self.num_features = make_pooling(pool, in_width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTCHW: Tensor) -> Tensor:
        if x_BTCHW.ndim != 5 or x_BTCHW.shape[2] != 3:
            raise ValueError(f"expected clips (B, T, 3, H, W), got {tuple(x_BTCHW.shape)}")
        x_BCTHW = (x_BTCHW.transpose(1, 2).float() / 127.5 - 1.0).to(next(self.stem.parameters()).dtype)
        features_BF: Tensor = self.dropout(self.pool(self.trunk(self.stem(x_BCTHW))))
        return features_BF

    def layers(self) -> Sequence[nn.Module]:
        """See `LayeredEncoder.layers`: the convolutions but the first, each with its norm."""
        return [self.trunk[i : i + 3] for i in range(0, len(self.trunk), 3)]
