"""A vision transformer encoder of maps of one quantity; ImageBind has such ones for depth and heat."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bind.layers import TransformerTrunk, hide_tokens


class MapViT(nn.Module):
    """Patches of standardised maps (B, 1, S, S), S = `size_px` → (B, width).

    ImageBind's: 224² in patches of 16, 12 layers; 384 wide with 8 heads for depth, 768 with 12 for heat. Source:
    Girdhar et al. 2023.

    Args:
        kv_bias: one more key and value per layer; ImageBind's published weights have it.
        stem_norm_eps: of the LayerNorm on the patches; 1e-5 in ImageBind.

    Raises:
        ValueError: patches do not fill the map, or maps of another size.
    """

    def __init__(
        self,
        *,
        size_px: int = 224,
        patch: int = 16,
        width: int = 384,
        num_layers: int = 12,
        num_heads: int = 8,
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        kv_bias: bool = False,
        stem_norm_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        if size_px % patch:
            raise ValueError(f"patch={patch} does not fill size_px={size_px}: change one of them")
        self.size_px, self.patch = size_px, patch
        self.num_features = self.num_token_features = width
        self.num_patch_values = patch**2
        self.stem = MapPatches(size_px, patch, width, stem_norm_eps)
        self.trunk = TransformerTrunk(
            width,
            num_layers=num_layers,
            num_heads=num_heads,
            mlp_ratio=mlp_ratio,
            dropout=dropout,
            drop_path=drop_path,
            kv_bias=kv_bias,
        )

    def forward(self, x_B1HW: Tensor) -> Tensor:
        features_BW: Tensor = self.trunk(self._patches(x_B1HW))
        return features_BW

    def tokens(self, x_B1HW: Tensor) -> tuple[Tensor, Tensor]:
        """See `TokenEncoder.tokens`: one token per patch, row by row."""
        return self.trunk.tokens(self._patches(x_B1HW))

    def patches(self, x_B1HW: Tensor) -> tuple[Tensor, Tensor]:
        """See `MaskedEncoder.patches`: the pixels of a patch, row by row; all are there."""
        x_BHPWP = self._checked(x_B1HW)[:, 0].unflatten(2, (-1, self.patch)).unflatten(1, (-1, self.patch))
        patches_BLP = x_BHPWP.transpose(2, 3).flatten(3).flatten(1, 2)
        return patches_BLP, patches_BLP.new_ones(patches_BLP.shape[:2], dtype=torch.bool)

    def masked_tokens(self, x_B1HW: Tensor, is_masked_BL: Tensor, mask_token_W: Tensor) -> tuple[Tensor, Tensor]:
        """See `MaskedEncoder.masked_tokens`."""
        return self.trunk.tokens(self.stem(self._checked(x_B1HW), is_masked_BL, mask_token_W))

    def layers(self) -> Sequence[nn.Module]:
        """See `LayeredEncoder.layers`: the transformer's."""
        return list(self.trunk.layers)

    def _patches(self, x_B1HW: Tensor) -> Tensor:
        patches_BLW: Tensor = self.stem(self._checked(x_B1HW))
        return patches_BLW

    def _checked(self, x_B1HW: Tensor) -> Tensor:
        if x_B1HW.shape[1:] != (1, self.size_px, self.size_px):
            raise ValueError(
                f"expected maps (B, 1, {self.size_px}, {self.size_px}), got {tuple(x_B1HW.shape)}: give the transform "
                "the same size_px"
            )
        return x_B1HW


class MapPatches(nn.Module):
    """(B, 1, S, S) → one token per patch, with its learned position: (B, L, width)."""

    def __init__(self, size_px: int, patch: int, width: int, norm_eps: float) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, patch, stride=patch, bias=False)
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        self.positions_LW = nn.Parameter(torch.zeros((size_px // patch) ** 2, width))
        nn.init.trunc_normal_(self.positions_LW, std=0.02)

    def forward(self, x_B1HW: Tensor, is_masked_BL: Tensor | None = None, mask_token_W: Tensor | None = None) -> Tensor:
        x_BLW = self.patches(x_B1HW.to(self.patches.weight.dtype)).flatten(2).transpose(1, 2)
        return hide_tokens(self.norm(x_BLW), is_masked_BL, mask_token_W) + self.positions_LW
