"""What the anchor cache saves, and what it costs. python benchmarks/anchor_cache.py [--steps 20] [--towers B/32 L/14]

One step is: samples from the data module, Binder, losses, backward, optimizer, in fp32, with the default small audio
encoder and 64 rows. Its targets are (a) constants, without any anchor; (b) looked up in a warm cache on disk; (c) made
by a CLIP image tower of random weights and true shapes. (a) and (b) take turns, so that a busy machine slows both; the
ratio is the median over pairs of steps. Then a cache of a million samples is written, opened and read.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

from bind.anchors.dual_encoder import DualEncoder
from bind.anchors.scratch import byte_level_tokenizer
from bind.build import ANY_CLASS
from bind.cache.build import CacheOptions, build_cache
from bind.cache.fill import Engine
from bind.cache.lookup import hash_keys
from bind.cache.origin import Origin
from bind.cache.store import CacheFolder
from bind.commands.checkout import CONFIG_DIR
from bind.data.dataset import BatchDataset
from bind.model.binder import Binder
from bind.runs.parts import binder_config, make_datamodule
from bind.training.module import BindingModule, parameter_groups
from bind.types import CachedVectors, EmbeddingCache, Pair, Sample

warnings.filterwarnings("ignore", message=".*self.log.*")  # steps are taken by hand, so that variants can take turns

TOWERS: dict[str, dict[str, Any]] = {
    "B/32": {},  # transformers' defaults
    "L/14": {
        "projection_dim": 768,
        "vision_config": {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "patch_size": 14,
        },
        "text_config": {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
    },
}
BATCH_SIZE = 64
DIM = 512


class RandomClip(DualEncoder):
    """CLIP ViT-`tower` with random weights."""

    def __init__(self, tower: str) -> None:
        torch.manual_seed(0)
        model = CLIPModel(CLIPConfig(**TOWERS[tower]))
        tokenizer = byte_level_tokenizer(["a dog"], 300, 77)
        super().__init__(f"random ViT-{tower}", model, tokenizer, CLIPImageProcessorPil())


class Constants:
    """An `EmbeddingCache` that has its vectors at hand whatever it is asked for."""

    def __init__(self, dim: int) -> None:
        self.z_ND = torch.nn.functional.normalize(torch.randn(BATCH_SIZE, dim), dim=-1)

    def take(self, modality: str, keys: Any, **place: Any) -> CachedVectors | None:
        return CachedVectors(self.z_ND[: len(keys)], np.ones(len(keys), int)) if modality == "image" else None


class Bench:
    """A Binder over `tower` with the default audio encoder, its data, and a step."""

    def __init__(self, tower: str, num_batches: int) -> None:
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            cfg = compose("train", ["modalities=[audio]", f"data.batch_size={BATCH_SIZE}"])
        cfg.data.num_train = num_batches * BATCH_SIZE
        cfg.run_dir = "unused"
        config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
        config["anchor"] = {"_target_": f"{__name__}.RandomClip", "tower": tower}
        torch.manual_seed(0)
        self.binder = Binder.from_config(binder_config(config), trust=ANY_CLASS)
        pairs = [Pair("audio", "image")]
        self.module = BindingModule(self.binder, pairs, **config["optimizer"]).train()
        self.optimizer = torch.optim.AdamW(parameter_groups(self.module, 0.05), lr=1e-3)
        self.data = make_datamodule(config, self.binder, pairs, trust=ANY_CLASS)
        self.requests = list(self.data.train_plan())
        self.start = {name: x.clone() for name, x in self.binder.own_state_dict().items()}

    def dataset(self, cache: EmbeddingCache | None) -> BatchDataset:
        return self.data.dataset("train", ("audio", "image"), cache)

    def warm_cache(self, folder: Path) -> EmbeddingCache:
        places = [(0, "train", "image")]
        engine = Engine(BATCH_SIZE)
        return build_cache(self.binder.anchor, self.data.sources, places, CacheOptions(folder), engine)

    def step(self, dataset: BatchDataset, number: int) -> tuple[float, float]:
        """Seconds and loss."""
        started = time.perf_counter()
        batch = dataset[self.requests[number % len(self.requests)]]
        torch.manual_seed(number)
        loss = self.module.training_step(batch, number)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self.optimizer.step()
        return time.perf_counter() - started, float(loss.detach())

    def restart(self) -> None:
        self.binder.load_own_state_dict(self.start)
        self.optimizer.state.clear()


def compare(tower: str, steps: int, tower_steps: int, folder: Path) -> None:
    bench = Bench(tower, tower_steps)
    started = time.perf_counter()
    warm = bench.dataset(bench.warm_cache(folder))
    print(f"\nViT-{tower}: {len(bench.requests) * BATCH_SIZE} pictures cached in {time.perf_counter() - started:.1f} s")

    constant = bench.dataset(Constants(bench.binder.dim))
    for dataset in (constant, warm):
        bench.step(dataset, 0)
    seconds: dict[str, list[float]] = {"constant": [], "warm": []}
    for number in range(steps):
        turns = [("constant", constant), ("warm", warm)]
        for name, dataset in turns if number % 2 else turns[::-1]:
            seconds[name].append(bench.step(dataset, number)[0])
    ratios = [w / c for w, c in zip(seconds["warm"], seconds["constant"], strict=True)]
    warm_s, constant_s = (statistics.median(seconds[name]) for name in ("warm", "constant"))

    losses, tower_s = [], []
    for dataset in (warm, bench.dataset(None)):
        bench.restart()
        found = [bench.step(dataset, number) for number in range(tower_steps)]
        tower_s = [taken for taken, _ in found]
        losses.append([loss for _, loss in found])
    apart = max(abs(a - b) for a, b in zip(*losses, strict=True))
    with_tower = statistics.median(tower_s)
    print(f"  step with constant targets {constant_s * 1000:10.1f} ms")
    print(f"  step with a warm cache     {warm_s * 1000:10.1f} ms  {statistics.median(ratios):.3f} × constant targets")
    print(f"  step with the tower        {with_tower * 1000:10.1f} ms  {with_tower / warm_s:.1f} × the warm cache")
    print(f"  losses of {tower_steps} steps with cache and with tower are at most {apart:.1e} apart")


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def million(num_samples: int, folder: Path) -> None:
    origin = Origin("synthetic", "synthetic", "0" * 32, "0" * 32, "train", "image", num_samples, 1, "plain", DIM)
    keys = [f"sample/{i:07d}" for i in range(num_samples)]
    files = CacheFolder(folder, origin)
    rng = np.random.default_rng(0)
    started = time.perf_counter()
    with files.open_for_writing(num_samples * DIM * 2):
        for part, size in enumerate(files.sizes):
            z_RKD = rng.standard_normal((size, 1, DIM), dtype=np.float32).astype(np.float16)
            files.write_part(part, np.ones(size, np.int32), z_RKD)
        files.finish(hash_keys([Sample(key, "train", {}) for key in keys]))
    print(f"\n{num_samples:,} samples of {DIM} dimensions written in {time.perf_counter() - started:.1f} s")
    batches = [[keys[i] for i in rng.integers(num_samples, size=BATCH_SIZE)] for _ in range(2000)]
    del keys
    before = resident_mb()
    started = time.perf_counter()
    files = CacheFolder(folder, origin)
    assert files.is_finished
    opened = files.open()
    print(f"  opened in {time.perf_counter() - started:.3f} s, {resident_mb() - before:.1f} MB more are resident")
    started = time.perf_counter()
    highest = 0.0
    for batch in batches:
        opened.lookup(batch)
        highest = max(highest, resident_mb())
    each = (time.perf_counter() - started) / len(batches)
    print(f"  {len(batches)} batches of {BATCH_SIZE} looked up in {each * 1000:.2f} ms each; at most", end=" ")
    print(f"{highest - before:.1f} MB more were resident")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, help="pairs of steps with constants and with the cache")
    parser.add_argument("--towers", nargs="*", default=list(TOWERS), choices=list(TOWERS))
    parser.add_argument("--tower-steps", type=int, nargs="+", default=[3, 1], help="steps that run each tower")
    parser.add_argument("--samples", type=int, default=1_000_000)
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} CPU threads, batch {BATCH_SIZE}, fp32")
    with tempfile.TemporaryDirectory() as folder:
        million(options.samples, Path(folder))
    for tower, tower_steps in zip(options.towers, options.tower_steps, strict=False):
        with tempfile.TemporaryDirectory() as folder:
            compare(tower, options.steps, tower_steps, Path(folder))


if __name__ == "__main__":
    main()
