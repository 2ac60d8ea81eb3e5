"""Transform of moving pictures for video models and vision models: frames through the model's image processor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from bind.data.transforms.pretrained.processor import load_processor, settings_of
from bind.data.transforms.video import VideoTransform
from bind.media.video import Video


class VideoFramesTransform(VideoTransform):
    """A video → float32 (T, 3, H, W): T frames of a clip, chosen as by `VideoTransform`, through an image processor.

    Args:
        pretrained: hub id or local folder of the encoder's model.
        image_processor: settings of its image processor with their `image_processor_type`, in place of `pretrained`.
    """

    def __init__(
        self,
        *,
        pretrained: str | None = None,
        image_processor: Mapping[str, Any] | None = None,
        num_frames: int = 16,
        clip_seconds: float = 2.0,
        num_clips: int | None = 1,
    ) -> None:
        super().__init__(num_frames=num_frames, clip_seconds=clip_seconds, num_clips=num_clips)
        self.image_processor = load_processor(pretrained, image_processor)

    def saved_arguments(self) -> dict[str, Any]:
        """See `LoadedPart.saved_arguments`: settings take the place of the files."""
        return {"pretrained": None, "image_processor": settings_of(self.image_processor)}

    def _read(self, video: Video, start: float) -> Tensor:
        frames = video.frames(self._times(video, start))
        pixels: Tensor = self.image_processor(frames, return_tensors="pt")["pixel_values"]
        return pixels.flatten(0, pixels.ndim - 4)  # those of videos have an axis of videos in front
