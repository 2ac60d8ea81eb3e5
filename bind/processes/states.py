"""Processes of this host as others see them: whether one is there, and what it is doing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class ProcessState(NamedTuple):
    """What a process is doing, and what to do where others wait for it in vain; ends of two sentences."""

    words: str
    remedy: str


_STATES = {
    "R": ProcessState("is computing", "raise timeout_seconds if it needs longer"),
    "S": ProcessState(
        "waits for a file, a server or another process", "check those, or raise timeout_seconds if they need longer"
    ),
    "D": ProcessState("waits for a disk or a network file system", "check the disk and the mounts"),
    "T": ProcessState("is stopped", "find what has stopped it, such as a debugger, a batch system or kill -STOP"),
    "Z": ProcessState("has ended", "look above for its error"),
}
"""By the letter that Linux has for it."""
_STATES["t"] = _STATES["T"]
UNKNOWN = ProcessState("does not answer", "look what it is doing, or raise timeout_seconds if it needs longer")


def is_process_alive(pid: int) -> bool:
    """Whether a process of this number runs on this host."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True


def process_state(pid: int) -> ProcessState:
    """What the process is doing; `UNKNOWN` where the system does not say.

    Examples:
        >>> process_state(os.getpid()).words
        'is computing'
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return UNKNOWN if is_process_alive(pid) else _STATES["Z"]
    return _STATES.get(stat.rpartition(")")[2].split()[0], UNKNOWN)


def is_stopped(pid: int) -> bool:
    """Whether a signal or a debugger has stopped the process."""
    return process_state(pid) == _STATES["T"]


def describe_processes(pids: Mapping[str, int]) -> str:
    """What processes that do not answer are doing and what to do; where some are stopped, only those.

    Args:
        pids: name of each, such as `process 1` → its number on this host.

    Examples:
        >>> describe_processes({"process 3": os.getpid()}).partition(" (")[0]
        'process 3'
    """
    stopped = {name: pid for name, pid in pids.items() if is_stopped(pid)}
    names: dict[ProcessState, list[str]] = {}
    for name, pid in (stopped or pids).items():
        names.setdefault(process_state(pid), []).append(f"{name} ({pid})")
    return "; ".join(f"{', '.join(alike)} {state.words}: {state.remedy}" for state, alike in names.items())
