"""A transformer encoder of motion that takes any channels: a token per channel and patch of time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bind.layers import TransformerTrunk, hide_tokens

SIZES = {"quantity": 64, "axis": 8, "side": 4, "part": 64, "number": 8}
"""Rows of the tables of meanings, in the order of `ChannelMeaning.ids`; more than there are now, for those to come."""
GAIN = 8.0
"""Coefficients are multiplied by it before asinh: of 1 (gravity) and of 0.02 (someone who sits) both leave a trace."""
MEANING_GAIN = 10.0
"""Of the tables of meanings, which begin at zero: they have to tell channels apart within the first hundred steps."""


class ChannelsTransformer(nn.Module):
    """Channels as they come: what `bind.data.transforms.channels.ChannelsTransform` collates → (B, num_features).

    Every patch of every channel is a token: its cosine coefficients, how many of them its rate holds, and an embedding
    of what the channel measures (quantity, axis, side, part of the body, number), of which any may be missing. A row's
    features do not depend on the order of its channels, nor on channels that are not there. What training never saw,
    such as a part of the body, has the embedding 0, as if it had no name.

    Args:
        num_coefficients: K, of a patch.
        window_seconds, patch_seconds: longest window, and time of a token, as in the transform.

    Raises:
        ValueError: inputs of another transform, another number of coefficients, or more patches than the window has.

    Examples:
        >>> encoder = ChannelsTransformer(width=32, num_layers=1, num_heads=2).eval()
        >>> inputs = {  # two rows, the second without its third channel
        ...     "coefficients": torch.ones(2, 3, 10, 16),
        ...     "channels": torch.zeros(2, 3, 5, dtype=torch.long),
        ...     "num_held": torch.full((2, 3), 16),
        ...     "is_present": torch.tensor([[True, True, True], [True, True, False]]),
        ... }
        >>> encoder(inputs).shape == (2, encoder.num_features)
        True
    """

    def __init__(
        self,
        *,
        num_coefficients: int = 16,
        window_seconds: float = 2.0,
        patch_seconds: float = 0.2,
        width: int = 64,
        num_layers: int = 2,
        num_heads: int = 4,
        mlp_ratio: float = 2.0,
        drop_path: float = 0.0,
        feature_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.num_patches = round(window_seconds / patch_seconds)
        self.num_coefficients = num_coefficients
        self.num_features, self.num_token_features = 2 * width, width
        self.num_patch_values = num_coefficients
        self.stem = ChannelPatches(num_coefficients, self.num_patches, width)
        self.trunk = TransformerTrunk(
            width, num_layers=num_layers, num_heads=num_heads, mlp_ratio=mlp_ratio, drop_path=drop_path
        )
        self.dropout = nn.Dropout(feature_dropout)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        tokens_BLW, is_present_BL = self._patches(inputs)
        out_BLW = self.trunk.class_and_tokens(tokens_BLW, is_present_BL)
        weights_BL = is_present_BL.to(out_BLW.dtype)
        mean_BW = torch.einsum("bl,blw->bw", weights_BL / weights_BL.sum(dim=1, keepdim=True), out_BLW[:, 1:])
        features_BF: Tensor = self.dropout(torch.cat([out_BLW[:, 0], mean_BW], dim=1))
        return features_BF

    def tokens(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """See `TokenEncoder.tokens`: one token per channel and patch, a channel after the other."""
        return self.trunk.tokens(*self._patches(inputs))

    def patches(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """See `MaskedEncoder.patches`: the coefficients of a channel's patch, as the stem scales them."""
        coefficients_BCPK = self._checked(inputs)["coefficients"]
        # Unscaled, that of gravity would be all that a patch has.
        return scale_coefficients(coefficients_BCPK.float()).flatten(1, 2), self._is_there(inputs)

    def masked_tokens(
        self, inputs: dict[str, Tensor], is_masked_BL: Tensor, mask_token_W: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `MaskedEncoder.masked_tokens`."""
        return self.trunk.tokens(*self._patches(inputs, is_masked_BL, mask_token_W))

    def layers(self) -> Sequence[nn.Module]:
        """See `LayeredEncoder.layers`: the transformer's."""
        return list(self.trunk.layers)

    def _patches(
        self, inputs: dict[str, Tensor], is_masked_BL: Tensor | None = None, mask_token_W: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Tokens (B, C · P, width) and which of them are there."""
        x = self._checked(inputs)
        if is_masked_BL is not None:
            is_masked_BL = is_masked_BL.unflatten(1, x["coefficients"].shape[1:3])
        tokens_BCPW = self.stem(x["coefficients"], x["channels"], x["num_held"], is_masked_BL, mask_token_W)
        return tokens_BCPW.flatten(1, 2), self._is_there(x)

    def _is_there(self, inputs: dict[str, Tensor]) -> Tensor:
        """Bool (B, C · P)."""
        return inputs["is_present"].repeat_interleave(inputs["coefficients"].shape[2], dim=1)

    def _checked(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        if not isinstance(inputs, dict) or "coefficients" not in inputs:
            raise ValueError("encoder/imu=channels takes what transform/imu=channels gives: choose both")
        num_patches, num_coefficients = inputs["coefficients"].shape[2:]
        if num_coefficients != self.num_coefficients or num_patches > self.num_patches:
            raise ValueError(
                f"expected up to {self.num_patches} patches of {self.num_coefficients} coefficients, got {num_patches} "
                f"of {num_coefficients}: give transform.imu and encoder.imu the same sizes"
            )
        return inputs


def scale_coefficients(x_BCPK: Tensor) -> Tensor:
    return torch.asinh(GAIN * x_BCPK)


class ChannelPatches(nn.Module):
    """Patches of channels (B, C, P, K), their meanings (B, C, 5) and coefficients held (B, C) → (B, C, P, width)."""

    def __init__(self, num_coefficients: int, num_patches: int, width: int) -> None:
        super().__init__()
        self.num_coefficients = num_coefficients
        self.embed = nn.Linear(num_coefficients + 2, width)
        tables = {name: nn.Embedding(size, 2 * width) for name, size in SIZES.items()}
        for table in tables.values():
            nn.init.zeros_(table.weight)  # what training never sees stays without effect
        self.meanings = nn.ModuleDict(tables)
        self.positions_PW = nn.Parameter(torch.zeros(num_patches, width))
        nn.init.trunc_normal_(self.positions_PW, std=0.02)
        self.mlp = nn.Sequential(nn.GELU(), nn.Linear(width, width))

    def forward(
        self,
        coefficients_BCPK: Tensor,
        channels_BC5: Tensor,
        num_held_BC: Tensor,
        is_masked_BCP: Tensor | None = None,
        mask_token_W: Tensor | None = None,
    ) -> Tensor:
        x_BCPK = coefficients_BCPK.float()
        # Rates differ in how many coefficients they hold, so the power is of what most hold.
        power_BCP1 = x_BCPK[..., 1:].square().sum(dim=-1, keepdim=True).add(1e-8).log() / 4
        held_BCP1 = (num_held_BC / self.num_coefficients)[..., None, None].expand_as(power_BCP1)
        x_BCPF = torch.cat([scale_coefficients(x_BCPK), power_BCP1, held_BCP1], dim=-1)
        meaning_BCF = sum(table(channels_BC5[..., i]) for i, table in enumerate(self.meanings.values()))
        # A meaning scales what it describes too: gravity along x and along z say different things of a body.
        scale_BC1W, shift_BC1W = (MEANING_GAIN * meaning_BCF)[:, :, None].chunk(2, dim=-1)
        place_BCPW = shift_BC1W + self.positions_PW[: x_BCPF.shape[2]]
        x_BCPW = hide_tokens(self.embed(x_BCPF.to(self.embed.weight.dtype)), is_masked_BCP, mask_token_W)
        x_BCPW = x_BCPW * (1 + scale_BC1W)
        tokens_BCPW: Tensor = self.mlp(x_BCPW + place_BCPW) + place_BCPW
        return tokens_BCPW
