"""Device that a binder embeds on."""

from __future__ import annotations

import torch


def best_device() -> torch.device:
    """The first GPU, or the CPU where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
