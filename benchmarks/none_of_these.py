"""How well "none of these" is told in the toy world, where the truth is known: python benchmarks/none_of_these.py RUN

Recordings of objects that move in turn, seconds each; one motion after the other is left out of the labels and of the
annotations. The fit is made on six recordings, and measured on six others.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bind.data.sources.toy.imu import CHANNELS, SAMPLE_RATE_HZ, UNITS, render_imu
from bind.data.sources.toy.world import FACTORS
from bind.model.binder import Binder
from bind.runs.run_config import open_run
from bind.studies.timeline.measure import embed_stretches, measure
from bind.timeline.annotated import AnnotatedRecording
from bind.timeline.fit import fit_parameters
from bind.timeline.labels import embed_labels
from bind.timeline.recording import open_windows
from bind.timeline.segments import Segment

NUM_RECORDINGS = 12
NUM_OBJECTS = 40
CLIP_SECONDS = 2
"""What the toy world renders at a time; an object moves for two to five of them."""


def write_recording(path: Path, rng: np.random.Generator) -> list[Segment]:
    """Write the motion of objects in turn, and return what moved how."""
    motions = FACTORS["motion"]
    parts, true, at = [], [], 0.0
    for _ in range(NUM_OBJECTS):
        motion, size, material = (int(rng.integers(len(FACTORS[name]))) for name in ("motion", "size", "material"))
        num_clips = int(rng.integers(2, 6))
        rngs = [np.random.default_rng(rng.integers(2**32)) for _ in range(num_clips)]
        of_clips = {"motion": motion, "size": size, "material": material}
        clips = render_imu(rngs, **{name: np.full(num_clips, value) for name, value in of_clips.items()})
        parts.append(clips.reshape(-1, len(CHANNELS)))
        true.append(Segment(at, at + CLIP_SECONDS * num_clips, motions[motion]))
        at += CLIP_SECONDS * num_clips
    np.save(path, np.concatenate(parts))
    about = {"channels": CHANNELS, "units": UNITS, "sample_rate_hz": SAMPLE_RATE_HZ}
    path.with_suffix(".json").write_text(json.dumps(about))
    return true


def embed(binder: Binder, folder: Path) -> list[AnnotatedRecording]:
    """The recordings, annotated in full."""
    recordings = []
    for number in range(NUM_RECORDINGS):
        path = folder / f"day{number}.npy"
        true = write_recording(path, np.random.default_rng([number, 7]))
        windows = open_windows(binder, "imu", path)
        stretches = embed_stretches(binder, "imu", windows)
        recordings.append(AnnotatedRecording(path.stem, stretches, true, windows.window_seconds, windows.hop_seconds))
    return recordings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run of the toy world with motion, such as of `python train.py`")
    run_dir, config = open_run(parser.parse_args().run)
    binder = Binder.load(run_dir)
    templates = config["data"]["zero_shot"]["motion"]["templates"]
    with TemporaryDirectory() as folder:
        recordings = embed(binder, Path(folder))
    print("held out     accuracy     F1    AUC of none")
    for held_out in FACTORS["motion"]:
        names = [name for name in FACTORS["motion"] if name != held_out]
        labels = embed_labels(binder, {name: [template.format(name) for template in templates] for name in names})
        known = [recording.with_labels(names) for recording in recordings]
        fit = fit_parameters(known[: NUM_RECORDINGS // 2], labels)
        assert fit.with_none is not None
        scores = measure(known[NUM_RECORDINGS // 2 :], labels, fit.with_none)
        counts = scores.counts
        print(f"{held_out:<12} {counts.frame_accuracy:>8.3f} {counts.segment_f1:>6.3f} {scores.none_auc:>14.3f}")


if __name__ == "__main__":
    main()
