"""Source of printed phrases: they keep texts apart that are neither about the toy world nor about digits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bind.data.sources.content import hash_generated
from bind.types import Modality, Sample

SIZE_PX = 64
FONT_PX = 11
LINE_PX = 12


class PhraseSource:
    """Random phrases of the words of `corpus` as text and as a picture of that text; each is its own group.

    Args:
        corpus: lines to take the words from.
        num_train, num_held_out: phrases of the training split, and of each of `val` and `test`.
        max_words: of a phrase.
        seed: of the phrases.

    Raises:
        ValueError: where the corpus has no words.
    """

    name = "phrases"
    fresh = frozenset({"image"})

    def __init__(
        self,
        corpus: Sequence[str],
        *,
        num_train: int = 4000,
        num_held_out: int = 128,
        max_words: int = 6,
        seed: int = 0,
    ) -> None:
        words = sorted({word for line in corpus for word in line.replace(",", " ").split()})
        if not words:
            raise ValueError("phrases.corpus is empty: give lines of text to take words from")
        rng = np.random.default_rng([seed, 4])
        sizes = {"train": num_train, "val": num_held_out, "test": num_held_out}
        phrases: dict[str, None] = {}  # a set that keeps its order
        while len(phrases) < sum(sizes.values()):
            phrase = " ".join(rng.choice(words, rng.integers(1, max_words + 1)))
            if len(_lines(phrase)) * LINE_PX <= SIZE_PX:
                phrases.setdefault(phrase)
        remaining = iter(phrases)
        self._phrases = {split: [next(remaining) for _ in range(size)] for split, size in sizes.items()}
        empty: dict[Modality, tuple[Any, ...]] = {"image": (), "text": ()}
        self._samples = {
            split: [Sample(f"phrases/{text}", split, empty, owners=(f"phrase:{text}",)) for text in texts]
            for split, texts in self._phrases.items()
        }

    def modalities(self) -> tuple[Modality, ...]:
        """Image and text."""
        return ("image", "text")

    def samples(self, split: str) -> Sequence[Sample]:
        """The metadata of `train`, `val` or `test`."""
        if split not in self._samples:
            raise ValueError(f"the phrases have the splits {list(self._samples)}, not {split!r}")
        return self._samples[split]

    def content_hash(self, split: str, modality: Modality) -> str:
        """See `bind.data.sources.content.hash_generated`; the keys are the phrases."""
        return hash_generated(self, split, modality)

    def fetch(
        self,
        split: str,
        indices: Sequence[int],
        modalities: Sequence[Modality],
        rngs: Sequence[np.random.Generator] | None,
    ) -> list[dict[Modality, list[Any]]]:
        """The phrases, and pictures of them whose place and colours the generators draw."""
        fetched: list[dict[Modality, list[Any]]] = []
        for position, index in enumerate(indices):
            text = self._phrases[split][index]
            values: dict[Modality, list[Any]] = {}
            if "image" in modalities:
                values["image"] = [print_phrase(text, None if rngs is None else rngs[position])]
            if "text" in modalities:
                values["text"] = [text]
            fetched.append(values)
        return fetched


def print_phrase(text: str, rng: np.random.Generator | None) -> np.ndarray:
    """uint8 (64, 64, 3): `text` in lines, dark on light, or as `rng` draws place and colours."""
    lines = _lines(text)
    ink, paper, left, top = [20] * 3, [255] * 3, 1, 1
    if rng is not None:
        ink, paper = rng.integers(0, 80, 3).tolist(), rng.integers(175, 255, 3).tolist()
        left, top = int(rng.integers(0, 3)), int(rng.integers(0, SIZE_PX - LINE_PX * len(lines) + 1))
    picture = Image.new("RGB", (SIZE_PX, SIZE_PX), tuple(paper))
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        draw.text((left, top + LINE_PX * number), line, fill=tuple(ink), font=_font())
    return np.asarray(picture)


def _lines(text: str) -> list[str]:
    """`text` broken where a line would be wider than the picture."""
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and _font().getlength(joined) <= SIZE_PX - 2:
            lines[-1] = joined
        else:
            lines.append(word)
    return lines


@lru_cache(maxsize=1)
def _font() -> Any:
    return ImageFont.load_default(FONT_PX)
