"""Warnings about conversions, in the log `bind.data`: each kind once per process."""

from __future__ import annotations

import logging

logger = logging.getLogger("bind.data")

_warned: set[str] = set()


def warn_once(conversion: str, name: str) -> None:
    """Warn of a `conversion`, with the `name` of the first recording that needed it."""
    if conversion not in _warned:
        _warned.add(conversion)
        logger.warning("%s (first: %s; not repeated)", conversion, name)


def mark_as_said(conversion: str) -> None:
    """Keep `warn_once` silent about a `conversion` of which more has been said than it would."""
    _warned.add(conversion)
