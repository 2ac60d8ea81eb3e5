"""Trial steps: what steps of a training cost, measured before the first one, which leave nothing behind."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor
from torch.distributed.tensor import DTensor

from bind.data.plan import BatchPlan, BatchRequest
from bind.training.module import BindingModule

LOOK_AHEAD_STEPS = 1000
"""Among so many steps a source of a mixture is looked for; one that is drawn less often counts as the others do."""
VALIDATED_BATCHES = 4
"""A validation split of more is judged by so many batches."""


@contextmanager
def undone(trainer: L.Trainer, module: BindingModule) -> Iterator[int]:
    """Undo what steps in here do to weights, optimizers, random numbers and modes, bit for bit.

    Copies lie in the memory of the CPU.

    Yields:
        The bytes of the copies.
    """
    tensors: list[Tensor] = [x for x in module.parameters() if x.requires_grad]
    tensors += [x for name, x in module.named_buffers() if not name.startswith("binder.anchor.")]
    copies = [_copied(x) for x in tensors]
    states = [
        {parameter: {name: _copied(x) for name, x in state.items()} for parameter, state in optimizer.state.items()}
        for optimizer in trainer.optimizers
    ]
    modes = {part: part.training for part in module.modules()}
    try:
        with isolate_rng():
            yield sum(_num_bytes(x) for x in [*copies, *(x for s in states for of in s.values() for x in of.values())])
    finally:
        with torch.no_grad():
            for tensor, copy in zip(tensors, copies, strict=True):
                _own(tensor).copy_(copy)
            for optimizer, state in zip(trainer.optimizers, states, strict=True):
                optimizer.zero_grad()
                for parameter in [p for p in optimizer.state if p not in state]:
                    del optimizer.state[parameter]
                for parameter, copied in state.items():
                    for name, copy in copied.items():
                        _own(optimizer.state[parameter][name]).copy_(copy)
        for part, is_training in modes.items():
            part.training = is_training
        module.forget_steps()


def _own(x: Tensor) -> Tensor:
    """What this process has of it."""
    return (x.to_local() if isinstance(x, DTensor) else x).detach()


def _copied(x: Tensor) -> Tensor:
    return _own(x).to("cpu", copy=True)


def _num_bytes(x: Tensor) -> int:
    return x.numel() * x.element_size()


def trial_requests(plan: BatchPlan, num_steps: int) -> list[BatchRequest]:
    """The first `num_steps` of a plan, and of each source that has fewer than half of them there, later ones."""
    first = list(islice(plan, LOOK_AHEAD_STEPS))
    requests = first[:num_steps]
    for source in sorted({request.source for request in first}):
        num_missing = -(-num_steps // 2) - sum(request.source == source for request in requests)
        requests += [request for request in first[num_steps:] if request.source == source][: max(0, num_missing)]
    return requests


def batch_seconds(trainer: L.Trainer, module: BindingModule, requests: Sequence[BatchRequest]) -> dict[int, float]:
    """Seconds of loading a batch of each source and computing its gradients; loader processes share the loading."""
    loader: Any = trainer.train_dataloader
    num_workers, dataset = loader.num_workers, loader.dataset
    seconds: dict[int, list[float]] = {}
    module.train()
    for number, request in enumerate(requests):
        loading, batch = _timed(module, functools.partial(dataset.__getitem__, request))
        module.on_train_batch_start(batch, number)
        computing, _ = _timed(module, functools.partial(_gradients, trainer, batch))
        took = max(loading / num_workers, computing) if num_workers else loading + computing
        seconds.setdefault(request.source, []).append(took)
    # The first batches of a process find nothing in memory yet.
    return {source: statistics.median(of_source[1:] or of_source) for source, of_source in seconds.items()}


def _gradients(trainer: L.Trainer, batch: Any) -> None:
    trainer.optimizers[0].zero_grad()
    on_device = trainer.strategy.batch_to_device(batch)
    loss: Any = trainer.strategy.training_step(on_device, 0)
    trainer.strategy.backward(loss, trainer.optimizers[0])


def optimizer_seconds(trainer: L.Trainer, module: BindingModule) -> float:
    """Seconds of a step of the optimizer with clipping; the gradients of a batch have to be there."""
    optimizer: Any = trainer.optimizers[0]

    def step() -> None:
        module.clip_gradients(optimizer, trainer.gradient_clip_val, trainer.gradient_clip_algorithm)
        optimizer.step()

    _timed(module, step)  # makes its state
    return min(_timed(module, step)[0] for _ in range(3))


def validation_seconds(trainer: L.Trainer, module: BindingModule) -> float:
    """Seconds of a validation: of all where the split is small, else judged by its first batches."""
    # Lightning has it from the first epoch on that ends in one.
    loader: Any = trainer.val_dataloaders or trainer.datamodule.val_dataloader()  # type: ignore[attr-defined]
    requests = list(loader.sampler)
    num_tried = min(len(requests), VALIDATED_BATCHES)
    started = time.perf_counter()
    module.eval()
    trainer.strategy.on_validation_start()
    with torch.no_grad():
        for number, request in enumerate(requests[:num_tried]):
            trainer.strategy.validation_step(trainer.strategy.batch_to_device(loader.dataset[request]), number)
        embedding = time.perf_counter() - started
        started = time.perf_counter()
        module.validation_figures()
        share = len(requests) / max(1, num_tried)
        # Every query is compared with the whole pool.
        seconds = embedding * share + (time.perf_counter() - started) * share**2
    trainer.strategy.on_validation_end()
    return seconds


def _timed(module: BindingModule, work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    value = work()
    if module.device.type == "cuda":
        torch.cuda.synchronize(module.device)
    return time.perf_counter() - started, value
