"""What the data rooms say about a conversion: once per kind and process, through the log `bind.data`."""

from __future__ import annotations

import logging

logger = logging.getLogger("bind.data")

_said: set[str] = set()


def say_once(what: str, name: str) -> None:
    """Warn that `what` happens, naming the first recording it happened to."""
    if what not in _said:
        _said.add(what)
        logger.warning("%s (first: %s; not repeated)", what, name)
