"""What finished runs have left behind, and whether two are equal."""

from __future__ import annotations

import json

import torch


def metrics_of(run_dir, name="metrics.json"):
    return json.loads((run_dir / name).read_text())


def figures_of(run_dir, name="metrics.json"):
    return {key: value for key, value in metrics_of(run_dir, name).items() if key not in ("seconds", "hardware")}


def weights_of(checkpoint):
    """Everything a training goes on from: weights, optimizer and schedule."""
    loaded = torch.load(checkpoint, weights_only=True)
    return {key: loaded[key] for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step")}


def assert_equal(a, b):
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_equal(x, y)
    else:
        assert a == b
