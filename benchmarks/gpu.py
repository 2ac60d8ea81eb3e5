"""All that one GPU can tell about bind, in at most eight minutes. One table.

Five sections, each a process of its own with its own limit, so that one that fails or hangs is named and the others
still run: the tests that are marked `gpu`; the loss against open_clip's and against one that recomputes chunks of rows;
a step of the default encoders in fp32, in bf16 and compiled; the ranking of a large pool; a training by DDP on one GPU.

Products of the loss are the matrix products that it needs, 2 * N * N * D operations each (see benchmarks/loss.py):
their rate is a share of what the card does on large square matrices, which is measured first.

    pip install -e ".[dev,benchmarks]"
    python benchmarks/gpu.py
    python benchmarks/gpu.py --device cpu --quick     # tiny sizes: whether the script itself works
    python benchmarks/gpu.py --sections loss metrics
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils.checkpoint import checkpoint

HERE = Path(__file__).resolve().parents[1]
GB = 1e9
Row = tuple[str, str]
"""What was measured, and what came out."""


def measure_tests(options: argparse.Namespace) -> list[Row]:
    """The tests that are marked `gpu`."""
    environment = {**os.environ, "BIND_TEST_DEVICE": options.device.type}
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "tests/test_gpu.py"]
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, check=False)
    summary = (done.stdout.strip().splitlines() or [done.stderr.strip()])[-1]
    if done.returncode:
        raise RuntimeError(f"{summary}\n{done.stdout[-3000:]}")
    return [("tests of the device", re.sub(r" in .*", "", summary))]


def chunked_loss(z_a: Tensor, z_b: Tensor, scale: Tensor, chunk_size: int = 1024) -> Tensor:
    """InfoNCE by chunks of rows, whose logits are computed again in the backward pass."""

    def of_chunk(start: int) -> Tensor:
        own = torch.arange(start, min(start + chunk_size, len(z_a)), device=z_a.device)
        sides = ((z_a, z_b), (z_b, z_a))
        logits = [scale * (query[own] @ pool.T) for query, pool in sides]
        return torch.stack([torch.nn.functional.cross_entropy(x, own, reduction="sum") for x in logits]).sum()

    starts = range(0, len(z_a), chunk_size)
    return torch.stack([checkpoint(of_chunk, start, use_reentrant=False) for start in starts]).sum() / (2 * len(z_a))


def measure_loss(options: argparse.Namespace) -> list[Row]:
    """Forward and backward of each loss, both sides trained."""
    import loss as benchmark

    torch.set_float32_matmul_precision("high")
    benchmark.LOSSES["chunks"] = chunked_loss
    benchmark.PRODUCTS["chunks"] = (6, 8)  # both directions' logits twice, and a gradient of each per trained side
    device = options.device
    rate = benchmark.matmul_rate(device)
    rows: list[Row] = [(f"products of the {device.type}, as training makes them", f"{rate / 1e12:.2f} Tflop/s")]
    dim, num_repeats = (32, 2) if options.quick else (512, 5)
    for num_rows in (256, 512) if options.quick else (32_768, 131_072):
        for name in ("tiles", "chunks", "ClipLoss"):
            about = f"loss, {num_rows:,} rows, {name}"
            try:
                step = benchmark.Step(name, num_rows, dim, "both sides", 1 / 0.07, device)
                reset_peak(device)
                seconds = benchmark.median_seconds({name: step}, num_repeats)[name]
            except torch.cuda.OutOfMemoryError:
                rows.append((about, "does not fit"))
                continue
            except ModuleNotFoundError as error:
                rows.append((about, f"needs {error.name}: pip install -e .[benchmarks]"))
                continue
            finally:
                step = None
            share = benchmark.PRODUCTS[name][1] * 2 * num_rows**2 * dim / seconds / rate
            rows.append((about, f"{1000 * seconds:.1f} ms, {share:.0%} of the products' rate, {peak(device)}"))
    return rows


def reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak(device: torch.device) -> str:
    if device.type != "cuda":
        return "memory needs a GPU"
    return f"{torch.cuda.max_memory_allocated() / GB:.2f} GB"


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def seconds_of(job: Callable[[], object], device: torch.device, num_repeats: int) -> float:
    """The median of some rounds, after two that warm up."""
    taken = []
    for _ in range(2 + num_repeats):
        synchronize(device)
        started = time.perf_counter()
        job()
        synchronize(device)
        taken.append(time.perf_counter() - started)
    return sorted(taken[2:])[num_repeats // 2]


def measure_step(options: argparse.Namespace) -> list[Row]:
    """Encoders forward and backward, loss and optimizer, of the default job with its anchor's vectors at hand."""
    from omegaconf import OmegaConf

    from bind.build import ANY_CLASS
    from bind.runs.jobs import make_module
    from bind.runs.parts import Parts

    device, num_rows = options.device, 16 if options.quick else 1024
    torch.set_float32_matmul_precision("high")
    cfg = compose_config([f"data.batch_size={num_rows}", f"data.num_train={max(512, num_rows)}"])
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    rows: list[Row] = []
    kinds: tuple[tuple[str, torch.dtype | None, bool], ...] = (
        ("fp32", None, False),
        ("bf16", torch.bfloat16, False),
        ("bf16, compiled", torch.bfloat16, True),
    )
    for name, dtype, is_compiled in kinds[:2] if options.quick else kinds:
        torch.manual_seed(0)
        parts = Parts.build(config, trust=ANY_CLASS)
        module: Any = make_module(parts).to(device)
        batch = parts.datamodule.dataset("train", ["audio", "imu"])[next(iter(parts.datamodule.train_plan()))]
        batch.cached["image"] = normalize(torch.randn(num_rows, parts.binder.dim), dim=-1)
        batch.rows["image"], batch.modalities = torch.arange(num_rows), ("image", "audio", "imu")
        batch = batch.to(device)
        if is_compiled:
            for encoder in parts.binder.encoders.values():
                encoder.compile()
        trained = [p for p in module.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=1e-3, fused=True)

        def step(module: Any = module, batch: Any = batch, optimizer: Any = optimizer, dtype: Any = dtype) -> None:
            optimizer.zero_grad()
            with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
                losses = module.losses(batch, module(batch))
            torch.stack([*losses.values()]).sum().backward()
            optimizer.step()

        module.train()
        reset_peak(device)
        seconds = seconds_of(step, device, 2 if options.quick else 20)
        rate = f"{1000 * seconds:.1f} ms, {num_rows / seconds:,.0f} samples/s, {peak(device)}"
        rows.append((f"step, {num_rows:,} rows, {name}", rate))
    return rows


def compose_config(overrides: Sequence[str]) -> Any:
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(HERE / "configs"), version_base="1.3"):
        return compose("train", overrides=["run_dir=unused", *overrides])


def measure_metrics(options: argparse.Namespace) -> list[Row]:
    """A large pool, ranked; its first queries have to come out as on the CPU."""
    from bind.metrics import rank_by_cosine

    num_queries, num_pool, dim = (64, 512, 16) if options.quick else (10_000, 1_000_000, 512)
    generator = torch.Generator(options.device).manual_seed(0)
    made = (torch.randn(n, dim, device=options.device, generator=generator) for n in (num_queries, num_pool))
    z_query, z_pool = (normalize(z, dim=-1) for z in made)
    z_query = normalize(z_query + 3 * z_pool[:num_queries], dim=-1)
    groups = torch.arange(num_pool, device=options.device)

    def rank(z_query: Tensor, z_pool: Tensor) -> Tensor:
        ids = groups.to(z_pool.device)
        return rank_by_cosine(z_query, z_pool, ids[: len(z_query)], ids).ranks_Q

    reset_peak(options.device)
    seconds = seconds_of(lambda: rank(z_query, z_pool), options.device, 2)
    few = rank(z_query[:32], z_pool).cpu()
    if not torch.equal(few, rank(z_query[:32].cpu(), z_pool.cpu())):
        raise RuntimeError("ranks differ from those of the CPU")
    name = f"ranking of {num_pool:,} items for {num_queries:,} queries"
    return [(name, f"{seconds:.3f} s, as on the CPU, {peak(options.device)}")]


def measure_ddp(options: argparse.Namespace) -> list[Row]:
    """A short training by DDP in one process, from the command line."""
    on_cpu = options.device.type == "cpu"
    size = ["debug=tiny"] if options.quick else ["trainer.max_steps=200", "data.num_test_queries=1"]
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        accelerator = f"trainer.accelerator={'cpu' if on_cpu else 'gpu'}"
        command = [sys.executable, "train.py", *size, "trainer=ddp", "trainer.devices=1", accelerator]
        options_of_run = ["evaluation.num_gallery_queries=0", "evaluation.num_scatter_samples=0", f"run_dir={run_dir}"]
        done = subprocess.run([*command, *options_of_run], cwd=HERE, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr[-3000:] or done.stdout[-3000:])
        metrics = json.loads((run_dir / "metrics.json").read_text())
    found = metrics["retrieval"]["audio_to_image"]
    recall = f"audio to image R@1 {found['R@1']:.3f} (chance {found['chance_R@1']:.3f})"
    return [("training by DDP, one process", f"fit {metrics['seconds']['fit']:.1f} s, {recall}")]


SECTIONS: dict[str, tuple[Callable[[argparse.Namespace], list[Row]], int]] = {
    "tests": (measure_tests, 90),
    "loss": (measure_loss, 120),
    "step": (measure_step, 110),
    "metrics": (measure_metrics, 60),
    "ddp": (measure_ddp, 100),
}
"""Name → what it measures, and its limit in seconds; together eight minutes."""
WIDTH = 52
"""Of what was measured, in the table."""
CPU_PATIENCE = 5
"""Times the limits where there is no GPU: then it matters only that a section ends."""


def run_in_own_process(name: str, options: argparse.Namespace, limit_seconds: float) -> tuple[list[Row], str]:
    """The rows of a section, and why there are none: "" where there are."""
    command = [sys.executable, __file__, "--only", name, "--device", str(options.device)]
    command += ["--quick"] if options.quick else []
    # In a group of its own: what the section has started ends with it.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        out, err = process.communicate(timeout=limit_seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.communicate()
        return [], f"took longer than {limit_seconds:g} s"
    if process.returncode:
        lines = err.strip().splitlines() or [f"exit status {process.returncode}"]
        print(err[-3000:], file=sys.stderr)
        return [], lines[-1]
    return [(what, value) for what, value in json.loads(out.splitlines()[-1])], ""


def print_rows(section: str, rows: Sequence[Row]) -> None:
    for what, value in rows:
        print(f"{section:8s} {what:{WIDTH}s} {value}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", type=torch.device, default=torch.device("cuda"))
    parser.add_argument("--quick", action="store_true", help="tiny sizes, whether the script itself works")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--limit-seconds", type=float, default=math.inf, help="of each section, besides its own")
    parser.add_argument("--only", choices=SECTIONS, help=argparse.SUPPRESS)  # in a section's own process
    options = parser.parse_args(arguments)
    if options.device.type == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU here; --device cpu --quick shows whether the script works")
    if options.only:
        print(json.dumps(SECTIONS[options.only][0](options)))
        return 0
    is_gpu = options.device.type == "cuda"
    started, failed = time.perf_counter(), []
    kind = torch.cuda.get_device_name() if is_gpu else "CPU"
    print(f"{kind}, torch {torch.__version__}{', tiny sizes' if options.quick else ''}\n", flush=True)
    for name in options.sections:
        limit_seconds = SECTIONS[name][1] * (1 if is_gpu else CPU_PATIENCE)
        measured, failure = run_in_own_process(name, options, min(limit_seconds, options.limit_seconds))
        print_rows(name, measured)  # at once: a machine that is lent for minutes may be taken away
        if failure:
            failed.append(name)
            print_rows(name, [("FAILED", failure)])
    print(f"\n{time.perf_counter() - started:.0f} s")
    if not is_gpu:
        print("\nTimes and rates are this CPU's. Memory, bf16 and compile need a GPU.")
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
