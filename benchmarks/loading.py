"""How fast shards are read: against a bare loop, against loose files behind a network, and where the time goes.

A small world of spoken words (WAV), pictures (JPEG) and captions is written to a temporary folder and packed.

(a) Local: batches of 64 from shards through the dataset that training uses, against a bare loop that decodes the same
    files from memory and stacks them, in one process; CPU time, best of nine passes each. At least 0.9 is asked for.
(b) A web server on this machine that answers every request after 20 ms: the same batches from shards, also by s3://,
    against one request per loose file, one after the other as a loader process does it and sixteen at a time. At least
    10 times.
(c) Where the CPU time of (a) goes, per sample.

    python benchmarks/loading.py
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from PIL import Image

from bind.data.dataset import BatchDataset
from bind.data.plan import BatchPlan, BatchRequest
from bind.data.sources.manifest import ManifestSource
from bind.data.sources.shards.remote import in_parallel, read_whole
from bind.data.sources.shards.source import IndexedShardSource
from bind.data.sources.shards.writer import plan_shards, write_listing, write_shard
from bind.data.transforms.audio import AudioTransform
from bind.media.pictures import open_image
from bind.types import Clip, PackedFile

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.shard_cases import Server

MODALITIES = ("audio", "image", "text")
BATCH_SIZE = 64
LATENCY_SECONDS = 0.02
NUM_PASSES = 9


class Pixels:
    """A picture → (3, 224, 224) uint8."""

    def __call__(self, value: Any, rng: np.random.Generator | None) -> torch.Tensor:
        return torch.from_numpy(np.array(open_image(value).resize((224, 224)))).permute(2, 0, 1)

    def collate(self, items: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(items)


class Texts:
    """A text → how long it is."""

    def __call__(self, value: str, rng: np.random.Generator | None) -> int:
        return len(value)

    def collate(self, items: list[int]) -> torch.Tensor:
        return torch.tensor(items)


TRANSFORMS: dict[str, Any] = {
    "audio": AudioTransform(sample_rate_hz=16_000, window_seconds=1.0),
    "image": Pixels(),
    "text": Texts(),
}


def write_world(folder: Path, num_samples: int) -> Path:
    """A manifest of one-second sounds, pictures of 256 pixels and captions."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(num_samples):
        soundfile.write(folder / f"{i}.wav", 0.1 * rng.standard_normal(16_000), 16_000)
        small = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(small).resize((256, 256)).save(folder / f"{i}.jpg", quality=90)
        rows.append({"key": str(i), "split": "train", "audio": f"{i}.wav", "image": f"{i}.jpg", "text": f"sound {i}"})
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "manifest.jsonl"


def pack(source: ManifestSource, folder: Path) -> None:
    folder.mkdir()
    plans = plan_shards(source.samples("train"), "train", 16_000_000)
    for plan in plans:
        write_shard(plan, folder)
    write_listing(plans, folder)


def requests_of(source: IndexedShardSource) -> list[BatchRequest]:
    size = len(source.samples("train"))
    return list(BatchPlan([size], BATCH_SIZE, seed=0, orders=[source.training_order]))


def bare_loop(contents: dict[str, tuple[Any, ...]], keys: list[list[str]]) -> None:
    """Decode and stack what is in memory: what no reader can be faster than."""
    for batch in keys:
        rngs = [np.random.default_rng((0, int(key))) for key in batch]
        for place, modality in enumerate(MODALITIES):
            transform = TRANSFORMS[modality]
            values = [contents[key][place] for key in batch]
            clips = values if modality == "text" else [Clip(PackedFile("file", value)) for value in values]
            transform.collate([transform(clip, rng) for clip, rng in zip(clips, rngs, strict=True)])


def seconds_of(job: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    started = clock()
    job()
    return clock() - started


def load(dataset: BatchDataset, requests: list[BatchRequest]) -> None:
    for request in requests:
        dataset[request]


def loose(server: Server, batch: list[str], parallel: bool) -> None:
    """One request per file of a batch."""
    urls = [f"{server.url}/{key}.{extension}" for key in batch for extension in ("wav", "jpg", "txt")]
    found = in_parallel(read_whole, urls) if parallel else [read_whole(url) for url in urls]
    assert all(found)


def fetched(source: IndexedShardSource, request: BatchRequest) -> None:
    source.fetch("train", request.indices, MODALITIES, None)


def where_time_goes(shards: str, requests: list[BatchRequest]) -> dict[str, float]:
    """CPU seconds of opening the index, and of reading, decoding and stacking all requests."""
    seconds = dict.fromkeys(("open the index", "read and check", "decode", "collate"), 0.0)
    started = time.process_time()
    source = IndexedShardSource(shards)
    seconds["open the index"] = time.process_time() - started
    for request in requests:
        started = time.process_time()
        rows = source.fetch("train", request.indices, MODALITIES, None)
        seconds["read and check"] += time.process_time() - started
        for modality in MODALITIES:
            rng = np.random.default_rng(0)
            started = time.process_time()
            items = [TRANSFORMS[modality](row[modality][0], rng) for row in rows]
            seconds["decode"] += time.process_time() - started
            started = time.process_time()
            TRANSFORMS[modality].collate(items)
            seconds["collate"] += time.process_time() - started
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-samples", type=int, default=2048)
    num_samples = parser.parse_args().num_samples
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        loose_source = ManifestSource(write_world(folder, num_samples))
        pack(loose_source, folder / "shards")
        for i in range(num_samples):
            (folder / f"{i}.txt").write_text(f"sound {i}")
        source = IndexedShardSource(str(folder / "shards"))
        requests = requests_of(source)
        keys = [[source.samples("train")[i].key for i in request.indices] for request in requests]
        contents = {
            key: ((folder / f"{key}.wav").read_bytes(), (folder / f"{key}.jpg").read_bytes(), f"sound {key}")
            for batch in keys
            for key in batch
        }
        num = sum(map(len, keys))
        dataset = BatchDataset([source], "train", MODALITIES, TRANSFORMS)
        passes = [
            tuple(
                seconds_of(job, time.process_time)
                for job in (lambda: bare_loop(contents, keys), lambda: load(dataset, requests))
            )
            for _ in range(NUM_PASSES)
        ]
        bare, local = (min(each) for each in zip(*passes, strict=True))
        print(f"{num} samples of sound, picture and caption, batches of {BATCH_SIZE}, one process\n")
        print(f"(a) local{'':<33}  per CPU s   of the bare loop")
        print(f"    bare loop, decode and stack{'':<12}{num / bare:>11.0f}")
        print(f"    shards{'':<33}{num / local:>11.0f}{bare / local:>13.2f}   (target 0.90)\n")

        with Server(folder, latency_seconds=LATENCY_SECONDS) as server:
            far = IndexedShardSource(f"{server.url}/shards")
            few = requests[:4]
            num_far = BATCH_SIZE * len(few)
            server.requests.clear()
            shards_seconds = seconds_of(lambda: [fetched(far, request) for request in few])
            num_requests = len(server.requests)
            os.environ |= server.store_options
            stored = IndexedShardSource("s3://shards")
            server.requests.clear()
            stored_seconds = seconds_of(lambda: [fetched(stored, request) for request in few])
            num_stored_requests = len(server.requests)
            one_by_one = seconds_of(lambda: loose(server, keys[0], parallel=False)) * len(few)
            sixteen = seconds_of(lambda: [loose(server, batch, parallel=True) for batch in keys[: len(few)]])
        print(f"(b) 20 ms per request{'':<21}samples/s   requests   shards are faster by")
        print(f"    shards{'':<33}{num_far / shards_seconds:>11.0f}{num_requests:>11}")
        print(f"    shards, s3://{'':<26}{num_far / stored_seconds:>11.0f}{num_stored_requests:>11}")
        for title, seconds in (
            ("loose files, one after the other", one_by_one),
            ("loose files, 16 at a time", sixteen),
        ):
            ratio = f"{seconds / shards_seconds:.1f} ×"
            print(f"    {title:<39}{num_far / seconds:>11.0f}{3 * num_far:>11}{ratio:>12}")
        print("    (target: 10 × one after the other)\n")

        parts = where_time_goes(str(folder / "shards"), requests)
        total = sum(parts.values())
        print(f"(c) where the time goes{'':<19}µs/sample      share")
        for title, seconds in parts.items():
            print(f"    {title:<39}{1e6 * seconds / num:>11.1f}{seconds / total:>11.1%}")


if __name__ == "__main__":
    main()
