"""FSDP2 under Lightning: parameters, gradients and optimizer state in shards, one per process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from lightning.pytorch.strategies import ModelParallelStrategy, ParallelStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from bind.build import ANY_CLASS
from bind.distributed import gather_integers, rank
from bind.training.lightning_private import set_data_parallel_size
from bind.types import Batch, Inputs

if TYPE_CHECKING:
    from bind.model.binder import Binder


def shard(binder: Binder, pair_losses: nn.ModuleDict, mesh: DeviceMesh) -> None:
    """Cut every trainable part into one shard per process of `mesh`, in place.

    A unit is what one all-gather brings together: each layer of a trunk that keeps them in a `ModuleList`, the rest of
    the encoder, a head, the fusion, the scale of a pair. A trunk that encoders share can't lie in the units of several:
    it is one of its own, and so is each other part of these encoders. A parameter left out would keep the gradient of
    its own process and drift apart in silence. The frozen anchor has no gradient and no optimizer state, 4 bytes per
    parameter instead of 16, and cut it would be gathered for every batch: it stays whole.

    Raises:
        ValueError: naming weights of an encoder with a shared trunk that lie in no part which is called by itself.
    """
    shared = [binder.encoders[modality].trunk for modality in binder.share]
    units: list[nn.Module] = []
    for encoder in binder.encoders.values():
        units += encoder.children() if getattr(encoder, "trunk", None) in shared else [encoder]
    for unit in (*units, *binder.anchor.towers()):
        for module in reversed(list(unit.modules())):  # what is inside before what it is inside of
            if isinstance(module, nn.ModuleList):
                for layer in module:
                    if list(layer.children()):
                        _shard_trainable(layer, mesh, reshard_after_forward=True)
        _shard_trainable(unit, mesh)
    left = [name for name, p in binder.encoders.named_parameters() if p.requires_grad and not isinstance(p, DTensor)]
    if left:
        raise ValueError(
            f"encoder.{left[0]} lies beside a shared trunk and in no part of its own: with trainer=fsdp keep it in a "
            "module of the encoder whose forward is called; or choose trainer=ddp"
        )
    for part in (*binder.heads.values(), binder.fusion, *pair_losses.values()):
        _shard_trainable(part, mesh)


def _shard_trainable(module: Any, mesh: DeviceMesh, reshard_after_forward: bool = False) -> None:
    can_be_called = isinstance(module, nn.Module) and not isinstance(module, nn.ModuleList | nn.ModuleDict | FSDPModule)
    if can_be_called and any(parameter.requires_grad for parameter in module.parameters()):
        fully_shard(module, mesh=mesh, reshard_after_forward=reshard_after_forward)


def borrow_rows(batch: Batch, binder: Binder) -> Batch:
    """`batch` with another rank's input, or features, of every trainable modality that only other ranks have rows of.

    `rows` does not name it, so its embedding is dropped: it is there for the encoder to be called on every rank.
    """
    wanted = [m for m in batch.modalities if binder.is_trainable(m)]
    device = batch.group_ids_B.device
    here_RM = gather_integers([m in batch.inputs or m in batch.cached for m in wanted], device)
    inputs, cached = dict(batch.inputs), dict(batch.cached)
    for modality, *here_R in zip(wanted, *here_RM, strict=True):
        if any(here_R) and not all(here_R):
            lender = here_R.index(1)
            is_cached = modality in cached
            own = (cached if is_cached else inputs).get(modality)
            row: list[Any] = [(is_cached, _first_row(own)) if own is not None and rank() == lender else None]
            dist.broadcast_object_list(row, src=lender)
            is_cached, lent = row[0]
            if own is None:
                (cached if is_cached else inputs)[modality] = lent
    return replace(batch, inputs=inputs, cached=cached).to(device)


def _first_row(inputs: Inputs) -> Inputs:
    """On the CPU, and a copy: a slice would be sent with all that it is cut from."""
    return {k: x[:1].clone().cpu() for k, x in inputs.items()} if isinstance(inputs, dict) else inputs[:1].clone().cpu()


class ShardedStrategy(ModelParallelStrategy):
    """Lightning's FSDP2 over all processes of all nodes, for modules that `shard` their parts in `configure_model`.

    A part whose forward is not called on one rank hangs the others in its all-gather. So a rank without rows of a
    modality borrows one, and validation, where ranks have different numbers of batches, works on gathered weights.
    Checkpoints are single files, written by and readable for every other strategy too.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False, **options)

    def setup_environment(self) -> None:
        set_data_parallel_size(self, self.num_nodes * self.num_processes)
        super().setup_environment()

    def training_step(self, batch: Batch, *args: Any, **kwargs: Any) -> Any:
        module: Any = self.lightning_module
        return super().training_step(borrow_rows(batch, module.binder), *args, **kwargs)

    def on_validation_start(self) -> None:
        for unit, _ in self._units():
            unit.set_reshard_after_forward(False, recurse=False)
            unit.unshard()

    def on_validation_end(self) -> None:
        for unit, is_layer in self._units():
            unit.reshard()
            unit.set_reshard_after_forward(is_layer, recurse=False)

    def _units(self) -> Iterator[tuple[FSDPModule, bool]]:
        """Every unit, and whether it is a layer of another one."""
        assert self.model is not None
        layers = {
            id(inner)
            for unit in self.model.modules()
            if isinstance(unit, FSDPModule)
            for inner in unit.modules()
            if inner is not unit
        }
        for module in self.model.modules():
            if isinstance(module, FSDPModule):
                yield module, id(module) in layers

    # Lightning would restore weights and optimizer at once, after the setup, where the batches have been planned from
    # step 0 already; and it takes an optimizer's keys for positions in the model, as they are in its own files only.
    restore_checkpoint_after_setup = False
    lightning_restore_optimizer = True

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        return ParallelStrategy.load_checkpoint(self, checkpoint_path, weights_only)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        module = self.lightning_module
        assert module is not None
        own = module.state_dict()
        state = {name: _cut(x, own[name]) if name in own else x for name, x in checkpoint["state_dict"].items()}
        module.load_state_dict(state, strict=strict)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        for optimizer, saved in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            keys = [key for group in saved["param_groups"] for key in group["params"]]
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            cut = {
                key: {name: _cut(x, parameter) for name, x in saved["state"].get(key, {}).items()}
                for key, parameter in zip(keys, parameters, strict=True)
            }
            optimizer.load_state_dict({**saved, "state": {key: state for key, state in cut.items() if state}})


def _cut(x: Tensor, like: Tensor) -> Tensor:
    """This rank's shard of `x` where `like`, of the same shape, is one; `x` itself otherwise."""
    if not isinstance(like, DTensor) or x.shape != like.shape:
        return x
    return distribute_tensor(x, like.device_mesh, like.placements, src_data_rank=None)


def unshard(binder: Binder) -> Binder:
    """A Binder that is not sharded, with the weights of `binder`, on every rank; `binder` itself where it is whole."""
    if not any(isinstance(module, FSDPModule) for module in binder.modules()):
        return binder
    assert binder.config is not None
    whole_binder = type(binder).from_config(binder.config, trust=ANY_CLASS)
    own = binder.own_state_dict()
    whole_binder.load_own_state_dict(
        {name: x.full_tensor() if isinstance(x, DTensor) else x for name, x in own.items()}
    )
    return whole_binder
