"""Sources of pictures and captions for the tests of the anchor cache, and what they run in processes of their own."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bind.anchors.dual_encoder import PretrainedAnchor
from bind.cache.build import CacheOptions, build_cache
from bind.cache.fill import Engine
from bind.data.sources.content import hash_generated
from bind.types import Sample

PART_SIZE = 4
ENGINE = Engine(batch_size=2)


class World:
    """Sample i has i % 3 captions and, unless i % 4 is 3, a picture."""

    def __init__(self, num_samples: int = 18, seed: int = 0, name: str = "world") -> None:
        self.name, self.seed = name, seed
        self._samples = [Sample(f"{name}/{i}", "train", {"image": (), "text": ()}) for i in range(num_samples)]

    def modalities(self):
        return ("image", "text", "audio")

    def samples(self, split):
        return self._samples

    def content_hash(self, split, modality):
        return hash_generated(self, split, modality, self.seed)

    def fetch(self, split, indices, modalities, rngs):
        return [{m: self.values(m, i) for m in modalities} for i in indices]

    def values(self, modality, index):
        if modality == "text":
            return [f"a {self.seed} {word} {index}" for word in ("red", "blue")[: index % 3]]
        if index % 4 == 3:
            return []
        rng = np.random.default_rng([self.seed, index])
        return [rng.integers(0, 255, (4, 5, 3), np.uint8).repeat(5, axis=0).repeat(5, axis=1)]


def options(folder: Path | None, **more: Any) -> CacheOptions:
    return CacheOptions(folder, part_size=PART_SIZE, **more)


class Watched(PretrainedAnchor):
    """An anchor that counts what it embeds, takes its time, and may kill its process before it embeds batch `fatal`."""

    def __init__(self, folder: str, seconds: float = 0.0, fatal: int | None = None) -> None:
        super().__init__(folder)
        self.sizes: list[int] = []
        self.seconds, self.fatal = seconds, fatal

    def embed(self, modality, inputs):
        if len(self.sizes) == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        self.sizes.append(len(next(iter(inputs.values()))))
        time.sleep(self.seconds)
        return super().embed(modality, inputs)


def share(anchor: str, folder: Path, rank: int, world_size: int) -> dict[str, Any]:
    """Fill one cache on every process at once; how many values this one embedded, and what it looks up."""
    watched = Watched(anchor, seconds=0.05)
    world = World()
    torch.distributed.barrier()
    cache = build_cache(watched, [world], [(0, "train", "image")], options(folder), ENGINE, show=False)
    vectors = cache.lookup("image", [s.key for s in world.samples("train")], source=0, split="train")
    assert vectors is not None
    return {"embedded": sum(watched.sizes), "vectors": torch.cat(vectors)}


def fill(anchor: str, folder: str, fatal: str) -> None:
    watched = Watched(anchor, fatal=int(fatal))
    build_cache(watched, [World()], [(0, "train", "image")], options(Path(folder)), ENGINE, show=False)


if __name__ == "__main__":
    fill(*sys.argv[1:])
