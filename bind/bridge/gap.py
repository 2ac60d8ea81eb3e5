"""The gap between modalities, and what is done about it: a bridge that has learned of texts alone meets other vectors.

`noise`: nothing more than the noise that training adds to the vectors of texts, so that what lies near a text is read
as that text (CapDec, Nukrai et al. 2022). `mean`: a vector is also moved by the difference of its modality's mean and
that of the texts that were learned. `captions`: it is moved by the difference of its modality's mean and that of the
same samples' captions, so that what texts leave out is not taken for a part of the gap. `memory`: it becomes a mixture
of the vectors of known texts, weighted by a softmax of its cosines with them (DeCap, Li et al. 2023). Which one is best
differs by modality.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import normalize

from bind.bridge.remedies import NO_REMEDY, GapChoice, require_remedy
from bind.types import Modality

MAX_MEMORY = 10_000
"""Texts that are kept, evenly spaced among those of the training."""
TEMPERATURE = 0.05
"""Of the softmax over the memory."""
TEXT = "text"
MEANS, SHIFTS, MEMORY = "means.", "shifts.", "memory"
"""Names of tensors in a bridge's file; the first two stand before a modality."""


@dataclass(frozen=True)
class Gap:
    """What is known of where modalities lie.

    Attributes:
        remedy: the one that is taken unless another is asked for, or `of_modality` names one.
        means: modality → mean (D,) of its training vectors.
        memory_ND: unit vectors of texts.
        of_modality: modality → the remedy that is taken of it.
        shifts: modality → the mean (D,) of captions less that of the samples that they belong to.
        run: whose training samples were measured, for messages; empty where it is not known.

    Examples:
        >>> gap = Gap("mean", {"text": torch.tensor([1.0, 0.0]), "audio": torch.tensor([0.0, 1.0])})
        >>> gap.bring_near("audio", torch.tensor([[0.6, 0.8]]))
        tensor([[ 0.9923, -0.1240]])
        >>> gap.bring_near("audio", torch.tensor([[0.6, 0.8]]), "noise")
        tensor([[0.6000, 0.8000]])
        >>> gap.remedy_of("audio", {"image": "noise"}), gap.remedy_of("image", {"image": "noise"})
        ('mean', 'noise')
    """

    remedy: str = NO_REMEDY
    means: Mapping[Modality, Tensor] = field(default_factory=dict)
    memory_ND: Tensor | None = None
    of_modality: Mapping[Modality, str] = field(default_factory=dict)
    shifts: Mapping[Modality, Tensor] = field(default_factory=dict)
    run: str = ""

    @classmethod
    def of_weights(
        cls, weights: Mapping[str, Tensor], remedy: str, of_modality: Mapping[Modality, str], run: str
    ) -> Gap:
        """Of a bridge's file, what `weights` put there."""
        means, shifts = (
            {name.removeprefix(kind): x_D for name, x_D in weights.items() if name.startswith(kind)}
            for kind in (MEANS, SHIFTS)
        )
        return cls(remedy, means, weights.get(MEMORY), of_modality, shifts, run)

    @property
    def weights(self) -> dict[str, Tensor]:
        """What a bridge's file holds of it: means, shifts and memory by name."""
        weights = {f"{MEANS}{modality}": mean_D for modality, mean_D in self.means.items()}
        weights |= {f"{SHIFTS}{modality}": shift_D for modality, shift_D in self.shifts.items()}
        return weights if self.memory_ND is None else {**weights, MEMORY: self.memory_ND}

    @property
    def remedies(self) -> set[str]:
        """All that some modality takes."""
        return {self.remedy, *self.of_modality.values()}

    def remedy_of(self, modality: Modality, choice: GapChoice = None) -> str:
        """The remedy that is taken of a modality.

        Raises:
            ValueError: where there is none of that name.
        """
        own = self.of_modality.get(modality, self.remedy)
        if isinstance(choice, Mapping):
            chosen, key = choice.get(modality, own), f"gap.{modality}" if modality in choice else "gap"
        else:
            chosen, key = choice or own, "gap"
        require_remedy(chosen, key)
        return chosen

    def remedies_for(self, modality: Modality) -> list[str]:
        """The remedies for which this bridge has what they take, the strongest first; none of texts.

        Examples:
            >>> Gap("mean", {"text": torch.zeros(2), "imu": torch.zeros(2)}).remedies_for("imu")
            ['mean', 'noise']
        """
        there = {
            "memory": self.memory_ND is not None and len(self.memory_ND) > 0,
            "mean": {modality, TEXT} <= self.means.keys(),
            "captions": modality in self.shifts,
            "noise": True,
        }
        return [] if modality == TEXT else [remedy for remedy, is_there in there.items() if is_there]

    def bring_near(self, modality: Modality, z_BD: Tensor, choice: GapChoice = None) -> Tensor:
        """Unit vectors (B, D) of a modality, nearer to where texts lie.

        Raises:
            ValueError: for no such remedy, or one for which this bridge lacks what it takes.
        """
        remedy = self.remedy_of(modality, choice)
        if modality == TEXT or remedy == "noise":
            return z_BD
        made_of = f"run {self.run}" if self.run else "the run that this bridge was made of"
        if remedy == "memory":
            if self.memory_ND is None or not len(self.memory_ND):
                raise ValueError(
                    f"gap=memory: this bridge keeps no vectors of texts; make it again of {made_of}, with texts"
                )
            memory_ND = self.memory_ND.to(z_BD)
            return normalize((z_BD @ memory_ND.T / TEMPERATURE).softmax(dim=1) @ memory_ND, dim=1)
        if remedy == "captions":
            if modality not in self.shifts:
                raise ValueError(
                    f"gap=captions: no training sample of {made_of} had {modality} and a caption; take another remedy"
                )
            return normalize(z_BD + self.shifts[modality].to(z_BD), dim=1)
        if missing := [m for m in (modality, TEXT) if m not in self.means]:
            raise ValueError(
                f"gap=mean: this bridge knows no mean of {' and '.join(missing)}: it was not measured on training "
                f"samples of {made_of}; take gap=noise or gap=memory"
            )
        return normalize(z_BD + (self.means[TEXT] - self.means[modality]).to(z_BD), dim=1)


def choose_memory(z_ND: Tensor) -> Tensor:
    """At most `MAX_MEMORY` of the vectors of texts, evenly spaced, in fp16."""
    places = torch.linspace(0, len(z_ND) - 1, min(len(z_ND), MAX_MEMORY)).round().long()
    return z_ND[places].half()
