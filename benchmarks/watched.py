"""A callback in a run that a benchmark starts through bind.runs.jobs, which makes its own trainer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import lightning as L


@contextmanager
def watched(callback: L.Callback) -> Iterator[None]:
    """Every trainer that is made meanwhile has this callback too."""
    make = L.Trainer.__init__

    def with_callback(self: Any, *args: Any, callbacks: Any = (), **kwargs: Any) -> None:
        make(self, *args, callbacks=[*callbacks, callback], **kwargs)

    with mock.patch.object(L.Trainer, "__init__", with_callback):
        yield
