"""bind: train encoders for new modalities into the space of a frozen CLIP."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bind.model.binder import Binder

__version__ = "0.1.0"
__all__ = ["Binder", "__version__"]


def __getattr__(name: str) -> object:
    # torch and transformers take seconds to import: only who asks for the model pays.
    if name == "Binder":
        from bind.model.binder import Binder

        return Binder
    raise AttributeError(f"module 'bind' has no attribute '{name}'")
