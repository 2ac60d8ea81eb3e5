"""The gap between modalities, and what is done about it: a bridge that has learned of texts alone meets other vectors.

`noise`: nothing more than the noise that training adds to the vectors of texts, so that what lies near a text is read
as that text (CapDec, Nukrai et al. 2022). `mean`: a vector is also moved by the difference of its modality's mean and
that of texts. `memory`: it becomes a mixture of the vectors of known texts, weighted by a softmax of its cosines with
them (DeCap, Li et al. 2023).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import normalize

from bind.types import Modality

REMEDIES = ("noise", "mean", "memory")
MAX_MEMORY = 10_000
"""Texts that are kept, evenly spaced among those of the training."""
TEMPERATURE = 0.05
"""Of the softmax over the memory."""
TEXT = "text"


@dataclass(frozen=True)
class Gap:
    """What is known of where modalities lie.

    Attributes:
        remedy: the one that is taken unless another is asked for.
        means: modality → mean (D,) of its training vectors.
        memory_ND: unit vectors of texts.

    Examples:
        >>> gap = Gap("mean", {"text": torch.tensor([1.0, 0.0]), "audio": torch.tensor([0.0, 1.0])})
        >>> gap.bring_near("audio", torch.tensor([[0.6, 0.8]]))
        tensor([[ 0.9923, -0.1240]])
        >>> gap.bring_near("audio", torch.tensor([[0.6, 0.8]]), "noise")
        tensor([[0.6000, 0.8000]])
    """

    remedy: str = "noise"
    means: Mapping[Modality, Tensor] = field(default_factory=dict)
    memory_ND: Tensor | None = None

    def bring_near(self, modality: Modality, z_BD: Tensor, remedy: str | None = None) -> Tensor:
        """Unit vectors (B, D) of a modality, nearer to where texts lie.

        Raises:
            ValueError: for no such remedy, or one for which this bridge lacks what it takes.
        """
        remedy = remedy or self.remedy
        require_remedy(remedy)
        if modality == TEXT or remedy == "noise":
            return z_BD
        if remedy == "memory":
            if self.memory_ND is None or not len(self.memory_ND):
                raise ValueError("gap=memory: this bridge keeps no vectors of texts; make it again with gap=memory")
            memory_ND = self.memory_ND.to(z_BD)
            return normalize((z_BD @ memory_ND.T / TEMPERATURE).softmax(dim=1) @ memory_ND, dim=1)
        if missing := [m for m in (modality, TEXT) if m not in self.means]:
            raise ValueError(
                f"gap=mean: this bridge knows no mean of {' and '.join(missing)}, of which the run's training samples "
                "have none; take gap=noise or gap=memory"
            )
        return normalize(z_BD + (self.means[TEXT] - self.means[modality]).to(z_BD), dim=1)


def require_remedy(remedy: str) -> None:
    """Raise ValueError unless there is such a remedy."""
    if remedy not in REMEDIES:
        raise ValueError(f"gap={remedy}: choose {', '.join(REMEDIES)}")


def choose_memory(z_ND: Tensor) -> Tensor:
    """At most `MAX_MEMORY` of the vectors of texts, evenly spaced, in fp16."""
    places = torch.linspace(0, len(z_ND) - 1, min(len(z_ND), MAX_MEMORY)).round().long()
    return z_ND[places].half()
