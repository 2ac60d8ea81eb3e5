"""Transforms of an anchor's processors, so that images and text enter like any other modality."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import get_worker_info
from transformers import CLIPTokenizer

from bind.media.notices import warn_once
from bind.media.pictures import open_image
from bind.media.text import clean_text
from bind.media.video import open_video

NUM_VIDEO_FRAMES = 8
"""Frames whose embeddings stand for a video."""


class ImageTransform:
    """A picture (path, `Clip`, PIL image or uint8 array (H, W, 3)) → RGB; a list of them → inputs of the image tower.

    Of a video it is the frame in the middle of the clip.

    Raises:
        ValueError: naming the file, where it is missing or no picture.
    """

    def __init__(self, image_processor: Any) -> None:
        self.image_processor = image_processor

    def __call__(self, value: Any, rng: np.random.Generator | None = None) -> Image.Image:
        return open_image(value)

    def collate(self, items: list[Image.Image]) -> dict[str, Tensor]:
        return dict(self.image_processor(images=items, return_tensors="pt"))


class FramesTransform:
    """A video (`Clip` of a file) → frames; a list of them → inputs of the image tower, (B, T, …) by name.

    The T frames are those in the middle of T equal stretches of the clip, whatever its frame rate.

    Raises:
        ValueError: naming the file, where it is missing, holds no video or ends early.
    """

    def __init__(self, image_processor: Any) -> None:
        self.image_processor = image_processor

    def __call__(self, value: Any, rng: np.random.Generator | None = None) -> tuple[Image.Image, ...]:
        with open_video(value) as video:
            times = (np.arange(NUM_VIDEO_FRAMES) + 0.5) * (video.seconds / NUM_VIDEO_FRAMES)
            return tuple(Image.fromarray(frame) for frame in video.frames(times.tolist()))

    def collate(self, items: list[tuple[Image.Image, ...]]) -> dict[str, Tensor]:
        inputs = self.image_processor(images=[frame for frames in items for frame in frames], return_tensors="pt")
        return {name: x.unflatten(0, (len(items), NUM_VIDEO_FRAMES)) for name, x in inputs.items()}


class TextTransform:
    """A string → itself; a list of strings → `input_ids` and `attention_mask` (B, `max_tokens`).

    Texts are cleaned, see `bind.media.text.clean_text`, and padded to the same length, so that an embedding does not
    depend on its neighbours in the batch. What is longer is cut, and the log says so once.
    """

    def __init__(self, tokenizer: Any, max_tokens: int) -> None:
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self._clean = partial(clean_text, for_clip=isinstance(tokenizer, CLIPTokenizer))
        self._num_special = tokenizer.num_special_tokens_to_add() + 1  # and the blank that some put in front

    def __call__(self, value: Any, rng: np.random.Generator | None = None) -> str:
        if not isinstance(value, str):
            raise ValueError(f"text must be a string, got {type(value).__name__}: {value!r}")
        return value

    def collate(self, items: list[str]) -> dict[str, Tensor]:
        if get_worker_info() is None and (cut := self.find_cut(items)):
            warn_once(self.notice_of_cut, repr(cut[0]))
        return self.tokenize(items)

    def tokenize(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """The inputs of the text tower, without a word on what is cut."""
        tokens = self.tokenizer(
            [self._clean(text) for text in texts],
            padding="max_length",
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        )
        wanted = ("input_ids", "attention_mask")
        return {name: tokens[name] for name in wanted if name in tokens}

    @property
    def notice_of_cut(self) -> str:
        """The message of a text that is cut."""
        return (
            f"texts longer than the {self.max_tokens} tokens that the text tower takes are cut: those that differ "
            "behind the cut are one vector"
        )

    def find_cut(self, texts: Sequence[str]) -> list[str]:
        """Those of `texts` that have more than `max_tokens` tokens."""
        # No tokenizer makes more tokens than bytes, so that most texts need not be tokenized for this.
        cleaned = ((text, self._clean(text)) for text in texts)
        long = [(text, clean) for text, clean in cleaned if len(clean.encode()) + self._num_special > self.max_tokens]
        if not long:
            return []
        token_ids = self.tokenizer([clean for _, clean in long], truncation=False, verbose=False)["input_ids"]
        return [text for (text, _), ids in zip(long, token_ids, strict=True) if len(ids) > self.max_tokens]

    def fingerprint_parts(self) -> tuple[str, Any]:
        """What decides the token ids: the tokenizer's description of itself and the length."""
        return describe_tokenizer(self.tokenizer), self.max_tokens


def describe_tokenizer(tokenizer: Any) -> str:
    """All that decides the token ids of a tokenizer of transformers, but the length."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return repr(sorted(tokenizer.get_vocab().items())) if backend is None else _without_length(backend.to_str())


@lru_cache(maxsize=8)
def _without_length(description: str) -> str:
    """A tokenizer's JSON without truncation and padding, which are those of its latest call; slow for large ones."""
    described = {k: v for k, v in json.loads(description).items() if k not in ("truncation", "padding")}
    return json.dumps(described, sort_keys=True)
