"""The losses as their papers write them, on the matrix of all pairs: what the tiles are compared with."""

import torch
from torch import Tensor


def positives(num_rows, groups, same_group):
    """Which pairs are positives, and which are left out; (N, N) each."""
    own = torch.eye(num_rows, dtype=torch.bool)
    same = own if groups is None else groups[:, None] == groups
    return (same, own & ~own) if same_group == "positive" else (own, same & ~own)


def info_nce(z_a, z_b, scale, *, groups=None, same_group="ignore") -> Tensor:
    positive, left_out = positives(len(z_a), groups, same_group)
    total = torch.zeros((), dtype=z_a.dtype)
    for queries, candidates in ((z_a, z_b), (z_b, z_a)):
        logits = (scale * (queries @ candidates.T)).masked_fill(left_out, -torch.inf)
        mean_positive = logits.masked_fill(~positive, 0.0).sum(dim=1) / positive.sum(dim=1)
        total = total + (logits.logsumexp(dim=1) - mean_positive).sum()
    return total / (2 * max(1, len(z_a)))


def sigmoid_loss(z_a, z_b, scale, bias, *, groups=None, same_group="ignore") -> Tensor:
    positive, left_out = positives(len(z_a), groups, same_group)
    logits = scale * (z_a @ z_b.T) + bias
    sign = torch.where(positive, 1.0, -1.0)
    total = -torch.nn.functional.logsigmoid(sign * logits).masked_fill(left_out, 0.0).sum()
    return total / max(1, len(z_a))
