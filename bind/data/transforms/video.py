"""Transform of moving pictures: clips of a few frames."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bind.media.video import ROUNDING_SECONDS, Video, open_video
from bind.media.windows import checked_num_clips, window_starts
from bind.types import Clip


class VideoTransform:
    """A video file, or a span of one → uint8 (T, 3, S, S): T = `num_frames` of `clip_seconds`, S = `size_px`.

    From a longer video a random clip is taken in training and the middle one in evaluation, or several as a list of
    clips; the last frame of a shorter one stays. Frames are evenly spaced in time, whatever the frame rate, and stand
    in the middle of equal stretches of the clip. They are scaled to their shorter side, and their middle is kept.

    Args:
        num_clips: clips in evaluation, evenly spread, whose embeddings are averaged; None: as many as cover all.

    Raises:
        ValueError: names the file that is missing, no video, cut off, without a frame, or shorter than its span.
    """

    def __init__(
        self, *, num_frames: int = 8, clip_seconds: float = 2.0, num_clips: int | None = 1, size_px: int = 64
    ) -> None:
        if not (num_frames >= 1 and clip_seconds > 0 and size_px >= 1):
            raise ValueError("video needs num_frames >= 1, clip_seconds > 0 and size_px >= 1")
        self.num_frames = num_frames
        self.clip_seconds = clip_seconds
        self.num_clips = checked_num_clips(num_clips)
        self.size_px = size_px

    def __call__(self, value: Clip, rng: np.random.Generator | None) -> Tensor | list[Tensor]:
        with open_video(value) as video:
            if rng is not None:
                return self._read(video, rng.uniform(0.0, max(0.0, video.seconds - self.clip_seconds)))
            starts = window_starts(video.seconds, self.clip_seconds, self.num_clips)
            clips = [self._read(video, start) for start in starts]
        return clips if len(clips) > 1 else clips[0]

    def collate(self, items: list[Tensor]) -> Tensor:
        """B_m clips (T, 3, S, S) → (B_m, T, 3, S, S)."""
        return torch.stack(items)

    def _times(self, video: Video, start: float) -> list[float]:
        times = start + (np.arange(self.num_frames) + 0.5) * (self.clip_seconds / self.num_frames)
        last = max(0.0, video.seconds - 2 * ROUNDING_SECONDS)  # what begins at the end of a span lies beyond it
        bounded: list[float] = np.minimum(times, last).tolist()
        return bounded

    def _read(self, video: Video, start: float) -> Tensor:
        frames = video.frames(self._times(video, start), short_side_px=self.size_px)
        height, width = frames[0].shape[:2]
        top, left = (height - self.size_px) // 2, (width - self.size_px) // 2
        x_THWC = np.stack([frame[top : top + self.size_px, left : left + self.size_px] for frame in frames])
        return torch.from_numpy(x_THWC).permute(0, 3, 1, 2).contiguous()
