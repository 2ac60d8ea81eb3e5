"""What checksums cost: bytes a second of CRC-32 and BLAKE2b, beside writing a file that is synced to its disk.

python benchmarks/checksums.py FOLDER
"""

import hashlib
import os
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

NUM_BYTES = 2**28
NUM_REPEATS = 5


def gigabytes_per_second(run: Callable[[], object]) -> float:
    """Of the fastest of several runs over `NUM_BYTES`."""
    seconds = []
    for _ in range(NUM_REPEATS):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return NUM_BYTES / min(seconds) / 1e9


def main(folder: Path) -> None:
    content = os.urandom(NUM_BYTES)
    path = folder / "checksums.bin"

    def write() -> None:
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    try:
        for name, run in {
            "CRC-32": lambda: zlib.crc32(content),
            "BLAKE2b": lambda: hashlib.blake2b(content).digest(),
            "write and sync": write,
        }.items():
            print(f"{name:<16}{gigabytes_per_second(run):6.2f} GB/s")
    finally:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
