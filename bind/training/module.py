"""One training step: embed, then loss. Everything else here only logs."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from bind.data.datamodule import BindDataModule
from bind.data.value_ids import ValueIds
from bind.encoders.trainable import FULL
from bind.evaluation.embedded import EmbeddedSplit
from bind.losses import InfoNCE
from bind.losses.temperature import read_scales
from bind.metrics.geometry import space
from bind.model.binder import Binder
from bind.model.chunks import refuse_chunks
from bind.model.frozen import fingerprints_of_files
from bind.training.callbacks.best import forget_foreign_paths
from bind.training.lightning_private import forget_logged_values, set_batches_done
from bind.training.masked import MaskedObjectives
from bind.training.schedule import Schedule
from bind.training.sharding import shard
from bind.types import Batch, Embeddings, MaskedPatches, Modality, Pair, without_view

log = logging.getLogger("bind")


class BindingModule(L.LightningModule):
    """Pulls the pairs of a Binder together with a temperature and a weight each, and may predict hidden patches.

    Args:
        binder: what is trained.
        pairs: the pairs of the loss; none where hidden patches alone are learned from.
        masked: of which modalities a share of the patches is hidden and predicted.
        loss: makes the loss of a pair from its `temperature` and `learn_temperature`.
        lr: peak learning rate of AdamW.
        weight_decay: of matrices and kernels; norms, biases, embeddings and temperatures have none.
        betas: of AdamW.
        warmup_fraction: share of all samples in which the rate rises linearly; a cosine follows, see `Schedule`.
        lr_end_fraction: where the cosine ends, as a share of the peak.
        chunk_size: rows whose activations are in memory at a time, see `encode_in_chunks`; None: the whole batch.
        one_per_group: validation ranks against the first sample of each group instead of all samples.
        equal_values: gives the equal values of the validation split, which are one item of a pool; None: all differ.
        seed: of dropout and masking, which are reseeded at every step so that a resumed run repeats them.

    Raises:
        ValueError: where there is nothing to train on, a pair names a modality the Binder lacks, a number of the
            optimizer can't be, or chunks would not be exact.
    """

    def __init__(
        self,
        binder: Binder,
        pairs: Sequence[Pair],
        *,
        masked: Sequence[MaskedPatches] = (),
        loss: Callable[..., nn.Module] = InfoNCE,
        lr: float = 1e-3,
        weight_decay: float = 0.05,
        betas: Sequence[float] = (0.9, 0.98),
        warmup_fraction: float = 0.05,
        lr_end_fraction: float = 0.0,
        chunk_size: int | None = None,
        one_per_group: bool = False,
        equal_values: Callable[[], Mapping[Modality, ValueIds]] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        known = (*binder.modalities, *([binder.fused_modality] if binder.fused_modality else []))
        if not pairs and not masked:
            raise ValueError("no pair to train on: set pairs.<a>-<b>.weight above 0 for modalities that are chosen")
        for pair in pairs:
            if pair.has_views and pair.a == binder.fused_modality:
                raise ValueError(f"pairs.{pair.name}: a fusion is seen once; pair one of its inputs with itself")
            for modality in (pair.a, pair.b):
                if modality not in known:
                    raise ValueError(f"pairs.{pair.name}: {modality} is not among the modalities {known}")
            if not any(binder.is_trainable(m) or m == binder.fused_modality for m in (pair.a, pair.b)):
                raise ValueError(f"pairs.{pair.name}: both sides are frozen, nothing could be learned from it")
        if chunk_size is not None:
            if not isinstance(chunk_size, int) or chunk_size < 1:
                raise ValueError(
                    f"data.chunk_size={chunk_size}: give a number of rows, null for the whole batch, or auto"
                )
            refuse_chunks(binder.encoders, binder.heads, binder.fusion)
        refuse_wrong_numbers(lr, weight_decay, betas, warmup_fraction, lr_end_fraction)
        self.binder = binder
        self.pairs = tuple(pairs)
        self.pair_losses = nn.ModuleDict(
            {p.name: loss(temperature=p.temperature, learn_temperature=p.learn_temperature) for p in pairs}
        )
        self.masked = MaskedObjectives(masked, binder)
        self.lr, self.weight_decay, self.betas = lr, weight_decay, tuple(betas)
        self.warmup_fraction, self.lr_end_fraction = warmup_fraction, lr_end_fraction
        self.chunk_size = chunk_size
        self.one_per_group = one_per_group
        self.equal_values = equal_values
        self.seed = seed
        self.last_losses: dict[str, Tensor] = {}  # of the step before, for who watches over them
        self.last_logged: dict[str, dict[str, Tensor]] = {}
        self._since_step: dict[str, list[Tensor]] = {}  # name in the log → losses of the batches of one step
        self.schedule: Schedule | None = None  # once the optimizer is made
        self._checkpoint: dict[str, Any] | None = None  # which this training goes on from
        self._batch_number = 0  # of this training: it decides which patches are hidden
        self.validation: list[tuple[Batch, Embeddings]] = []
        # Of the last validation; retrieval stands under (query, pool).
        self.last_figures: dict[str, dict[Any, dict[str, Any]]] = {}
        # The frozen anchor is named by its fingerprint instead of being written into every checkpoint, and so are
        # frozen encoders with the weights of their files, to which this may still bring others (init_from).
        self.strict_loading = False
        self._of_files = fingerprints_of_files(binder)

    def configure_model(self) -> None:
        if self.device_mesh is not None:  # trainer=fsdp
            if self.chunk_size is not None:
                raise ValueError("data.chunk_size does not go with trainer=fsdp: choose trainer=ddp, or more processes")
            if self.masked.objectives:
                raise ValueError("objective.masked does not go with trainer=fsdp: choose trainer=ddp")
            shard(self.binder, self.pair_losses, self.device_mesh["data_parallel"])

    def forward(self, batch: Batch) -> Embeddings:
        embeddings: Embeddings = self.binder(batch)
        return embeddings

    def losses(self, batch: Batch, embeddings: Embeddings) -> dict[str, Tensor]:
        """Unweighted loss of every pair that the batch's source carries."""
        losses = {}
        pairs = [pair for pair in self.pairs if set(pair.sides) <= embeddings.z.keys()]
        read_scales(self.pair_losses[pair.name] for pair in pairs)  # all that a step waits for a GPU
        for pair in pairs:
            (z_a, z_b), rows = embeddings.aligned(pair.sides)
            groups = batch.group_ids_B[rows.to(batch.group_ids_B.device, non_blocking=True)]
            losses[pair.name] = self.pair_losses[pair.name](z_a, z_b, groups)
        return losses

    def _has_pair(self, batch: Batch) -> bool:
        there = {*batch.modalities, self.binder.fused_modality}
        return any(set(pair.sides) <= there for pair in self.pairs)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        of_pairs = self.losses(batch, self.binder(batch, self.chunk_size)) if self._has_pair(batch) else {}
        masked = self.masked.losses(
            self.binder, batch, seed=self.seed, step=self._batch_number, chunk_size=self.chunk_size
        )
        losses = of_pairs | masked
        if not losses:
            raise ValueError(
                f"source {batch.source!r} carries {list(batch.modalities)}, both sides of none of the pairs "
                f"{[pair.name for pair in self.pairs]}: leave it out of data.sources, or add a pair"
            )
        self.last_losses = {name: loss.detach() for name, loss in losses.items()}
        # Now: after the backward pass sharded parameters are in pieces again.
        self.last_logged = {name: self.pair_losses[name].logged() for name in of_pairs}  # type: ignore[operator]
        weights = {pair.name: pair.weight for pair in self.pairs} | self.masked.weights
        total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        for name, loss in {
            "train/loss": total,
            **{f"train/loss/{name}": loss for name, loss in losses.items()},
        }.items():
            self._since_step.setdefault(name, []).append(loss.detach())
        return total

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        of_step, self._since_step = self._since_step, {}
        every = self.trainer.log_every_n_steps or 1  # type: ignore[attr-defined]
        if (self.global_step + 1) % every and not self.trainer.is_last_batch:
            return  # loggers would drop it, for a third of a millisecond each and, among processes, an exchange
        # A source that lacks a pair has no loss of it in this step, whatever the step before had.
        forget_logged_values(self.trainer, "on_before_optimizer_step")
        for name, losses in of_step.items():
            mean = torch.stack(losses).mean() if len(losses) > 1 else losses[0]
            self.log(name, mean, prog_bar=name == "train/loss", sync_dist=True)
        for name, logged in self.last_logged.items():
            for kind, value in logged.items():
                self.log(f"train/{kind}/{name}", value)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        self._batch_number = step = (
            self.global_step * self.trainer.accumulate_grad_batches + batch_idx % self.trainer.accumulate_grad_batches
        )
        reseed((self.seed * 1_000_003 + step) * 4096 + self.global_rank, self.device)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        pair_loss: Any
        for pair_loss in self.pair_losses.values():
            pair_loss.clamp_()

    def forget_steps(self) -> None:
        """Forget what steps and validations so far have left, but for what they have learned."""
        self.last_losses, self.last_logged, self._since_step, self.last_figures = {}, {}, {}, {}
        self.validation.clear()
        self.masked.forget()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        # Without the inputs: a split's pictures and sounds need not stay in memory until its figures are made.
        self.validation.append((replace(batch, inputs={}, cached={}), self(batch)))
        self.masked.validate(self.binder, batch, seed=self.seed)

    def validation_figures(self) -> dict[str, dict[Any, dict[str, Any]]]:
        """Retrieval by (query, pool) and the space of what was embedded for validation on all ranks, which it forgets.

        A direction counts once, also where `pairs` holds `a-b` and `b-a`.
        """
        split = EmbeddedSplit.gather(self.validation, self.device)
        self.validation.clear()
        if self.equal_values is not None:
            split.mark_equal_values(self.equal_values())
        # Of two views the other way round says the same.
        ways = dict.fromkeys(
            way for pair in self.pairs for way in ([pair.sides] if pair.has_views else [pair.sides, pair.sides[::-1]])
        )
        between = [pair for pair in self.pairs if not pair.has_views]
        first_views = {m: z for m, z in split.z.items() if m == without_view(m)}
        return {
            # Without intervals: no log has them, and they took longer than all else in here.
            "retrieval": {
                (query, pool): split.retrieval(query, pool, one_per_group=self.one_per_group, num_resamples=0)
                for query, pool in ways
                if query in split.z and pool in split.z
            },
            "space": space(Embeddings(first_views, split.rows, len(split.keys)), between),
        }

    def on_validation_epoch_end(self) -> None:
        self.last_figures = self.validation_figures()
        retrieval = self.last_figures["retrieval"]
        for (query, pool), figures in retrieval.items():
            for name in ("R@1", "R@5", "median_rank"):
                self.log(f"val/{query}_to_{without_view(pool)}/{name}", float(figures[name]), rank_zero_only=False)
        between = [figures["R@1"] for way, figures in retrieval.items() if way == tuple(map(without_view, way))]
        # How well a sample finds itself says little of how two modalities meet: it counts where nothing else does.
        recalls = between or [figures["R@1"] for figures in retrieval.values()]
        for place, of_place in self.last_figures["space"].items():
            for name, value in of_place.items():
                self.log(f"val/space/{place}/{name}", value, rank_zero_only=False)
        for name, share in self.masked.explained(self.device).items():
            self.log(f"val/{name}/explained", share, rank_zero_only=False)
        if self.pairs:  # else nothing is to be found, and the best checkpoint would be the first
            mean_recall = sum(recalls) / len(recalls) if recalls else 0.0
            self.log("val/mean_R@1", mean_recall, prog_bar=True)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(
            parameter_groups(self, self.weight_decay),
            lr=self.lr,
            betas=self.betas,  # type: ignore[arg-type]
            # All weights in one pass, a fifth of the time on a CPU; in mixed precision Lightning can't clip with it.
            fused=self.trainer.precision == "32-true",
        )
        schedule = self.schedule = self._plan_schedule()
        # A function: of another callable a checkpoint would hold the state, and bring it back over this one.
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule.rate(step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _plan_schedule(self) -> Schedule:
        """The schedule from where this training begins or goes on, over the steps that are left."""
        trainer, data = self.trainer, self.trainer.datamodule  # type: ignore[attr-defined]
        trainer.fit_loop.setup_data()
        checkpoint = self._checkpoint or {}
        start_step = checkpoint.get("global_step", 0)
        num_batches, accumulated = int(trainer.num_training_batches), trainer.accumulate_grad_batches
        steps_per_epoch = math.ceil(num_batches / accumulated)
        is_planned = isinstance(data, BindDataModule)  # or somebody's own loader, of steps that stay the same
        (epoch, batch), batch_size = (data.start, data.batch_size) if is_planned else ((0, 0), 1)
        left = math.inf
        if (max_epochs := trainer.max_epochs or 0) >= 0:
            left = math.ceil((num_batches - batch) / accumulated) + (max(1, max_epochs) - epoch - 1) * steps_per_epoch
        if trainer.max_steps >= 0:
            left = min(left, trainer.max_steps - start_step)
        schedule = Schedule(
            samples_per_step=batch_size * trainer.world_size * accumulated,
            num_steps=None if left == math.inf else max(0, int(left)),
            warmup_fraction=self.warmup_fraction,
            end_fraction=self.lr_end_fraction,
            steps_per_epoch=steps_per_epoch,
            start_step=start_step,
            start_samples=checkpoint.get("num_samples"),
        )
        if is_planned and data.has_other_batches:
            set_batches_done(checkpoint["loops"], epoch, batch, num_batches)
            if trainer.is_global_zero:
                log.warning(
                    "steps have another size than before: %d samples are behind, %s steps of %d samples to go",
                    schedule.samples(start_step),
                    "endless" if schedule.num_steps is None else schedule.num_steps,
                    schedule.samples_per_step,
                )
        return schedule

    def on_train_start(self) -> None:
        """Set what this command says of the optimizer where a checkpoint has brought back what an earlier one said."""
        if self._checkpoint is None:
            return
        self._checkpoint = None
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        scheduler: Any = self.lr_schedulers()
        scheduler.base_lrs = [self.lr] * len(scheduler.base_lrs)
        assert self.schedule is not None
        for group, weight_decay in zip(optimizer.param_groups, (self.weight_decay, 0.0), strict=True):
            lr = self.lr * self.schedule.rate(scheduler.last_epoch)
            group |= {"initial_lr": self.lr, "lr": lr, "weight_decay": weight_decay, "betas": self.betas}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        own = {f"binder.{name}" for name in self.binder.own_state_dict()}
        left_out = tuple(f"binder.encoders.{modality}." for modality in self._frozen_encoders)
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {
            name: tensor
            for name, tensor in state.items()
            if not name.startswith("binder.") or (name in own and not name.startswith(left_out))
        }
        checkpoint["anchor_fingerprint"] = self._frozen_fingerprint
        checkpoint["frozen_encoders"] = self._frozen_encoders
        checkpoint["trained_parts"] = dict(self.binder.trained_parts)
        if self.schedule is not None:
            checkpoint["num_samples"] = self.schedule.samples(checkpoint["global_step"])

    @functools.cached_property
    def _frozen_fingerprint(self) -> str | None:
        return None if self.binder.anchor.trainable else self.binder.anchor.fingerprint

    @functools.cached_property
    def _frozen_encoders(self) -> dict[Modality, str]:
        """Fingerprints of the frozen encoders that still have the weights of their files."""
        now = fingerprints_of_files(self.binder)
        return {modality: x for modality, x in self._of_files.items() if now.get(modality) == x}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        expected = checkpoint.get("anchor_fingerprint")
        if expected and expected != self._frozen_fingerprint:
            raise ValueError(
                f"this checkpoint belongs to an anchor with fingerprint {expected}, but {self.binder.anchor.name} has "
                f"{self._frozen_fingerprint}: pass the same anchor.pretrained= as before"
            )
        for modality, part in self.binder.trained_parts.items():
            if (before := checkpoint.get("trained_parts", {}).get(modality, FULL)) != part:
                raise ValueError(
                    f"this checkpoint was trained with encoder.{modality}.train={before}, now it is {part}: set it as "
                    "before, or take the weights alone with init_from="
                )
        if states := checkpoint.get("callbacks"):
            forget_foreign_paths(self.trainer.callbacks, states)  # type: ignore[attr-defined]
        self._checkpoint = checkpoint


def refuse_wrong_numbers(lr: Any, weight_decay: Any, betas: Any, warmup_fraction: Any, lr_end_fraction: Any) -> None:
    """Raise ValueError that names the key `optimizer.…` whose value is no number or out of range."""

    def is_within(value: Any, low: float, high: float) -> bool:
        return isinstance(value, int | float) and low <= value <= high and math.isfinite(value)

    if not is_within(lr, 0, math.inf) or lr == 0:
        raise ValueError(f"optimizer.lr={lr}: give a number above 0, such as 1e-3")
    if not is_within(weight_decay, 0, math.inf):
        raise ValueError(f"optimizer.weight_decay={weight_decay}: give a number of at least 0, such as 0.05")
    for name, share in (("warmup_fraction", warmup_fraction), ("lr_end_fraction", lr_end_fraction)):
        if not is_within(share, 0, 1):
            raise ValueError(f"optimizer.{name}={share}: give a share from 0 to 1")
    is_pair = isinstance(betas, Sequence) and len(betas) == 2
    if not is_pair or not all(is_within(beta, 0, 1) and beta < 1 for beta in betas):
        raise ValueError(f"optimizer.betas={betas}: give two numbers from 0 to below 1, such as [0.9,0.98]")


def reseed(seed: int, device: torch.device) -> None:
    """Start the generators of the CPU and of `device` afresh.

    `torch.manual_seed` also queues a call for every kind of device that is not in use, which takes a millisecond and
    is never freed.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two AdamW groups of the trainable parameters: matrices and kernels with decay, all others without.

    A kernel is a `weight` of two or more dimensions; learned positions and tokens bear other names.
    """
    embedding_ids = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
    decay: list[nn.Parameter] = []
    no_decay: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            is_kernel = name.endswith("weight") and parameter.ndim >= 2 and id(parameter) not in embedding_ids
            (decay if is_kernel else no_decay).append(parameter)
    return [{"params": decay, "weight_decay": weight_decay}, {"params": no_decay, "weight_decay": 0.0}]
