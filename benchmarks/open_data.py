"""Seconds and memory to open a table, by its format and number of rows, beside what Arrow takes to read it at all.

    python benchmarks/open_data.py [rows=100000,1000000] [formats=parquet,csv,jsonl] [columns=texts,paths] [folder=PATH]

Every figure is of a process of its own, without its imports: seconds, CPU seconds and private memory at its peak;
mapped pages, which all processes share, are not counted. `again` is the same table when it has been decoded. `first
batch` is what a training does between that and its first batch of 64 texts: identity, content hash, coverage, plan.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

NUM_FILES = 200_000
WORDS = ["a", "dog", "barks", "at", "the", "red", "car", "while", "two", "birds", "sing", "in", "an", "old", "tree"]


def main() -> None:
    options = dict(argument.split("=", 1) for argument in sys.argv[1:])
    rows = [int(float(count)) for count in options.get("rows", "100000,1000000").split(",")]
    formats = options.get("formats", "parquet,csv,jsonl").split(",")
    kinds = options.get("columns", "texts,paths").split(",")
    with tempfile.TemporaryDirectory(dir=options.get("folder")) as folder:
        print("rows | columns | format | Arrow alone | opened | again | first batch")
        print("--- | --- | --- | --- | --- | --- | ---")
        for num_rows in rows:
            for kind in kinds:
                for suffix in formats:
                    table = write_table(Path(folder), num_rows, kind, suffix)
                    print(num_rows, kind, suffix, sep=" | ", end="", flush=True)
                    for what in ("arrow", "open", "open", "batch"):
                        print(" |", measure(what, table), end="", flush=True)
                    print()
                    table.unlink()


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
    import pyarrow.csv
    import pyarrow.parquet

    index = np.arange(num_rows)
    file = index % min(NUM_FILES, num_rows)
    columns = {
        "key": np.char.mod("sample-%09d", index),
        "split": np.where(file % 50 == 0, "val", np.where(file % 50 == 1, "test", "train")),
    }
    if kind == "paths":
        for name, ending in (("image", "jpg"), ("audio", "wav")):
            columns[name] = np.char.mod(f"files/%07d.{ending}", file)
            (folder / "files").mkdir(exist_ok=True)
            for number in range(min(NUM_FILES, num_rows)):
                (folder / "files" / f"{number:07d}.{ending}").touch()
    else:
        columns["owner"] = np.char.mod("owner-%07d", file)
        columns["group"] = np.char.mod("group %d", index % 1000)
    sentences = np.array([" ".join(WORDS[start:] + WORDS[:start])[: 20 + start] for start in range(len(WORDS))])
    columns["text"] = np.char.add(sentences[index % len(WORDS)], np.char.mod(" %d", index))
    arrays = pa.table({name: pa.array(column) for name, column in columns.items()})
    path = folder / f"{kind}-{num_rows}.{suffix}"
    if suffix == "parquet":
        pyarrow.parquet.write_table(arrays, path)
    elif suffix == "csv":
        pyarrow.csv.write_csv(arrays, path)
    else:
        with path.open("w") as lines:
            for batch in arrays.to_batches(max_chunksize=65_536):
                lines.writelines(json.dumps(cells) + "\n" for cells in batch.to_pylist())
    return path


def private_mb() -> float:
    """Private memory of this process that is not a copy of a file."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty")) / 1024


def run_task(what: str, path: Path) -> None:
    """Do one task and print its seconds and the private memory that it took at most."""
    import numpy as np
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet
    import torch

    from bind.data.coverage import require_pairs
    from bind.data.datamodule import BindDataModule
    from bind.data.sources.manifest import ManifestSource

    class Lengths:
        """A transform that leaves out what is no part of opening: a text's length stands for its tokens."""

        def __call__(self, value: str, rng: np.random.Generator | None) -> torch.Tensor:
            return torch.tensor([len(value)])

        def collate(self, items: list[torch.Tensor]) -> torch.Tensor:
            return torch.stack(items)

    def read_with_arrow() -> object:
        readers = {".parquet": pyarrow.parquet.read_table, ".csv": pyarrow.csv.read_csv}
        return readers.get(path.suffix, pyarrow.json.read_json)(path)

    def open_table() -> ManifestSource:
        return ManifestSource(path, cache_dir=path.parent / "cache")

    def first_batch(source: ManifestSource) -> object:
        data = BindDataModule({"table": source}, {"text": Lengths()}, ["text"], ["text"], batch_size=64)
        require_pairs(data.sources, "train", {"text-text": (("text",), ("text",))})
        assert data.identity
        assert source.content_hash("train", "text")
        dataset = data.dataset("train", ["text"])
        return dataset[next(iter(data.train_plan()))]

    source = open_table() if what == "batch" else None
    peak, is_done = [before := private_mb()], threading.Event()

    def watch() -> None:
        while not is_done.wait(0.05):
            peak.append(private_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start, start_cpu = time.perf_counter(), time.process_time()
    result = read_with_arrow() if what == "arrow" else open_table() if source is None else first_batch(source)
    seconds = time.perf_counter() - start
    cpu_seconds = time.process_time() - start_cpu
    peak.append(private_mb())
    is_done.set()
    watcher.join()
    del result
    print(f"{seconds:.2f} s, CPU {cpu_seconds:.2f} s, {max(peak) - before:.0f} MB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["task"]:
        run_task(sys.argv[2], Path(sys.argv[3]))
    else:
        main()
