"""Error of predictions for patches that an encoder did not see, exact under any number of processes.

Shapes: B rows, L patches of a row, P values of a patch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bind.distributed import sum_over_ranks, world_size

EPSILON = 1e-6
"""Added to the variance of a patch: where all values are one, it is not divided by zero."""


def choose_masked(noise_BL: Tensor, is_there_BL: Tensor, share: float) -> Tensor:
    """The patches with the lowest noise, `share` of those of a row that are there: bool (B, L).

    At least one is hidden and one is seen; of a row with a single patch none is hidden.

    Examples:
        >>> noise_BL = torch.tensor([[0.3, 0.1, 0.2, 0.4]])
        >>> choose_masked(noise_BL, torch.tensor([[True, False, True, True]]), 0.5)
        tensor([[ True, False,  True, False]])
    """
    num_there_B1 = is_there_BL.sum(dim=1, keepdim=True)
    num_masked_B1 = torch.minimum((share * num_there_B1).round().clamp(min=1), num_there_B1 - 1)
    places_BL = noise_BL.masked_fill(~is_there_BL, torch.inf).argsort(dim=1, stable=True).argsort(dim=1)
    return places_BL < num_masked_B1


def standardise_patches(patches_BLP: Tensor) -> Tensor:
    """Each patch with mean 0 and variance 1 over its values, in fp32.

    Source: He et al. 2022 (masked autoencoders), section 4.1: the better target, beside the values themselves.
    """
    x_BLP = patches_BLP.float()
    variance_BL1, mean_BL1 = torch.var_mean(x_BLP, dim=2, keepdim=True, correction=0)
    standardised_BLP: Tensor = (x_BLP - mean_BL1) * (variance_BL1 + EPSILON).rsqrt()
    return standardised_BLP


def masked_errors(predicted_BLP: Tensor, target_BLP: Tensor, is_masked_BL: Tensor) -> Tensor:
    """Of each row the sum over masked patches of the mean squared error, and how many these are: (B, 2) in fp32.

    Examples:
        >>> target_BLP = standardise_patches(torch.tensor([[[1.0, 3.0], [2.0, 2.0]]]))
        >>> masked_errors(torch.zeros(1, 2, 2), target_BLP, torch.tensor([[True, False]]))  # one patch, variance 1
        tensor([[1.0000, 1.0000]])
    """
    error_BL = (predicted_BLP.float() - target_BLP).square().mean(dim=2)
    return torch.stack([error_BL.masked_fill(~is_masked_BL, 0.0).sum(dim=1), is_masked_BL.sum(dim=1)], dim=1)


def mean_masked_error(errors_B2: Tensor) -> Tensor:
    """This rank's share of the mean over the masked patches of all ranks, 0 where there is none.

    As with pairs the mean over ranks, which is what DDP makes of gradients, is the mean over the patches of all ranks,
    however many each has. All ranks have to call it.
    """
    error, num_masked = errors_B2.sum(dim=0)
    num_of_all = sum_over_ranks(num_masked.detach().clone()).clamp(min=1.0)
    loss: Tensor = error * (world_size() / num_of_all)
    return loss
