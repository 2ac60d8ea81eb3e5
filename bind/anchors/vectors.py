"""Anchor of a space of which only vectors are at hand: no tower runs, and no new picture or text can be embedded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bind.anchors.frozen import FrozenAnchor
from bind.files.parquet import open_parquet
from bind.files.plain_data import parse_json
from bind.files.reading import reading
from bind.media.vectors import READER_VERSION, checked_vectors, read_vector
from bind.types import Clip, Inputs, Modality, Transform

TEXTS_NAME = "texts.safetensors"
"""In the folder of a saved binder: `vectors` (K, D), and in the metadata `texts`, a JSON list."""
REMEDY = (
    "Give a Parquet table with the columns text (strings) and vector (lists of numbers). A pickle (.pt, .pkl, .npy of "
    "objects) can hold commands and is never read"
)


class VectorsAnchor(FrozenAnchor):
    """A space that other people's vectors span; the values of its modalities are vectors of it.

    A text is either a vector too, or one of `texts`, whose vectors are looked up: class prompts for zero-shot figures.

    Args:
        dim: D, how many numbers a vector has.
        modalities: what the vectors stand for.
        texts: a Parquet table with the columns `text` and `vector`; None: no text is known by its words.
        space: what the space is called, such as the model that made the vectors; it is part of the fingerprint.

    Raises:
        ValueError: naming the file, where `texts` holds no vectors of `dim` numbers, NaN, or one text twice.

    Examples:
        >>> anchor = VectorsAnchor(dim=2, modalities=["image"])
        >>> transform = anchor.transforms["image"]
        >>> anchor.embed("image", transform.collate([transform([3.0, 4.0], None)]))
        tensor([[0.6000, 0.8000]])
    """

    def __init__(
        self,
        *,
        dim: int,
        modalities: Sequence[Modality] = ("image", "text"),
        texts: str | None = None,
        space: str = "vectors",
    ) -> None:
        known_texts, vectors_KD = (
            ([], np.zeros((0, dim), np.float32)) if texts is None else read_texts(Path(texts), dim)
        )
        rows = {text: row for row, text in enumerate(known_texts)}
        if texts is not None and "text" not in modalities:
            raise ValueError(f"anchor.texts={texts}: anchor.modalities={list(modalities)} lacks text")
        stored = StoredVectors(dim)
        looked_up = StoredTexts(dim, {text: vectors_KD[row] for text, row in rows.items()})
        transforms: dict[Modality, Transform] = {m: looked_up if m == "text" else stored for m in modalities}
        super().__init__(space, dim, transforms)
        self.known_texts = tuple(known_texts)
        self.vectors_KD = nn.Parameter(torch.from_numpy(vectors_KD), requires_grad=False)

    def compute_features(self, modality: Modality, inputs: Inputs) -> Tensor:
        """The vectors themselves."""
        assert isinstance(inputs, Tensor)
        return inputs

    def embed(self, modality: Modality, inputs: Inputs) -> Tensor:
        """Unit vectors (B_m, D) of vectors (B_m, D), of `video` too."""
        return nn.functional.normalize(self.compute_features(modality, inputs).float(), dim=-1)

    def describe_preprocessing(self) -> Sequence[str]:
        """The name of the space, what it holds, and the texts whose vectors are known."""
        facts = {"space": self.name, "dim": self.dim, "modalities": list(self.transforms), "reader": READER_VERSION}
        return [json.dumps(facts), json.dumps(self.known_texts)]

    def enclose(self, folder: Path) -> dict[str, Any]:
        """The known texts with their vectors."""
        if not self.known_texts:
            return {}
        texts = {"texts": json.dumps(self.known_texts)}
        save_file({"vectors": self.vectors_KD.detach().cpu().contiguous()}, folder / TEXTS_NAME, metadata=texts)
        return {"texts": folder / TEXTS_NAME}


class StoredVectors:
    """A vector, in a `.npy` file or in memory → float32 (D,); several → (B_m, D)."""

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def __call__(self, value: Clip | np.ndarray | Any, rng: np.random.Generator | None = None) -> Tensor:
        return torch.from_numpy(read_vector(value, self.dim))

    def collate(self, items: list[Tensor]) -> Tensor:
        return torch.stack(items)


class StoredTexts(StoredVectors):
    """A vector, or a text whose vector is known → float32 (D,); several → (B_m, D).

    Raises:
        ValueError: for a text whose vector is not known.
    """

    def __init__(self, dim: int, vectors: Mapping[str, np.ndarray]) -> None:
        super().__init__(dim)
        self.vectors = vectors

    def __call__(self, value: str | Clip | np.ndarray | Any, rng: np.random.Generator | None = None) -> Tensor:
        if not isinstance(value, str):
            return super().__call__(value, rng)
        if value not in self.vectors:
            known = (
                f"those of {len(self.vectors)} texts, such as {next(iter(self.vectors))!r}" if self.vectors else "none"
            )
            raise ValueError(
                f"the text {value!r} can't be embedded: anchor=vectors runs no text tower, it looks vectors up and "
                f"has {known}. Add its vector to the table of anchor.texts, or give vectors as the values of text"
            )
        return torch.from_numpy(self.vectors[value])


def read_texts(path: Path, dim: int) -> tuple[list[str], np.ndarray]:
    """Texts and their vectors (K, `dim`) of a Parquet table, or of what `VectorsAnchor.enclose` wrote.

    Raises:
        ValueError: naming the file, for what is wrong with it.
    """
    texts, vectors_KD = (_read_enclosed if path.suffix == ".safetensors" else _read_parquet)(path)
    if vectors_KD.shape != (len(texts), dim):
        raise ValueError(
            f"{path}: it holds {len(texts)} texts and vectors of shape {vectors_KD.shape}; they need {dim} numbers "
            "each, as anchor.dim says. Are they of another model?"
        )
    if len(set(texts)) < len(texts):
        twice = next(text for row, text in enumerate(texts) if text in texts[:row])
        raise ValueError(f"{path}: the text {twice!r} comes twice. Keep one of the rows")
    return texts, checked_vectors(vectors_KD, str(path))


def _read_parquet(path: Path) -> tuple[list[str], np.ndarray]:
    with reading(path, "not readable as a Parquet table of texts", REMEDY):
        columns = open_parquet(path).read(columns=["text", "vector"])
        texts, vectors = columns["text"].to_pylist(), columns["vector"]
        if not all(isinstance(text, str) for text in texts) or vectors.null_count:
            raise ValueError("a row lacks its text or its vector")
        values = pa.concat_arrays([chunk.flatten() for chunk in vectors.chunks]) if vectors.num_chunks else pa.array([])
        if values.null_count or len(values) % max(1, len(texts)):
            raise ValueError("its vectors have several lengths")
        numbers = values.to_numpy(zero_copy_only=False).astype(np.float32)
        return texts, numbers.reshape(len(texts), -1) if texts else np.zeros((0, 0), np.float32)


def _read_enclosed(path: Path) -> tuple[list[str], np.ndarray]:
    with reading(path, "not readable as texts with vectors", "Copy the whole binder again"):
        with safe_open(path, framework="numpy") as file:
            texts = parse_json(((file.metadata() or {}).get("texts") or "[]").encode(), str(path))
            vectors_KD = file.get_tensor("vectors")
        if not (isinstance(texts, list) and all(isinstance(text, str) for text in texts)):
            raise ValueError("its texts are no list of texts")
        return texts, vectors_KD
