"""The temperature of a pair: fixed or learned, kept where softmax stays finite."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

MAX_LOG_SCALE = math.log(100.0)


class Temperature(nn.Module):
    """`forward()` gives the scale 1 / temperature, shape (1,), as exp of a log-scale clamped to [ln 1, ln 100].

    Args:
        temperature: initial value in [0.01, 1].
        learn: False keeps it.

    Raises:
        ValueError: where the temperature is outside [0.01, 1].

    Source: CLIP (Radford et al., 2021, section 2.5), which clips the scale at 100.

    Examples:
        >>> temperature = Temperature(0.1)
        >>> scale = temperature()
        >>> scale.shape, round(scale.item(), 3)
        (torch.Size([1]), 10.0)
        >>> with torch.no_grad():
        ...     _ = temperature.log_scale.fill_(9.0)  # an optimizer went too far
        >>> round(temperature().item(), 3)
        100.0
    """

    def __init__(self, temperature: float = 0.07, learn: bool = True) -> None:
        super().__init__()
        if not 0.01 <= temperature <= 1.0:
            raise ValueError(f"temperature={temperature}: choose a value from 0.01 to 1 (a scale from 100 to 1)")
        # One element rather than zero dimensions: sharding strategies refuse 0-d parameters.
        self.log_scale = nn.Parameter(torch.tensor([-math.log(temperature)]), requires_grad=learn)
        self._known: float | None = None

    def take_known(self) -> float | None:
        """The scale that `read_scales` has read since this was last asked for; None where it has not."""
        known, self._known = self._known, None
        return known

    @torch.no_grad()
    def clamp_(self) -> None:
        """Bring the parameter itself back into its range (call after an optimizer step)."""
        self.log_scale.clamp_(0.0, MAX_LOG_SCALE)

    def forward(self) -> Tensor:
        log_scale = self.log_scale.float()
        clamped = log_scale.detach().clamp(0.0, MAX_LOG_SCALE)
        # The gradient of clamp is zero at the bounds too: a temperature that once touched one would never leave it.
        return torch.where(log_scale == clamped, log_scale, clamped).exp()


@torch.no_grad()
def read_scales(losses: Iterable[nn.Module]) -> None:
    """Read the scales of the temperatures in `losses` from their device at once, for one use of each."""
    parts = [part for loss in losses for part in loss.modules()]
    temperatures = [t for t in parts if isinstance(t, Temperature) and not isinstance(t.log_scale, DTensor)]
    if temperatures:
        for temperature, scale in zip(temperatures, torch.cat([t() for t in temperatures]).tolist(), strict=True):
            temperature._known = scale
