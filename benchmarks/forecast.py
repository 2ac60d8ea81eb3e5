"""The cost model of docs/scaling.md in numbers: a step on 1 to 1,024 GPUs, of which none was at hand to measure.

    python benchmarks/forecast.py

Change the constants to those of your cluster and your encoder (`torch.utils.flop_counter` counts a forward pass).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

GB = 1e9


@dataclass(frozen=True)
class Machine:
    """H100 SXM nodes of eight. Peaks are NVIDIA's (dense); the share of them that is reached is assumed."""

    encoder_flops: float = 0.4 * 989e12  # bf16
    loss_flops: float = 0.4 * 495e12  # TF32
    gpus_per_node: int = 8
    node_bytes: float = 0.7 * 450e9  # NVLink, one direction
    network_bytes: float = 0.8 * 50e9  # 400 Gbit/s per GPU
    latency_seconds: float = 20e-6  # of a collective, per doubling of the processes; assumed


@dataclass(frozen=True)
class Encoder:
    """`encoder/audio=imagebind`: counted with torch's FLOP counter, except for the activations."""

    parameters: float = 86.2e6  # with the head
    flop: float = 39.0e9  # of a forward pass of one row
    num_layers: int = 12
    tokens: int = 229
    width: int = 768
    dim: int = 1024

    @property
    def activation_bytes(self) -> float:
        """Of one row, in bf16, without the attention matrix: Korthikanti et al. 2022, equation 2."""
        return 34 * self.tokens * self.width * self.num_layers


@dataclass(frozen=True)
class Step:
    """Seconds and bytes per GPU of one step with one pair, whose other side is frozen and cached."""

    gpus: int
    rows: int
    encoder: Encoder = Encoder()
    machine: Machine = Machine()

    @property
    def global_rows(self) -> int:
        return self.gpus * self.rows

    @property
    def link(self) -> float:
        return self.machine.node_bytes if self.gpus <= self.machine.gpus_per_node else self.machine.network_bytes

    @property
    def others(self) -> float:
        return (self.gpus - 1) / self.gpus

    @property
    def encode(self) -> float:
        return 3 * self.encoder.flop * self.rows / self.machine.encoder_flops

    @property
    def gradients(self) -> float:
        """All-reduce of the gradients; DDP hides it behind the backward pass, two thirds of `encode`."""
        return 8 * self.encoder.parameters * self.others / self.link

    @property
    def gather(self) -> float:
        return (4 * self.encoder.dim + 24) * self.global_rows * self.others / self.link

    @property
    def loss(self) -> float:
        return 6 * self.rows * self.global_rows * self.encoder.dim / self.machine.loss_flops

    @property
    def latency(self) -> float:
        return 9 * self.machine.latency_seconds * log2(self.gpus) if self.gpus > 1 else 0.0

    @property
    def seconds(self) -> float:
        exposed = max(0.0, self.gradients - 2 / 3 * self.encode)
        return self.encode + exposed + self.gather + self.loss + self.latency

    @property
    def loss_bytes(self) -> float:
        tile = min(max(2**26, 128 * self.global_rows), self.rows * self.global_rows)
        return 14 * tile + 8 * self.encoder.dim * self.global_rows

    @property
    def activation_bytes(self) -> float:
        return self.encoder.activation_bytes * self.rows

    @property
    def ddp_bytes(self) -> float:
        return 16 * self.encoder.parameters + self.activation_bytes + self.loss_bytes

    @property
    def fsdp_bytes(self) -> float:
        """Besides its shard a process holds two layers' weights and the gradients of one."""
        layer = self.encoder.parameters / self.encoder.num_layers
        return 16 * self.encoder.parameters / self.gpus + 12 * layer + self.activation_bytes + self.loss_bytes


COLUMNS = ("GPUs", "rows/GPU", "rows", "encode", "grads", "gather", "loss", "latency", "step", "rows/s", "DDP", "FSDP")


def line(step: Step) -> str:
    parts = (step.encode, step.gradients, step.gather, step.loss, step.latency, step.seconds)
    return (
        f"{step.gpus:>9,}{step.rows:>9}{step.global_rows:>9,}{''.join(f'{1e3 * part:>9.2f}' for part in parts)}"
        f"{step.global_rows / step.seconds:>11,.0f}{step.ddp_bytes / GB:>7.1f}{step.fsdp_bytes / GB:>7.1f}"
    )


def main() -> None:
    title = "".join(f"{name:>9}" for name in COLUMNS[:9]) + f"{COLUMNS[9]:>11}{COLUMNS[10]:>7}{COLUMNS[11]:>7}"
    print("milliseconds, GB\n" + title)
    for gpus in (1, 8, 64, 256, 1024):
        print(line(Step(gpus, rows=256)))
    print("at most 32,768 rows together")
    for gpus in (128, 256, 1024):
        print(line(Step(gpus, rows=32768 // gpus)))


if __name__ == "__main__":
    main()
