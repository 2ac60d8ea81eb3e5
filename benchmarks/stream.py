"""What a stream costs: processor time per second of a sensor's samples: python benchmarks/stream.py RUN FILE

One thread; samples come in pieces of half a second.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from bind.media.sensor import load_sensor_file
from bind.model.binder import Binder
from bind.timeline.stream import Stream
from bind.types import Clip

LABELS = ["a person walking", "a person walking upstairs", "a person sitting", "a person standing", "a person lying"]
PIECE_SECONDS = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run or saved binder with motion")
    parser.add_argument("file", type=Path, help="a sensor file")
    parser.add_argument("--trust", nargs="*", default=[], help="as trust= of the commands")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    binder = Binder.load(arguments.run, trust=arguments.trust)
    file = load_sensor_file(Clip(arguments.file))
    values_TC = np.concatenate([values_TC for _, values_TC in file.even.stretches])
    stream = Stream(
        binder, "imu", labels=LABELS, sample_rate_hz=file.sample_rate_hz, channels=file.channels, units=file.units
    )
    num_frames = round(PIECE_SECONDS * file.sample_rate_hz)
    began = time.process_time()
    for first in range(0, len(values_TC), num_frames):
        stream.push(values_TC[first : first + num_frames])
    num_segments = len(stream.finish())
    spent = time.process_time() - began
    seconds = len(values_TC) / file.sample_rate_hz
    print(
        f"{seconds:.0f} s at {file.sample_rate_hz:g} Hz: {spent:.2f} s of one core, {100 * spent / seconds:.2f} %; "
        f"{num_segments} segments, {stream.look_ahead_seconds:.1f} s of look-ahead"
    )


if __name__ == "__main__":
    main()
