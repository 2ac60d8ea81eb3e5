"""Binder of an index: saved inside it, so that whoever has the index can ask it; known by a fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from bind.model.binder import Binder
from bind.types import LoadedPart

FOLDER = "binder"


def fingerprint_of(binder: Binder) -> str:
    """A hash of what decides a binder's vectors: its anchor, its weights, and its transforms.

    A binder that was saved and loaded again has the same one, be it on a GPU or not.

    Raises:
        ValueError: for one with adapters, which saving would merge.
    """
    if binder.adapted:
        raise ValueError(f"this binder has adapters ({', '.join(binder.adapted)}): call its merge_adapters() first")
    digest = hashlib.blake2b(digest_size=16)
    digest.update(binder.anchor.fingerprint.encode())
    config = binder.config or {}
    transforms = {
        m: options | part.saved_arguments() if isinstance(part := binder.transforms[m], LoadedPart) else options
        for m, options in (config.get("transform") or {}).items()
    }
    digest.update(json.dumps([transforms, config.get("fusion")], sort_keys=True, default=str).encode())
    for name, tensor in sorted(binder.own_state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_binder(folder: Path, binder: Binder) -> None:
    """Put a binder into an index that has none."""
    if not (folder / FOLDER).is_dir():
        binder.save(folder / FOLDER)


def load_binder(folder: Path, fingerprint: str, trust: Sequence[str]) -> Binder:
    """The binder of an index.

    Raises:
        ValueError: where it is missing, damaged, names what is not trusted, or is another than made the vectors.
    """
    place = folder / FOLDER
    if not place.is_dir():
        raise ValueError(
            f"{folder}: has no {FOLDER}/, so only vectors can be searched for; pass binder=PATH or run=PATH"
        )
    binder = Binder.load(place, trust=trust)
    require_binder(folder, fingerprint, binder)
    return binder


def require_binder(folder: Path, fingerprint: str, binder: Binder) -> None:
    """Raise ValueError unless this binder is the one whose vectors the index holds."""
    if (own := fingerprint_of(binder)) != fingerprint:
        raise ValueError(
            f"{folder}: holds vectors of another binder (fingerprint {fingerprint[:12]}, this one has {own[:12]}): "
            "vectors of two binders can't be compared. Make another index, with another out="
        )
