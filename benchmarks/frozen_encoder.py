"""What training on cached features costs. python benchmarks/frozen_encoder.py [--samples 1000000] [--skip-trunk]

First a step of 64 rows with a frozen audio trunk of CLAP's size (random weights, the shapes of
laion/clap-htsat-unfused), and the same step with its features from the cache. Then a training of one epoch over a
million cached samples of 768 features, in batches of 256, and a bare loop of the same head, loss and optimizer over
vectors in memory. Everything else is the main job: `bind.train`, with its loader, trainer and callbacks.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from transformers import ClapAudioConfig, ClapAudioModel

import bind
from bind.data.sources.sample_table import ColumnsInMemory, SampleTable, sample_schema
from bind.encoders.heads import ProjectionHead
from bind.losses import InfoNCE
from bind.training.module import parameter_groups
from bind.types import Modality, Sample

NUM_FEATURES, DIM = 768, 512
NUM_FRAMES, NUM_MELS = 1001, 64
WARM_UP_STEPS = 20
CONFIGS = {
    "encoder/audio/frozen.yaml": "_target_: ???\ntrain: head\n",
    "transform/audio/as_it_is.yaml": "_target_: frozen_encoder.AsItIs\n",
    "data/made.yaml": """
defaults: [/_data@_here_, _self_]
num_train: ???
sources: {vectors: {_target_: frozen_encoder.Vectors, num_train: "${data.num_train}", spectrograms: false}}
""",
}
POOL = 4096
"""Different vectors; a sample's are those at its number modulo this."""


class Vectors:
    """A source of `num_train` pictures and sounds that are vectors already, or spectrograms."""

    def __init__(self, num_train: int, spectrograms: bool = False) -> None:
        self.name, self.spectrograms = "vectors", spectrograms
        rng = np.random.default_rng(0)
        self.vectors = {
            m: rng.standard_normal((POOL, dim), dtype=np.float32)
            for m, dim in (("image", DIM), ("audio", NUM_FEATURES))
        }
        self.tables = {
            "train": make_table("train", num_train),
            "val": make_table("val", 64),
            "test": make_table("test", 2),
        }

    def modalities(self) -> tuple[Modality, ...]:
        return ("image", "audio")

    def samples(self, split: str) -> Sequence[Sample]:
        return self.tables[split]

    def content_hash(self, split: str, modality: Modality) -> str:
        return f"{split} {modality} {len(self.tables[split])} {self.spectrograms}"

    def fetch(self, split: str, indices: Sequence[int], modalities: Sequence[Modality], rngs: Any) -> list[Any]:
        return [{m: [self.value(m, index)] for m in modalities} for index in indices]

    def value(self, modality: Modality, index: int) -> np.ndarray:
        if modality == "audio" and self.spectrograms:
            rng = np.random.default_rng(index)
            return rng.standard_normal((1, NUM_FRAMES, NUM_MELS), dtype=np.float32)
        row: np.ndarray = self.vectors[modality][index % POOL]
        return row


def make_table(split: str, num_samples: int) -> SampleTable:
    keys = pa.array([f"{split}/{i:07d}" for i in range(num_samples)])
    nothing = pa.nulls(num_samples, pa.string())
    lists = pa.ListArray.from_arrays(pa.array(np.arange(num_samples + 1, dtype=np.int32)), keys)
    # Values that lie in no file: the sample has the modality, and the source knows the rest.
    values = pa.ListArray.from_arrays(pa.array(np.zeros(num_samples + 1, dtype=np.int32)), pa.array([], pa.string()))
    number = {"train": 0, "val": 1, "test": 2}[split]
    schema = sample_schema(["image", "audio"])
    columns = [keys, pa.array(np.full(num_samples, number, np.int8)), nothing, lists, nothing, values, values]
    batch = pa.record_batch(columns, schema=schema)
    hashes = {"key": f"{split} {num_samples}"}
    return SampleTable(ColumnsInMemory([batch], schema), range(num_samples), Path(), ["image", "audio"], hashes)


class AsItIs:
    """The transform of vectors."""

    def __call__(self, value: np.ndarray, rng: Any) -> Tensor:
        return torch.from_numpy(value)

    def collate(self, items: list[Tensor]) -> Tensor:
        return torch.stack(items)


class VectorTrunk(nn.Module):
    """A trunk that costs nothing, so that a million samples are cached in seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.num_features = NUM_FEATURES
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x


class ClapTrunk(nn.Module):
    """The audio tower of CLAP with random weights: (B, 1, 1001, 64) spectrograms → (B, 768)."""

    def __init__(self) -> None:
        super().__init__()
        config = ClapAudioConfig()
        self.num_features = config.hidden_size
        self.model = ClapAudioModel(config)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.model(input_features=x).pooler_output
        return features


class Clock(L.Callback):
    """Seconds from the end of each step to that of the next, and its loss."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.losses: list[float] = []
        self.cpu_seconds = 0.0

    def on_train_start(self, trainer: L.Trainer, module: Any) -> None:
        self.ends.append(time.perf_counter())
        self.cpu_seconds = -processor_seconds()

    def on_train_batch_end(self, trainer: L.Trainer, module: Any, *args: Any) -> None:
        self.ends.append(time.perf_counter())
        self.losses.append(float(next(iter(module.last_losses.values()))))

    def on_train_end(self, trainer: L.Trainer, module: Any) -> None:
        self.cpu_seconds += processor_seconds()

    @property
    def seconds(self) -> list[float]:
        return np.diff(self.ends).tolist()


def processor_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(x.ru_utime + x.ru_stime for x in used)


def train(folder: Path, trunk: str, num_train: int, batch_size: int, *overrides: str) -> Clock:
    clock = Clock()
    configs = folder / "configs"
    for name, text in CONFIGS.items():
        (configs / name).parent.mkdir(parents=True, exist_ok=True)
        (configs / name).write_text(text)
    bind.train(
        [
            "modalities=[audio]",
            *("anchor=vectors", f"anchor.dim={DIM}", "anchor.modalities=[image]"),
            *("data=made", "encoder/audio=frozen", "transform/audio=as_it_is"),
            f"encoder.audio._target_=frozen_encoder.{trunk}",
            f"data.num_train={num_train}",
            f"data.sources.vectors.spectrograms={trunk == 'ClapTrunk'}",
            f"data.batch_size={batch_size}",
            "data.num_workers=0",
            "trainer=cpu",
            "trainer.max_epochs=1",
            "overwrite=true",
            "trainer.limit_val_batches=0",
            "trainer.enable_progress_bar=false",
            "evaluation.num_gallery_queries=0",
            "evaluation.num_scatter_samples=0",
            f"cache.dir={folder}/cache",
            f"run_dir={folder}/{trunk}-{len(overrides)}-{batch_size}",
            *overrides,
        ],
        callbacks=[clock],
        config_dir=configs,
    )
    return clock


def compare_with_trunk(folder: Path, num_steps: int) -> None:
    rows = 64
    # A schedule depends on the number of steps, which differs: with one rate the losses can be compared.
    one_rate = ("optimizer.warmup_fraction=0", "optimizer.lr_end_fraction=1")
    with_trunk = train(folder, "ClapTrunk", num_steps * rows, rows, "cache.features=false", *one_rate)
    cached = train(folder, "ClapTrunk", num_steps * rows, rows, "data.steps_per_epoch=120", *one_rate)
    slow, fast = statistics.median(with_trunk.seconds), statistics.median(cached.seconds[WARM_UP_STEPS:])
    apart = max(abs(a - b) for a, b in zip(with_trunk.losses, cached.losses, strict=False))
    print(f"\nA step of {rows} rows of a frozen audio trunk of CLAP's size, {torch.get_num_threads()} threads")
    print(f"  that runs the trunk    {1000 * slow:12.1f} ms (median of {len(with_trunk.seconds)})")
    print(f"  with cached features   {1000 * fast:12.1f} ms (median of {len(cached.seconds) - WARM_UP_STEPS})")
    of_losses = f"the losses of the first {len(with_trunk.losses)} steps differ by {apart:.1e} at most"
    print(f"  {slow / fast:.0f} × as fast; {of_losses}")


def bare_loop(num_steps: int, rows: int) -> float:
    """Samples per second of head, loss and optimizer over vectors in memory."""
    module = nn.ModuleDict({"head": ProjectionHead(num_features=NUM_FEATURES, dim=DIM), "loss": InfoNCE()})
    optimizer = torch.optim.AdamW(parameter_groups(module, 0.05), lr=1e-3, fused=True)
    features, z = torch.randn(rows, NUM_FEATURES), nn.functional.normalize(torch.randn(rows, DIM), dim=-1)
    groups = torch.arange(rows)
    seconds = []
    for _ in range(num_steps):
        started = time.perf_counter()
        optimizer.zero_grad()
        module["loss"](module["head"](features), z, groups).backward()
        optimizer.step()
        seconds.append(time.perf_counter() - started)
    return rows / statistics.median(seconds)


def measure_epoch(folder: Path, num_samples: int) -> None:
    rows = 256
    bare = bare_loop(200, rows)
    clock = train(folder, "VectorTrunk", num_samples, rows)
    seconds = clock.ends[-1] - clock.ends[WARM_UP_STEPS]
    num_steps = len(clock.ends) - 1 - WARM_UP_STEPS
    print(f"\nAn epoch over {num_samples:,} cached samples of {NUM_FEATURES} features, batch {rows}")
    print(f"  training   {num_steps * rows / seconds:10,.0f} samples/s, {1000 * seconds / num_steps:.2f} ms a step")
    print(f"             {rows / statistics.median(clock.seconds):10,.0f} samples/s by the median of its steps")
    print(f"             {1000 * clock.cpu_seconds / len(clock.losses):10.2f} ms of processor time a step, all threads")
    print(f"  bare loop  {bare:10,.0f} samples/s of head, loss and optimizer alone, {1000 * rows / bare:.2f} ms a step")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--trunk-steps", type=int, default=2)
    parser.add_argument("--skip-trunk", action="store_true", help="the epoch alone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if not options.skip_trunk:
            compare_with_trunk(Path(folder), options.trunk_steps)
        measure_epoch(Path(folder), options.samples)


if __name__ == "__main__":
    main()
