"""The anchor's image tower as an encoder of another modality: a copy with a stem and positions for the other input."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from bind.encoders.heads import ProjectionHead
from bind.encoders.mel import KaldiFbank, SpecAugment
from bind.encoders.pretrained.encoder import PretrainedEncoder
from bind.encoders.pretrained.loading import load_trunk
from bind.encoders.pretrained.vision import longest_list, width_of

Tower = tuple[nn.Module, nn.Module | None]
"""What `TowerOwner.image_tower` gives: the tower, and the projection of its pooled output."""


class AnchorTower(PretrainedEncoder):
    """A copy of the anchor's image tower over pictures of any channels and sides: (B, C, H, W) → its pooled (B, F).

    Towers of CLIP, SigLIP, AltCLIP and Chinese-CLIP, and the toy anchor's ConvNeXt. Positions are resized to the grid
    of the pictures' patches. Where these have other channels than three, all get the same kernel, so that a picture of
    equal channels gives the same patches as before. A head without norm, of the size of the tower's projection, starts
    as that: the encoder then begins as the image tower itself.

    The three below take the inputs of a modality. Source: LanguageBind (Zhu et al. 2023), whose encoders are copies of
    CLIP's.

    Args:
        num_channels: C.
        sides: H and W.
        tower: of the anchor; a Binder hands it over when its parts are put together.
        architecture: of the tower in place of it: random weights, for a saved binder to fill.

    Raises:
        ValueError: for a tower of another kind, or pictures that are smaller than a patch.
    """

    def __init__(
        self,
        *,
        num_channels: int,
        sides: tuple[int, int],
        tower: Tower | None = None,
        architecture: Mapping[str, Any] | None = None,
    ) -> None:
        if tower is None and architecture is None:
            raise ValueError("anchor_tower copies a tower: build it within a Binder, or give it an architecture")
        trunk: Any = load_trunk(None, architecture, parts=None) if tower is None else copy.deepcopy(tower[0])
        stem = make_stem(trunk, num_channels, sides)
        trunk.embeddings = AsGiven()
        trunk.requires_grad_(True)
        super().__init__(trunk, width_of(trunk))
        self.stem = stem.requires_grad_(True)
        self.num_channels, self.sides = num_channels, tuple(sides)
        projection: Any = None if tower is None else tower[1]
        self._projection = None if projection is None else projection.weight.detach().clone()

    def forward(self, x: Tensor) -> Tensor:
        picture_BCHW = self.picture(x)
        if picture_BCHW.ndim != 4 or picture_BCHW.shape[1:] != (self.num_channels, *self.sides):
            raise ValueError(
                f"expected pictures (B, {self.num_channels}, {self.sides[0]}, {self.sides[1]}), got "
                f"{tuple(picture_BCHW.shape)}: give transform and encoder the same sizes"
            )
        features_BF: Tensor = self.trunk(self.stem(picture_BCHW)).pooler_output
        return features_BF.flatten(1)

    def picture(self, x: Tensor) -> Tensor:
        """The picture (B, C, H, W) of an input; here the input itself."""
        return x

    def layers(self) -> Sequence[nn.Module]:
        """See `LayeredEncoder.layers`: the tower's layers, of ConvNeXt its stages."""
        return longest_list(self.trunk)

    def saved_arguments(self) -> dict[str, Any]:
        """See `LoadedPart.saved_arguments`: with the architecture no tower is needed."""
        return {"architecture": super().saved_arguments()["architecture"]}

    def start_head(self, head: nn.Module) -> None:
        """See `HeadStarter.start_head`: a single linear layer without norm begins as the tower's projection."""
        if self._projection is None or not isinstance(head, ProjectionHead) or not isinstance(head.project, nn.Linear):
            return
        if isinstance(head.norm, nn.Identity) and head.project.weight.shape == self._projection.shape:
            with torch.no_grad():
                head.project.weight.copy_(self._projection)


class MapTower(AnchorTower):
    """The anchor's image tower over depth maps and thermal pictures: (B, 1, S, S), S = `size_px`."""

    def __init__(
        self, *, size_px: int = 224, tower: Tower | None = None, architecture: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(num_channels=1, sides=(size_px, size_px), tower=tower, architecture=architecture)


class AudioTower(AnchorTower):
    """The anchor's image tower over Kaldi filter banks: (B, T) mono samples in [-1, 1] at `sample_rate_hz`.

    Bands are the picture's rows, frames of 10 ms its columns.

    Args:
        window_seconds: of every clip.
        mean: of the filter bank's values, subtracted.
        std: of the filter bank's values, divided by.
    """

    def __init__(
        self,
        *,
        sample_rate_hz: int = 16_000,
        window_seconds: float = 2.0,
        num_mels: int = 128,
        mean: float = -4.268,
        std: float = 4.569,
        num_time_masks: int = 1,
        max_time_share: float = 0.1,
        num_mel_masks: int = 1,
        max_mel_share: float = 0.1,
        tower: Tower | None = None,
        architecture: Mapping[str, Any] | None = None,
    ) -> None:
        fbank = KaldiFbank(sample_rate_hz, num_mels=num_mels, mean=mean, std=std)
        num_frames = fbank.num_frames(round(sample_rate_hz * window_seconds))
        super().__init__(num_channels=1, sides=(num_mels, num_frames), tower=tower, architecture=architecture)
        self.fbank = fbank
        self.augment = SpecAugment(
            num_time_masks=num_time_masks,
            max_time_share=max_time_share,
            num_mel_masks=num_mel_masks,
            max_mel_share=max_mel_share,
        )

    def picture(self, x: Tensor) -> Tensor:
        """The filter bank (B, 1, M, T)."""
        mel_BMT: Tensor = self.augment(self.fbank(x))
        return mel_BMT[:, None]


class ImuTower(AnchorTower):
    """The anchor's image tower over spectrograms of sensors: (B, num_channels, T) windows.

    Each channel's log power spectrogram, standardised over the window and resized to pictures of `size_px`, is a
    channel of the picture; frequencies are its rows.

    Args:
        fft_steps: steps under one spectrum.
        hop_steps: steps from one spectrum to the next.
        size_px: side of the pictures; that of the tower's own pictures needs no resized positions.
    """

    def __init__(
        self,
        *,
        num_channels: int = 6,
        fft_steps: int = 64,
        hop_steps: int = 4,
        size_px: int = 224,
        tower: Tower | None = None,
        architecture: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(num_channels=num_channels, sides=(size_px, size_px), tower=tower, architecture=architecture)
        self.fft_steps, self.hop_steps = fft_steps, hop_steps

    def picture(self, x: Tensor) -> Tensor:
        """The spectrograms (B, C, S, S)."""
        if x.ndim != 3 or x.shape[1] != self.num_channels or x.shape[2] < self.fft_steps:
            raise ValueError(
                f"expected sensor windows (B, {self.num_channels}, T) of at least fft_steps={self.fft_steps}, got "
                f"{tuple(x.shape)}: cut longer windows, or lower fft_steps"
            )
        with torch.autocast(x.device.type, enabled=False):
            window = torch.hann_window(self.fft_steps, device=x.device)
            frames_BCTW = x.float().unfold(-1, self.fft_steps, self.hop_steps) * window
            power_BCFT = torch.fft.rfft(frames_BCTW).abs().square().transpose(2, 3)
            log_BCFT = power_BCFT.clamp_min(1e-6).log()
            mean = log_BCFT.mean(dim=(1, 2, 3), keepdim=True)
            std = log_BCFT.std(dim=(1, 2, 3), keepdim=True).clamp_min(1e-3)
            return interpolate((log_BCFT - mean) / std, size=self.sides, mode="bilinear", align_corners=False)


class AsGiven(nn.Module):
    """The place of a tower's embeddings, which are given to it ready made."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return x


class PictureTokens(nn.Module):
    """(B, C, H, W) → a token per patch with its position, behind the class token where the tower has one."""

    def __init__(self, patches: nn.Conv2d, class_token_W: Tensor | None, positions_LW: Tensor) -> None:
        super().__init__()
        self.patches = patches
        self.class_token_W = None if class_token_W is None else nn.Parameter(class_token_W.detach().clone())
        self.positions_LW = nn.Parameter(positions_LW.detach().clone())

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BLW = self.patches(x_BCHW.to(self.patches.weight.dtype)).flatten(2).transpose(1, 2)
        if self.class_token_W is not None:
            tokens_KW = self.class_token_W.view(-1, x_BLW.shape[-1])  # several are those of the frames of a video
            x_BLW = torch.cat([tokens_KW.repeat(len(x_BLW) // len(tokens_KW), 1)[:, None], x_BLW], dim=1)
        tokens_BLW: Tensor = x_BLW + self.positions_LW
        return tokens_BLW


def make_stem(tower: Any, num_channels: int, sides: tuple[int, int]) -> nn.Module:
    """The embeddings of a tower for pictures of other channels and sides.

    Raises:
        ValueError: for a tower of another kind, or pictures that are smaller than a patch.
    """
    embeddings: Any = getattr(tower, "embeddings", None)
    patches = getattr(embeddings, "patch_embedding", None)
    if isinstance(patches, nn.Conv2d) and isinstance(getattr(embeddings, "position_embedding", None), nn.Embedding):
        class_token = getattr(embeddings, "class_embedding", None)
        positions = embeddings.position_embedding.weight
        sizes = zip(sides, patches.kernel_size, patches.stride, strict=True)
        grid = [(side - kernel) // step + 1 for side, kernel, step in sizes]
        _require_patches(grid, sides, patches)
        num_special = 0 if class_token is None else 1
        resized = resize_positions(positions[num_special:], (grid[0], grid[1]))
        return PictureTokens(
            adapt_kernels(patches, num_channels), class_token, torch.cat([positions[:num_special], resized])
        )
    patches = getattr(embeddings, "patch_embeddings", None)
    if getattr(tower.config, "model_type", None) == "convnext" and isinstance(patches, nn.Conv2d):
        _require_patches([side // 2**5 for side in sides], sides, patches)
        return nn.Sequential(adapt_kernels(patches, num_channels), copy.deepcopy(embeddings.layernorm))
    raise ValueError(
        f"anchor_tower can't copy a {type(tower).__name__}: it knows the image towers of CLIP, SigLIP, AltCLIP and "
        "Chinese-CLIP, and the toy anchor's; choose such an anchor, or another encoder"
    )


def _require_patches(grid: Sequence[int], sides: tuple[int, int], patches: nn.Conv2d) -> None:
    if min(grid) < 1:
        raise ValueError(
            f"pictures of {sides[0]} × {sides[1]} are smaller than what the tower looks at, patches of "
            f"{patches.kernel_size[0]}: raise size_px, num_mels or window_seconds"
        )


def adapt_kernels(patches: nn.Conv2d, num_channels: int) -> nn.Conv2d:
    """A convolution for other channels, each with the mean kernel, weighted so that equal channels give the same."""
    if num_channels == patches.in_channels:
        return copy.deepcopy(patches)
    adapted = nn.Conv2d(
        num_channels,
        patches.out_channels,
        patches.kernel_size,  # type: ignore[arg-type]
        stride=patches.stride,  # type: ignore[arg-type]
        bias=patches.bias is not None,
    )
    with torch.no_grad():
        kernel = patches.weight.sum(dim=1, keepdim=True) / num_channels
        adapted.weight.copy_(kernel.expand_as(adapted.weight))
        if patches.bias is not None and adapted.bias is not None:
            adapted.bias.copy_(patches.bias)
    return adapted


def resize_positions(positions_LW: Tensor, grid: tuple[int, int]) -> Tensor:
    """Positions of a square grid, resized bicubically to those of another one, row by row."""
    side = round(len(positions_LW) ** 0.5)
    if side * side != len(positions_LW):
        raise ValueError(f"a tower with {len(positions_LW)} positions, which are no square, can't be resized")
    if grid == (side, side):
        return positions_LW
    square = positions_LW.detach().float().T.reshape(1, -1, side, side)
    resized = interpolate(square, size=grid, mode="bicubic", align_corners=False)
    return resized.flatten(2)[0].T.to(positions_LW.dtype)
