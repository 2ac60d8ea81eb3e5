"""What a training ran on: the device and the number of processes, for `metrics.json`."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch

CPU_FACTS = Path("/proc/cpuinfo")


def describe_hardware(device: torch.device, num_processes: int) -> dict[str, Any]:
    """The name of the device and how many processes trained, each on one such device.

    Examples:
        >>> sorted(describe_hardware(torch.device("cpu"), 1))
        ['device', 'processes']
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    return {"device": name if device.type in ("cuda", "cpu") else device.type, "processes": num_processes}


def cpu_name() -> str:
    """The processor's name as its maker gives it, with the threads that torch takes; its architecture elsewhere."""
    name = platform.processor() or platform.machine()
    if CPU_FACTS.is_file():
        facts = CPU_FACTS.read_text(errors="replace").splitlines()
        name = next((line.partition(":")[2].strip() for line in facts if line.startswith("model name")), name)
    return f"{name}, {torch.get_num_threads()} threads"
