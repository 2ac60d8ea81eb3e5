"""Masked patches beside the pairs: what predicts them, which are hidden at a step, and the share that is explained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bind.distributed import sum_over_ranks
from bind.encoders.trainable import HEAD
from bind.losses.masked import choose_masked, masked_errors, mean_masked_error, standardise_patches
from bind.model.binder import Binder
from bind.model.chunks import encode_in_chunks
from bind.types import Batch, Inputs, MaskedEncoder, MaskedPatches, Modality, stable_id

MASKS = 3
"""Tells the generators of masks from those of the plan of batches, which have the same seed."""


class MaskedObjectives(nn.Module):
    """Of each modality a token that stands for hidden patches, and a linear map from tokens to what these hold.

    They belong to a training: a saved binder has no part of them.

    Args:
        objectives: what is hidden, at most one of a modality.
        binder: whose encoders are trained.

    Raises:
        ValueError: naming the key, for a modality without an encoder that can do this and trains, or a number that
            can't be.
    """

    def __init__(self, objectives: Sequence[MaskedPatches], binder: Binder) -> None:
        super().__init__()
        refuse_impossible(objectives, binder)
        self.objectives = tuple(objectives)
        encoders: dict[Modality, Any] = {x.modality: binder.encoders[x.modality] for x in objectives}
        self.mask_tokens = nn.ParameterDict(
            {m: nn.init.trunc_normal_(torch.empty(e.num_token_features), std=0.02) for m, e in encoders.items()}
        )
        self.decoders = nn.ModuleDict(
            {m: nn.Linear(e.num_token_features, e.num_patch_values) for m, e in encoders.items()}
        )
        self._of_validation: dict[str, list[Tensor]] = {}

    @property
    def weights(self) -> dict[str, float]:
        return {x.name: x.weight for x in self.objectives}

    def losses(
        self, binder: Binder, batch: Batch, *, seed: int, step: int, chunk_size: int | None = None
    ) -> dict[str, Tensor]:
        """Unweighted loss of each modality that the batch's source carries, this rank's share."""
        errors = self.errors(binder, batch, seed=seed, step=step, chunk_size=chunk_size)
        return {name: mean_masked_error(of_modality) for name, of_modality in errors.items()}

    def errors(
        self, binder: Binder, batch: Batch, *, seed: int, step: int, chunk_size: int | None = None
    ) -> dict[str, Tensor]:
        """What `masked_errors` gives of each such modality; seed, step and sample decide which patches are hidden."""
        errors = {}
        for objective in self.objectives:
            modality = objective.modality
            if modality in batch.inputs:
                errors[objective.name] = self._errors(objective, binder, batch, (seed, step), chunk_size)
            elif modality in batch.modalities:  # other ranks may have rows: these weights are met here too
                nothing = self.mask_tokens[modality].sum() + sum(p.sum() for p in self.decoders[modality].parameters())
                errors[objective.name] = torch.stack([0.0 * nothing, 0.0 * nothing.detach()])[None]
        return errors

    def _errors(
        self,
        objective: MaskedPatches,
        binder: Binder,
        batch: Batch,
        seed_and_step: tuple[int, int],
        chunk_size: int | None,
    ) -> Tensor:
        modality = objective.modality
        encoder: Any = binder.encoders[modality]
        inputs = batch.inputs[modality]
        with torch.no_grad():
            patches_BLP, is_there_BL = encoder.patches(inputs)
            noise_BL = draw_noise(names_of(batch, modality), *seed_and_step, num_patches=is_there_BL.shape[1])
            is_masked_BL = choose_masked(noise_BL.to(is_there_BL.device), is_there_BL, objective.share)
            target_BLP = standardise_patches(patches_BLP)

        def errors_of(part: Inputs) -> Tensor:
            assert isinstance(part, dict)
            of_part = dict(part)
            target, is_masked = of_part.pop("target@"), of_part.pop("is_masked@")
            tokens, _ = encoder.masked_tokens(of_part.pop("input@", of_part), is_masked, self.mask_tokens[modality])
            return masked_errors(self.decoders[modality](tokens), target, is_masked)

        named = inputs if isinstance(inputs, dict) else {"input@": inputs}
        return encode_in_chunks(errors_of, {**named, "target@": target_BLP, "is_masked@": is_masked_BL}, chunk_size)

    @torch.no_grad()
    def validate(self, binder: Binder, batch: Batch, *, seed: int) -> None:
        """Keep the errors of a validation batch; the same patches are hidden in every validation."""
        for name, errors_B2 in self.errors(binder, batch, seed=seed, step=0).items():
            self._of_validation.setdefault(name, []).append(errors_B2.detach().sum(dim=0).double())

    def explained(self, device: torch.device) -> dict[str, float]:
        """Name → the share of the variance of hidden patches that is predicted, of all that was validated since.

        0 is what a prediction of zeros has, 1 is perfect. Ranks may have had different numbers of batches, or none.
        """
        kept, self._of_validation = self._of_validation, {}
        explained = {}
        for objective in self.objectives:
            sums = torch.stack([torch.zeros(2, dtype=torch.float64, device=device), *kept.get(objective.name, [])])
            error, num_masked = sum_over_ranks(sums.sum(dim=0)).tolist()
            if num_masked:
                explained[objective.name] = 1.0 - error / num_masked
        return explained

    def forget(self) -> None:
        """Forget what a validation that did not end has left."""
        self._of_validation = {}


def names_of(batch: Batch, modality: Modality) -> list[str]:
    """A name of each input of a modality: source, key, and which clip of the sample it is."""
    rows = batch.rows[modality].tolist()
    num_clips = batch.num_clips[modality].tolist() if modality in batch.num_clips else [1] * len(rows)
    seen: dict[int, int] = {}
    names = []
    for row, count in zip(rows, num_clips, strict=True):
        first = seen.get(row, 0)
        names += [f"{batch.source}\n{batch.keys[row]}\n{clip}" for clip in range(first, first + count)]
        seen[row] = first + count
    return names


def draw_noise(names: Sequence[str], seed: int, step: int, *, num_patches: int) -> Tensor:
    """Numbers from 0 to 1, (B, L), that depend on seed, step and the name of a row, not on what else is in a batch."""
    rows = [np.random.default_rng([seed, MASKS, step, stable_id(name)]).random(num_patches) for name in names]
    return torch.from_numpy(np.stack(rows)).float()


def active_objectives(config: Mapping[str, Any]) -> list[MaskedPatches]:
    """The entries of `objective.masked` with a weight; none in a config from before there was any.

    Raises:
        ValueError: naming the key, for another objective and for what is no modality's weight and share.
    """
    objectives = []
    of_config = config.get("objective") or {}
    if unknown := set(of_config) - {"masked"}:
        raise ValueError(f"objective.{min(unknown)}: there is objective.masked only")
    for modality, options in (of_config.get("masked") or {}).items():
        try:
            objective = MaskedPatches(modality, **(options or {"weight": 0.0}))
        except TypeError as error:
            raise ValueError(f"objective.masked.{modality}: give weight and share ({error})") from error
        if not is_number(objective.weight) or objective.weight < 0:
            raise ValueError(f"objective.masked.{modality}.weight={objective.weight}: give a number of at least 0")
        if objective.weight > 0:
            objectives.append(objective)
    return objectives


def refuse_impossible(objectives: Sequence[MaskedPatches], binder: Binder) -> None:
    """Raise ValueError, naming the key, for a modality whose patches can't be hidden, or a share that hides none."""
    for objective in objectives:
        modality, key = objective.modality, f"objective.masked.{objective.modality}"
        if not is_number(objective.share) or not 0 < objective.share < 1:
            raise ValueError(f"{key}.share={objective.share}: give a share between 0 and 1, such as 0.5")
        if modality not in binder.encoders:
            raise ValueError(f"{key}: {modality} has no encoder; there are those of modalities={[*binder.encoders]}")
        if not isinstance(binder.encoders[modality], MaskedEncoder):
            kind = type(binder.encoders[modality]).__name__
            raise ValueError(
                f"{key}: {kind} has no tokens of patches that could be hidden; choose one that has, encoder/imu="
                "transformer or channels, encoder/depth=transformer or encoder/thermal=transformer, or set "
                f"{key}.weight=0"
            )
        if binder.trained_parts[modality] == HEAD:
            raise ValueError(
                f"{key}: encoder.{modality}.train=head keeps the encoder as it is, nothing could be learned from "
                f"hidden patches; set encoder.{modality}.train=full, or {key}.weight=0"
            )


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
