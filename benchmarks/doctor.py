"""Seconds and memory of the doctor over a table of many rows that share a few files.

    python benchmarks/doctor.py [rows=1000000] [formats=parquet,csv] [columns=texts,paths] [anchor=none] [folder=PATH]

The tables of `open_data.py`, with owners and texts, or with two paths; here the paths are of 400 files that can be read
and of as many that are missing as a tenth of the rows. Figures are of a process of its own, as there.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import tempfile
from pathlib import Path

from cost import measured
from open_data import WORDS

NUM_FILES = 400


def main() -> None:
    options = dict(argument.split("=", 1) for argument in sys.argv[1:])
    with tempfile.TemporaryDirectory(dir=options.get("folder")) as folder:
        print("rows | columns | format | figures | problems")
        print(" | ".join(["---"] * 5))
        for rows in (int(float(count)) for count in options.get("rows", "1000000").split(",")):
            for kind in options.get("columns", "texts,paths").split(","):
                for suffix in options.get("formats", "parquet,csv").split(","):
                    table = write_table(Path(folder), rows, kind, suffix)
                    command = [sys.executable, __file__, "task", str(table), options.get("anchor", "none")]
                    done = subprocess.run(command, capture_output=True, text=True)
                    if done.returncode:
                        raise RuntimeError(done.stderr)
                    print(rows, kind, suffix, done.stdout.splitlines()[-1], sep=" | ", flush=True)
                    table.unlink()


def write_table(folder: Path, num_rows: int, kind: str, suffix: str) -> Path:
    """Write a table with keys, splits, owners and texts, and with the paths of pictures and sounds."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet
    import soundfile
    from PIL import Image

    rng = np.random.default_rng(0)
    index = np.arange(num_rows)
    file = index % NUM_FILES
    split = np.minimum(file % 50, 2)
    columns = {
        "key": pa.array([f"sample-{i:09}" for i in index.tolist()]),
        "split": pa.array(["val", "test", "train"]).take(pa.array(split)),
        "owner": pa.array([f"owner-{i:07}" for i in file.tolist()]),
        "text": pa.array([f"{' '.join(WORDS[i % 15 :])} {i}" for i in index.tolist()]),
    }
    if kind == "paths":
        for number in range(NUM_FILES):
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"{number}.png")
            soundfile.write(folder / f"{number}.wav", rng.normal(0, 0.1, 4000), 8000)
        for modality, ending in (("image", "png"), ("audio", "wav")):
            is_missing = (index % 10 == 0) & (modality == "image")
            numbers = np.where(is_missing, num_rows + index, file).tolist()
            columns[modality] = pa.array([f"{number}.{ending}" for number in numbers])
    path = folder / f"{kind}-{num_rows}.{suffix}"
    table = pa.table(columns)
    pyarrow.parquet.write_table(table, path) if suffix == "parquet" else pyarrow.csv.write_csv(table, path)
    return path


def run_task(path: Path, anchor: str) -> None:
    """Diagnose a table and print seconds, the private memory that it took at most, and its problems."""
    from bind.studies.doctor.diagnose import diagnose
    from bind.studies.doctor.doors import training_transforms

    transforms = training_transforms()
    with measured() as cost, contextlib.redirect_stderr(io.StringIO()):
        diagnosis = diagnose(path, None if anchor == "none" else anchor, transforms=transforms)
        problems = ", ".join(f"{p.kind.name} {len(p.findings)}" for p in diagnosis.problems()) or "none"
    print(f"{cost.seconds:.1f} s, CPU {cost.cpu_seconds:.1f} s, {cost.memory_mb:.0f} MB | {problems}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["task"]:
        run_task(Path(sys.argv[2]), sys.argv[3])
    else:
        main()
