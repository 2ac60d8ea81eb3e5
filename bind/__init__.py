"""bind: train encoders for new modalities into the space of a frozen CLIP."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bind.bridge.bridge import Bridge
    from bind.commands.train import train
    from bind.model.binder import Binder
    from bind.runs.run import Run

__version__ = "0.1.0"
__all__ = ["Binder", "Bridge", "Run", "__version__", "train"]

# torch, lightning and transformers take seconds to import: only who asks for these names pays.
_MODULES = {
    "Binder": "bind.model.binder",
    "Bridge": "bind.bridge.bridge",
    "Run": "bind.runs.run",
    "train": "bind.commands.train",
}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'bind' has no attribute '{name}'")
