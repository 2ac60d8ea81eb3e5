"""Peak memory of `bindspace convert imagebind` on random weights of the published model's shapes (4.8 GB).

    python benchmarks/convert_imagebind.py FOLDER [half=true]

FOLDER needs 10 GB; what is written there is deleted afterwards.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
WIDTHS = {"audio": 768, "depth": 384, "thermal": 768, "imu": 512, "vision": 1280, "text": 1024}
NUM_LAYERS = {"audio": 12, "depth": 12, "thermal": 12, "imu": 6, "vision": 32, "text": 24}


def main() -> None:
    """Write the weights, convert them in a process of their own, and print seconds and peak memory."""
    sys.path.insert(0, str(ROOT / "tests"))
    from support.imagebind import make_state

    folder = Path(sys.argv[1]) / "convert_imagebind"
    folder.mkdir(parents=True)
    try:
        file = folder / "imagebind_huge.pth"
        state = make_state(WIDTHS, NUM_LAYERS, dim=1024, make=lambda *shape: torch.empty(*shape).uniform_(-0.02, 0.02))
        num_parameters = sum(x.numel() for name, x in state.items() if not name.endswith("mask"))
        print(f"{len(state)} tensors, {num_parameters:,} numbers, {sum(x.nbytes for x in state.values()):,} bytes")
        torch.save(state, file)
        del state
        command = [sys.executable, "-m", "bind", "convert", "imagebind", str(file), str(folder / "out"), *sys.argv[2:]]
        start = time.perf_counter()
        subprocess.run(command, check=True, cwd=ROOT)
        seconds = time.perf_counter() - start
        peak_gb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9
        written = sum(path.stat().st_size for path in (folder / "out").rglob("*") if path.is_file())
        print(f"{seconds:.0f} s, {peak_gb:.2f} GB at most, mapped pages included; {written / 1e9:.2f} GB written")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
