"""Video models, and vision models over single frames: moving pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from bind.encoders.pretrained.encoder import PretrainedEncoder
from bind.encoders.pretrained.loading import load_trunk
from bind.encoders.pretrained.vision import RANDOM_POOLERS, longest_list, pooled, width_of
from bind.types import Inputs

VIDEO_MODELS = ("timesformer", "videomae", "vivit")
"""Types that take all frames of a clip at once; others see one frame after the other."""


class VideoEncoder(PretrainedEncoder):
    """A video model → its class token, or the mean of its tokens where it has none (VideoMAE); (B, F).

    VideoMAE, TimeSformer and ViViT see motion between the frames. Any vision model works too (see `VisionEncoder`):
    then the features are the mean of those of the frames, as the anchor's image tower embeds a video. Inputs are those
    of `VideoFramesTransform`: (B, T, 3, H, W).

    Args:
        pretrained: hub id or local folder.
        architecture: of the model's config class with its `model_type`, in place of `pretrained`: random weights.
        num_frames: T. A video model takes as many as it was trained with.

    Raises:
        ValueError: where it can't be loaded, or takes another number of frames.
    """

    def __init__(
        self,
        *,
        pretrained: str | None = None,
        architecture: Mapping[str, Any] | None = None,
        num_frames: int = 16,
    ) -> None:
        trunk: Any = load_trunk(pretrained, architecture, parts=None, without_pooler=RANDOM_POOLERS)
        where = "architecture" if pretrained is None else f"pretrained={pretrained}"
        if trunk.main_input_name != "pixel_values":
            raise ValueError(f"{where} is a {type(trunk).__name__}, which takes no pictures: choose a video model")
        super().__init__(trunk, width_of(trunk))
        self.sees_motion = trunk.config.model_type in VIDEO_MODELS
        if self.sees_motion and trunk.config.num_frames != num_frames:
            raise ValueError(
                f"{where} takes clips of {trunk.config.num_frames} frames: set the encoder's num_frames to that"
            )
        self.num_frames = num_frames

    def forward(self, x_BTCHW: Inputs) -> Tensor:
        if not isinstance(x_BTCHW, Tensor) or x_BTCHW.ndim != 5 or x_BTCHW.shape[1:3] != (self.num_frames, 3):
            shape = tuple(x_BTCHW.shape) if isinstance(x_BTCHW, Tensor) else "several inputs by name"
            raise ValueError(
                f"expected clips (B, {self.num_frames}, 3, H, W), got {shape}: choose transform/video=video, with the "
                "encoder's num_frames"
            )
        x_BTCHW = x_BTCHW.to(next(self.trunk.parameters()).dtype)
        if self.sees_motion:
            return pooled(self.trunk, self.trunk(x_BTCHW))
        features_NF = pooled(self.trunk, self.trunk(x_BTCHW.flatten(0, 1)))
        return features_NF.view(*x_BTCHW.shape[:2], -1).mean(dim=1)

    def layers(self) -> Sequence[nn.Module]:
        """See `LayeredEncoder.layers`: the list of modules with most of the weights."""
        return longest_list(self.trunk)
