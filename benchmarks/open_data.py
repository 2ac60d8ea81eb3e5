"""Seconds and memory to open a table, by its format and number of rows, beside what Arrow takes to read it at all.

    python benchmarks/open_data.py [rows=1000000,10000000] [formats=parquet,csv,jsonl,shards] \
        [columns=texts,paths] [folder=PATH]

Every figure is of a process of its own, without its imports: seconds, CPU seconds and private memory at its peak;
mapped pages, which all processes share, are not counted. `again` is the same table when it has been decoded. `first
batch` is what a training does between that and its first batch of 64 texts: identity, content hash, coverage, plan;
`with a cache` the same where the vectors of the texts are cached.
Shards are indices of 10,000 samples each, with a text and a picture; columns make no difference to them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cost import measured

NUM_FILES = 200_000
SHARD_SAMPLES = 10_000
WORDS = ["a", "dog", "barks", "at", "the", "red", "car", "while", "two", "birds", "sing", "in", "an", "old", "tree"]


def main() -> None:
    options = dict(argument.split("=", 1) for argument in sys.argv[1:])
    rows = [int(float(count)) for count in options.get("rows", "1000000,10000000").split(",")]
    formats = options.get("formats", "parquet,csv,jsonl,shards").split(",")
    kinds = options.get("columns", "texts,paths").split(",")
    with tempfile.TemporaryDirectory(dir=options.get("folder")) as folder:
        print("rows | columns | format | Arrow alone | opened | again | first batch | with a cache")
        print(" | ".join(["---"] * 8))
        for num_rows in rows:
            for kind in kinds:
                for suffix in formats if kind == kinds[0] else [f for f in formats if f != "shards"]:
                    table = write_table(Path(folder), num_rows, kind, suffix)
                    print(num_rows, kind, suffix, sep=" | ", end="", flush=True)
                    for what in ("arrow", "open", "open", "batch"):
                        print(" |", measure(what, table), end="", flush=True)
                    measure("fill", table)
                    print(" |", measure("cached", table), flush=True)
                    shutil.rmtree(table.parent / "vectors")
                    shutil.rmtree(table) if table.is_dir() else table.unlink()


def measure(what: str, table: Path) -> str:
    """Seconds and megabytes of one task in a process of its own."""
    command = [sys.executable, __file__, "task", what, str(table)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout.splitlines()[-1]


def write_table(folder: Path, num_rows: int, kind: str, suffix: str) -> Path:
    """Write a table of five columns, with two of paths or with captions; its files are there."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv
    import pyarrow.parquet

    from bind.data.hashes import string_bytes

    if suffix == "shards":
        return write_shards(folder / f"shards-{num_rows}", num_rows)

    def numbered(start: str, numbers: np.ndarray, width: int, end: str = "") -> pa.Array:
        return pc.binary_join_element_wise(
            start, pc.utf8_lpad(pa.array(numbers).cast(pa.string()), width, "0"), end, ""
        )

    index = np.arange(num_rows)
    file = index % NUM_FILES
    of_split = np.minimum(file % 50, 2)
    columns = {
        "key": numbered("sample-", index, 9),
        "split": pa.array(["val", "test", "train"]).take(pa.array(of_split)),
    }
    if kind == "paths":
        for name, ending in (("image", "jpg"), ("audio", "wav")):
            columns[name] = numbered("files/", file, 7, f".{ending}")
            touch_files(folder / "files", min(NUM_FILES, num_rows), ending)
    else:
        columns["owner"] = numbered("owner-", file, 7)
        columns["group"] = numbered("group ", index % 1000, 1)
    sentences = pa.array([" ".join(WORDS[start:] + WORDS[:start])[: 20 + start] for start in range(len(WORDS))])
    columns["text"] = pc.binary_join_element_wise(
        sentences.take(pa.array(index % len(WORDS))), pa.array(index).cast(pa.string()), " "
    )
    path = folder / f"{kind}-{num_rows}.{suffix}"
    table = pa.table(columns)
    if suffix == "parquet":
        pyarrow.parquet.write_table(table, path)
    elif suffix == "csv":
        pyarrow.csv.write_csv(table, path)
    else:  # no cell needs to be escaped
        with path.open("wb") as lines:
            for part in table.to_batches(max_chunksize=2**18):
                pairs = [(f'"{name}": "', column) for name, column in zip(part.schema.names, part.columns, strict=True)]
                cells = [pc.binary_join_element_wise(start, column, '"', "") for start, column in pairs]
                rows = pc.binary_join_element_wise("{", pc.binary_join_element_wise(*cells, ", "), "}\n", "")
                lines.write(string_bytes(rows)[0].data)
    return path


def write_shards(folder: Path, num_rows: int) -> Path:
    """Write indices of shards of 10,000 samples; the tars are small, and samples share what is in them."""
    import zlib

    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from bind.data.sources.shards.index_table import MEMBER_TYPES, IndexTable

    folder.mkdir()
    captions = [" ".join(WORDS[start:] + WORDS[:start]).encode().ljust(512) for start in range(len(WORDS))]
    tar = bytes(512) + b"".join(captions) + bytes(1024)
    checksums = np.array([zlib.crc32(caption) for caption in captions])
    for first in range(0, num_rows, SHARD_SAMPLES):
        index = np.arange(first, min(first + SHARD_SAMPLES, num_rows))
        digits = pc.utf8_lpad(pa.array(index).cast(pa.string()), 9, "0")
        place = np.repeat(index % len(WORDS), 2)
        numbers = {"offset": 512 * (place + 1), "size": np.full(len(place), 512), "crc32": checksums[place]}
        offsets = pa.array(np.arange(0, 2 * len(index) + 1, 2, dtype=np.int32))
        none = pa.nulls(len(index), pa.string())
        split = "val" if first // SHARD_SAMPLES % 50 == 1 else "train"
        columns = {
            "key": pc.binary_join_element_wise("sample-", digits, ""),
            "split": pa.array([split] * len(index)),
            "group": none,
            "label": none,
            "owners": pa.ListArray.from_arrays(np.arange(len(index) + 1, dtype=np.int32), digits),
            "suffix": pa.ListArray.from_arrays(offsets, pa.array(["image.jpg", "text.txt"] * len(index))),
        }
        for name, kind in MEMBER_TYPES.items():
            values = numbers.get(name, np.full(len(place), np.nan)).astype(kind)
            columns[name] = pa.ListArray.from_arrays(offsets, pa.array(values))
        stem = f"{first // SHARD_SAMPLES:06d}"
        (folder / f"{stem}.tar").write_bytes(tar)
        table = IndexTable(len(tar), "benchmark", pa.table(columns))
        (folder / f"{stem}.index.parquet").write_bytes(table.to_bytes())
    return folder


def touch_files(folder: Path, num_files: int, ending: str) -> None:
    """Make empty files that are not there yet."""
    folder.mkdir(exist_ok=True)
    there = set(os.listdir(folder))
    for name in (f"{number:07d}.{ending}" for number in range(num_files)):
        if name not in there:
            (folder / name).touch()


def run_task(what: str, path: Path) -> None:
    """Do one task and print its seconds and the private memory that it took at most."""
    import numpy as np
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet
    import torch

    from bind.cache.build import CacheOptions, build_cache
    from bind.cache.fill import Engine
    from bind.data.coverage import require_pairs
    from bind.data.datamodule import BindDataModule
    from bind.data.sources.manifest import ManifestSource
    from bind.data.sources.shards.source import IndexedShardSource
    from bind.types import EmbeddingCache, Source

    class Lengths:
        """A transform that leaves out what is no part of opening: a text's length stands for its tokens."""

        def __call__(self, value: str, rng: np.random.Generator | None) -> torch.Tensor:
            return torch.tensor([len(value)])

        def collate(self, items: list[torch.Tensor]) -> torch.Tensor:
            return torch.stack(items)

    def read_with_arrow() -> object:
        if path.is_dir():
            return [pyarrow.parquet.read_table(index) for index in sorted(path.glob("*.parquet"))]
        readers = {".parquet": pyarrow.parquet.read_table, ".csv": pyarrow.csv.read_csv}
        return readers.get(path.suffix, pyarrow.json.read_json)(path)

    def open_table() -> Source:
        if path.is_dir():
            return IndexedShardSource(str(path), cache_dir=path.parent / "cache")
        return ManifestSource(path, cache_dir=path.parent / "cache")

    class Tower:
        """What a cache has to know of an anchor."""

        name, dim, modalities, trainable, fingerprint = "constant", 8, ("text",), (), "0" * 32

        def __init__(self) -> None:
            self.transforms = {"text": Lengths()}

    class ConstantVectors(Engine):
        """Fills a cache with one vector."""

        def fill(self, job: Any, anchor: Any, folder: Any, parts: Any, advance: Any) -> bool:
            for part in filter(folder.claim, parts):
                size = folder.sizes[part]
                folder.write_part(part, np.ones(size, np.int32), np.full((size, 1, Tower.dim), 8**-0.5, np.float16))
                folder.release(part)
            return True

    def open_cache(source: Source, build: bool) -> EmbeddingCache:
        options = CacheOptions(path.parent / "vectors", build=build)
        return build_cache(Tower(), [source], [(0, "train", "text")], options, ConstantVectors(), show=False)  # type: ignore[arg-type]

    def first_batch(source: Source, with_cache: bool) -> object:
        data = BindDataModule({"table": source}, {"text": Lengths()}, ["text"], ["text"], batch_size=64)
        require_pairs(data.sources, "train", {"text-text": (("text",), ("text",))})
        assert data.identity
        assert source.content_hash("train", "text")
        dataset = data.dataset("train", ["text"], open_cache(source, build=False) if with_cache else None)
        return dataset[next(iter(data.train_plan()))]

    tasks: dict[str, Callable[[], object]] = {"arrow": read_with_arrow, "open": open_table}
    if what not in tasks:
        source = open_table()
        tasks["fill"] = lambda: open_cache(source, build=True)
        tasks["batch"] = lambda: first_batch(source, with_cache=False)
        tasks["cached"] = lambda: first_batch(source, with_cache=True)
    with measured() as cost:
        result = tasks[what]()
    del result
    print(f"{cost.seconds:.2f} s, CPU {cost.cpu_seconds:.2f} s, {cost.memory_mb:.0f} MB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["task"]:
        run_task(sys.argv[2], Path(sys.argv[3]))
    else:
        main()
