"""A tiny Binder of motion and sound with random weights, and recordings for time lines."""

import json

import numpy as np
import torch

from bind.model.binder import Binder
from bind.runs.run_config import CONFIG_VERSION
from bind.timeline.annotated import AnnotatedRecording, EmbeddedStretch
from bind.timeline.labels import Labels
from bind.timeline.segments import Segment

RATE_HZ = 20.0
CHANNELS = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
UNITS = ("g", "g", "g", "rad/s", "rad/s", "rad/s")
LABELS = ("spinning", "resting", "bouncing")
WINDOW_SECONDS = 1.0


def tiny_binder(imu=None):
    """Windows of one second: 20 samples of motion at 20 Hz, 800 of sound at 800 Hz; `imu`: other parts for motion."""
    torch.manual_seed(0)
    transforms = "bind.data.transforms"
    config = {
        "anchor": {"_target_": "bind.anchors.dual_encoder.PretrainedAnchor", "pretrained": "toy"},
        "modalities": ["imu", "audio", "depth"],
        "encoder": {
            "imu": {"_target_": "bind.encoders.imu_cnn.ImuCNN", "width": 4, "num_layers": 2},
            "audio": {
                "_target_": "bind.encoders.audio_cnn.AudioCNN",
                "sample_rate_hz": 800, "num_mels": 8, "width": 4, "num_layers": 2,
                "time_width": 8, "num_time_layers": 1,
            },
            "depth": {"_target_": "bind.encoders.map_cnn.MapCNN", "width": 4},
        },
        "head": {"_target_": "bind.encoders.heads.ProjectionHead"},
        "transform": {
            "imu": {"_target_": f"{transforms}.imu.ImuTransform", "sample_rate_hz": RATE_HZ, "window_seconds": 1.0},
            "audio": {"_target_": f"{transforms}.audio.AudioTransform", "sample_rate_hz": 800, "window_seconds": 1.0},
            "depth": {"_target_": f"{transforms}.depth.DepthTransform"},
        },
    }  # fmt: skip
    for part, options in (imu or {}).items():
        config[part]["imu"] = options
    return Binder.from_config(config).eval()


def motion(num_seconds, seed=0, rate_hz=RATE_HZ):
    """Samples (T, 6) that change every few seconds from one kind of motion to another."""
    rng = np.random.default_rng(seed)
    num_samples = round(num_seconds * rate_hz)
    kind = (np.arange(num_samples) // round(4 * rate_hz)) % 3
    values = np.array([0.05, 0.5, 2.0])[kind][:, None] * rng.standard_normal((num_samples, 6))
    values[:, 2] += 1
    return values.astype(np.float32)


def write_sensor_csv(path, values, start_seconds=0.0, rate_hz=RATE_HZ, gaps=()):
    """A CSV with a time column, without the rows `first` to `last` of each gap."""
    times = start_seconds + np.arange(len(values)) / rate_hz
    kept = np.ones(len(values), dtype=bool)
    for first, last in gaps:
        kept[first:last] = False
    header = ",".join(["time_seconds", *(f"{c} [{u}]" for c, u in zip(CHANNELS, UNITS, strict=True))])
    rows = np.column_stack([times, values])[kept]
    np.savetxt(path, rows, delimiter=",", header=header, comments="", fmt="%.9g")
    return path


def write_sensor_array(path, values, rate_hz=RATE_HZ):
    """A `.npy` beside its JSON."""
    np.save(path, values)
    path.with_suffix(".json").write_text(json.dumps({"channels": CHANNELS, "units": UNITS, "sample_rate_hz": rate_hz}))
    return path


def write_run(folder, zero_shot):
    """A run directory of `tiny_binder` with label sets, as training leaves it, but with random weights."""
    folder.mkdir(parents=True)
    tiny_binder().save(folder)
    config = {name: {} for name in ("anchor", "encoder", "transform", "head", "pairs", "loss", "evaluation", "cache")}
    config |= {"version": CONFIG_VERSION, "modalities": ["imu", "audio"], "seed": 0, "data": {"zero_shot": zero_shot}}
    (folder / "config.yaml").write_text(json.dumps(config))
    return folder


def annotated(num_recordings, seed=0, num_labels=3, noise=0.7, hop_seconds=0.5):
    """Recordings whose vectors say their label, and labels; time between annotations has vectors of its own."""
    rng = np.random.default_rng(seed)
    names = tuple("abcdef"[:num_labels])
    directions = np.eye(num_labels + 1, 16, dtype=np.float32)
    recordings = []
    for number in range(num_recordings):
        numbers = rng.integers(0, num_labels + 1, 20)
        lengths = rng.integers(6, 20, 20)  # in hops
        steps = np.repeat(numbers, lengths)
        z_ND = directions[steps] + noise * rng.standard_normal((len(steps), 16)).astype(np.float32) / 4
        z_ND /= np.linalg.norm(z_ND, axis=1, keepdims=True)
        edges = np.concatenate([[0], np.cumsum(lengths)]) * hop_seconds
        true = [
            Segment(float(a), float(b), names[k])
            for k, a, b in zip(numbers, edges, edges[1:], strict=False)
            if k < num_labels
        ]
        stretch = EmbeddedStretch(0.0, float(edges[-1]), z_ND)
        recordings.append(AnnotatedRecording(f"day{number}", [stretch], true, hop_seconds, hop_seconds))
    return recordings, Labels(names, directions[:num_labels], "0123")
