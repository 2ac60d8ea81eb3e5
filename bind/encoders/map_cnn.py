"""A small convolutional encoder of maps of one quantity: depth, heat."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from bind.layers import ConvBlock2d, Pooling, make_pooling


class MapCNN(nn.Module):
    """Strided convolutions: (B, 1, H, W) standardised maps from 64 × 64 up → (B, num_features).

    Examples:
        >>> import torch
        >>> encoder = MapCNN().eval()
        >>> features_BF = encoder(torch.zeros(2, 1, 64, 80))
        >>> features_BF.shape == (2, encoder.num_features)
        True
    """

    def __init__(
        self, *, width: int = 24, num_layers: int = 4, dropout: float = 0.1, pool: Pooling = "mean_max"
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        in_width = 1
        for i in range(num_layers):
            out_width = width * min(2**i, 4)
            layers.append(ConvBlock2d(in_width, out_width, stride=2))
            in_width = out_width
        self.stem, self.trunk = layers[0], nn.Sequential(*layers[1:])
        self.pool, self.num_features = make_pooling(pool, in_width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_B1HW: Tensor) -> Tensor:
        if x_B1HW.ndim != 4 or x_B1HW.shape[1] != 1:
            raise ValueError(f"expected maps (B, 1, H, W), got {tuple(x_B1HW.shape)}")
        x_B1HW = x_B1HW.to(next(self.stem.parameters()).dtype)
        features_BF: Tensor = self.dropout(self.pool(self.trunk(self.stem(x_B1HW))))
        return features_BF

    def layers(self) -> Sequence[nn.Module]:
        """See `LayeredEncoder.layers`: the convolutions but the first."""
        return list(self.trunk)
