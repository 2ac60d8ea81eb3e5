"""Anchor embeddings computed once: the towers are frozen, so a picture's vector never changes during a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from bind.anchors.dual_encoder import Anchor
from bind.types import Batch, Modality


class InMemoryCache:
    """Unit vectors (D,) per value of a sample, looked up by sample key; lives as long as the run."""

    def __init__(self) -> None:
        self._z: dict[Modality, Tensor] = {}
        self._span: dict[Modality, dict[str, tuple[int, int]]] = {}

    def lookup(self, modality: Modality, keys: Sequence[str]) -> list[Tensor] | None:
        """One (V, D) tensor per key, V its number of values (0: missing); None where `modality` is not cached."""
        if modality not in self._z:
            return None
        spans, z = self._span[modality], self._z[modality]
        return [z[start:stop] for start, stop in (spans.get(key, (0, 0)) for key in keys)]

    def fill(self, anchor: Anchor, batches: Iterable[Batch], modalities: Sequence[Modality]) -> None:
        """Embed `modalities` of every batch once and keep them on the CPU in fp32.

        Raises:
            ValueError: where a tower of `modalities` is open: its embeddings would be stale after one step; or where
                a key comes twice.
        """
        opened = sorted(set(modalities) & set(anchor.trainable))
        if opened:
            raise ValueError(f"anchor.train={opened}: embeddings of towers that train can't be cached")
        device = next(anchor.parameters()).device
        parts: dict[Modality, list[Tensor]] = {m: [] for m in modalities}
        spans: dict[Modality, dict[str, tuple[int, int]]] = {m: {} for m in modalities}
        sizes = dict.fromkeys(modalities, 0)
        for batch in batches:
            batch = batch.to(device)
            for modality in modalities:
                if modality not in batch.inputs:
                    continue
                parts[modality].append(anchor.embed(modality, batch.inputs[modality]).cpu())
                counts = torch.bincount(batch.rows[modality].cpu(), minlength=len(batch)).tolist()
                for key, count in zip(batch.keys, counts, strict=True):
                    if key in spans[modality] or self._span.get(modality, {}).get(key, (0, 0)) != (0, 0):
                        raise ValueError(f"{modality} of the key {key!r} comes twice: give every sample its own key")
                    spans[modality][key] = (sizes[modality], sizes[modality] + count)
                    sizes[modality] += count
        for modality in modalities:
            if parts[modality]:
                self._z[modality] = torch.cat([*([self._z[modality]] if modality in self._z else []), *parts[modality]])
                offset = len(self._z[modality]) - sizes[modality]
                moved = {key: (start + offset, stop + offset) for key, (start, stop) in spans[modality].items()}
                self._span.setdefault(modality, {}).update(moved)
