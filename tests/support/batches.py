"""Batches of the small Binder in `tiny`, with rows that lack a modality."""

from __future__ import annotations

import numpy as np
import torch

from bind.types import Batch, SensorRecording
from support import tiny

CHANNELS = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")


UNITS = ("g", "g", "g", "rad/s", "rad/s", "rad/s")


RNG = np.random.default_rng(0)


RECORDINGS = [SensorRecording(RNG.normal(size=(50, 6)).astype(np.float32), 50.0, CHANNELS, UNITS) for _ in range(5)]


def attention(*inputs):
    return {"_target_": "bind.fusion.attention.AttentionFusion", "inputs": list(inputs), "hidden_width": 4}


def make_batch(binder, *, imu=(0, 2, 3), depth=(1, 2), carried=("image", "imu", "depth"), num_rows=5):
    """Row 4 has nothing but its picture, which is cached."""
    inputs, rows = {}, {}
    for modality, own, values in (("imu", imu, RECORDINGS), ("depth", depth, [depth_map(i) for i in range(num_rows)])):
        if own:
            transform = binder.transforms[modality]
            inputs[modality] = transform.collate([transform(values[row], None) for row in own])
            rows[modality] = torch.tensor(own)
    cached = torch.nn.functional.normalize(torch.arange(1.0, num_rows * tiny.DIM + 1).view(num_rows, -1), dim=-1)
    rows["image"] = torch.arange(num_rows)
    keys = [f"k{i}" for i in range(num_rows)]
    return Batch(keys, torch.arange(num_rows), inputs, rows, {"image": cached}, modalities=carried)


def depth_map(seed):
    return np.random.default_rng(seed).uniform(0.5, 5.0, (64, 64)).astype(np.float32)
