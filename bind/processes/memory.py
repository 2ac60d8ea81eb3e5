"""Memory of this process, and what the machine has left, in bytes."""

from __future__ import annotations

import sys
from pathlib import Path

STATUS = Path("/proc/self/status")
MACHINE = Path("/proc/meminfo")
GROUPS = Path("/proc/self/cgroup")
GROUPS_ROOT = Path("/sys/fs/cgroup")
UNLIMITED_BYTES = 2**60
"""What the first version of control groups says of a group without a limit is larger than this."""


def peak_bytes() -> int:
    """The most that this process has had in memory, since its start or the last `forget_peak`.

    Examples:
        >>> peak_bytes() > 1_000_000
        True
    """
    if (peak := _kib_of(STATUS, "VmHWM")) is not None:
        return peak
    import resource  # Windows has none

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def forget_peak() -> bool:
    """Have `peak_bytes` start from what is in memory now; False where the system does not let it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def free_bytes() -> int | None:
    """What this process may still take: of the machine, or of its control group, whichever has less; None: unknown."""
    free = _kib_of(MACHINE, "MemAvailable")
    return None if free is None else max(0, min([free, *_free_in_groups()]))


def _free_in_groups() -> list[int]:
    """What is left below the limits of the control groups of this process, both versions; files read count as free."""
    try:
        lines = GROUPS.read_text().splitlines()
    except OSError:
        return []
    left = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            root, names = (
                GROUPS_ROOT / "memory",
                ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
            )
        elif not controllers:
            root, names = GROUPS_ROOT, ("memory.max", "memory.current", "inactive_file")
        else:
            continue
        own = root / path.lstrip("/")
        # In a container the group of the process is often what is mounted as the root.
        for folder in {root, *([own, *own.parents] if own.is_relative_to(root) else [])}:
            if folder.is_relative_to(root) and (free := _free_in_group(folder, *names)) is not None:
                left.append(free)
    return left


def _free_in_group(folder: Path, limit_name: str, usage_name: str, files_name: str) -> int | None:
    try:
        limit, usage = int((folder / limit_name).read_text()), int((folder / usage_name).read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # absent, or "max"
        return None
    return limit - usage + int(stat.get(files_name, 0)) if limit < UNLIMITED_BYTES else None


def _kib_of(path: Path, name: str) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), None)
