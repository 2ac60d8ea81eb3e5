"""Milliseconds per clip and megabytes of exported encoders, beside torch. python benchmarks/export.py FOLDER RUN

FOLDER is what `bindspace export run=RUN to=onnx|torch|executorch out=FOLDER` wrote. One thread, one clip at a time and
eight; medians over alternating rounds, so that both see the same machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch

from bind import Binder
from bind.share.export import FORMATS
from bind.share.graph import EncoderGraph

NUM_ROUNDS = 30


def main() -> None:
    """Print a line per modality, file and number of clips."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("run", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    card = json.loads((args.folder / "card.json").read_text())
    golden = np.load(args.folder / "golden.npz")
    binder = Binder.load(args.run)
    print("modality  file              MB  clips  ms per clip  torch  ratio")
    for modality, entry in card["encoders"].items():
        inputs = torch.from_numpy(golden[f"{modality}_x"])
        graph = EncoderGraph(binder, modality)
        for file in [entry, *([entry["int8"]] if "int8" in entry else [])]:
            run = FORMATS[card["format"]].open_file(args.folder / file["file"])
            for num_clips in (1, 8):
                x = inputs[:num_clips]
                functions = {"file": partial(run, {"x": x}), "torch": partial(graph, x)}
                milliseconds: dict[str, list[float]] = {"file": [], "torch": []}
                with torch.inference_mode():
                    for _ in range(NUM_ROUNDS):
                        for name, function in functions.items():
                            start = time.perf_counter()
                            function()
                            milliseconds[name].append((time.perf_counter() - start) * 1000 / num_clips)
                ours, torchs = (statistics.median(milliseconds[name]) for name in ("file", "torch"))
                print(
                    f"{modality:9} {file['file']:16} {file['megabytes']:5.2f} {num_clips:6} {ours:12.2f} {torchs:6.2f} "
                    f"{ours / torchs:6.2f}"
                )


if __name__ == "__main__":
    main()
