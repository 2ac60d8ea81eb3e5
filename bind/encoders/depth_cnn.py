"""A small convolutional trunk for depth maps."""

from __future__ import annotations

from torch import Tensor, nn

from bind.encoders.blocks import ConvBlock2d, Pooling, pooling


class DepthCNN(nn.Module):
    """Strided convolutions: (B, 1, H, W) depth in metres or disparity, from 64 × 64 up → (B, num_features).

    The map is standardised with the fixed `mean` and `std` of its unit (ImageBind's disparity: 0.0418 and 0.0295).
    """

    def __init__(
        self,
        width: int = 24,
        num_layers: int = 4,
        dropout: float = 0.1,
        mean: float = 0.0,
        std: float = 1.0,
        pool: Pooling = "mean_max",
    ) -> None:
        super().__init__()
        self.mean = mean
        self.std = std
        layers: list[nn.Module] = []
        in_width = 1
        for i in range(num_layers):
            out_width = width * min(2**i, 4)
            layers.append(ConvBlock2d(in_width, out_width, stride=2))
            in_width = out_width
        self.convs = nn.Sequential(*layers)
        self.pool, self.num_features = pooling(pool, in_width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, depth_B1HW: Tensor) -> Tensor:
        if depth_B1HW.ndim != 4 or depth_B1HW.shape[1] != 1:
            raise ValueError(f"expected depth maps (B, 1, H, W), got {tuple(depth_B1HW.shape)}")
        x_B1HW = (depth_B1HW.float() - self.mean) / self.std
        return self.dropout(self.pool(self.convs(x_B1HW.to(next(self.convs.parameters()).dtype))))
