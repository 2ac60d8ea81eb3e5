"""Symmetric InfoNCE over named sides a and b, exact under any number of processes."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from bind.distributed import gather_rows, rank, row_counts, world_size

SameGroup = Literal["ignore", "positive"]
Bank = tuple[Tensor, Tensor]


def info_nce(
    z_a: Tensor,
    z_b: Tensor,
    scale: Tensor | float,
    *,
    groups: Tensor | None = None,
    same_group: SameGroup = "ignore",
    bank_a: Bank | None = None,
    bank_b: Bank | None = None,
) -> Tensor:
    """Cross-entropy of finding b among all b given a, and a among all a given b, averaged.

    Every rank scores its own rows against the global batch. The mean over ranks (what DDP does to gradients, and
    what a logger should take) is the mean over all rows of all ranks, which may hold different numbers of rows.

    Args:
        z_a: (B, D) unit vectors; row i belongs with row i of `z_b`. Rows that lack a modality are left out before.
        z_b: (B, D) unit vectors.
        scale: multiplies the cosine; a 0-d or 1-element tensor, which may require grad.
        groups: int64 (B,); rows with equal ids mean the same thing. None: every row means its own.
        same_group: `ignore` leaves other rows of the group out of the denominator; `positive` makes them positives
            too, each row's term being the mean over its positives.
        bank_a: extra negatives on side a, (K, D) unit vectors and their int64 (K,) group ids; rows of the query's own
            group are left out.
        bank_b: the same on side b.

    Returns:
        A scalar in fp32; 0 where no rank has a row.

    Raises:
        ValueError: on shapes that do not belong together or an unknown `same_group`.

    Source: van den Oord et al., 2018, eq. 4; symmetric as in CLIP (Radford et al., 2021, fig. 3); several positives as
    in SupCon (Khosla et al., 2020, eq. 2).
    """
    if z_a.shape != z_b.shape or z_a.ndim != 2:
        raise ValueError(f"z_a {tuple(z_a.shape)} and z_b {tuple(z_b.shape)} must both be (B, D)")
    if same_group not in ("ignore", "positive"):
        raise ValueError(f"same_group={same_group!r}: choose 'ignore' or 'positive'")
    if groups is not None and groups.shape != z_a.shape[:1]:
        raise ValueError(f"groups {tuple(groups.shape)} must be one integer per row, ({len(z_a)},)")
    if (bank_a is not None or bank_b is not None) and groups is None:
        raise ValueError("a bank needs groups: without them its own copies of the positives would be negatives")

    # Logits and softmax stay in fp32 whatever the trainer's precision.
    with torch.autocast(z_a.device.type, enabled=False):
        z_a, z_b = z_a.float(), z_b.float()
        counts = row_counts(len(z_a), z_a.device)
        num_rows, start = sum(counts), sum(counts[: rank()])
        all_a, all_b = gather_rows(z_a, counts), gather_rows(z_b, counts)
        all_groups = None if groups is None else gather_rows(groups, counts)
        if num_rows == 0:
            return (z_a.sum() + z_b.sum()) * torch.as_tensor(scale, device=z_a.device).sum() * 0.0

        def direction(queries: Tensor, candidates: Tensor, bank: Bank | None) -> Tensor:
            return _cross_entropy_sum(queries, candidates, scale, start, groups, all_groups, same_group, bank)

        total = direction(z_a, all_b, bank_b) + direction(z_b, all_a, bank_a)
        return total * (world_size() / (2 * num_rows))


def _cross_entropy_sum(
    queries: Tensor,
    candidates: Tensor,
    scale: Tensor | float,
    start: int,
    groups: Tensor | None,
    all_groups: Tensor | None,
    same_group: SameGroup,
    bank: Bank | None,
) -> Tensor:
    """Sum over queries (B, D) of the cross-entropy against candidates (G, D); query i's own match is `start + i`."""
    own = torch.arange(len(queries), device=queries.device) + start
    logits_BG = scale * (queries @ candidates.T)
    if groups is None or all_groups is None:
        return torch.nn.functional.cross_entropy(logits_BG, own, reduction="sum")

    same_BG = groups[:, None] == all_groups[None, :]
    own_BG = torch.zeros_like(same_BG)
    own_BG[torch.arange(len(queries), device=queries.device), own] = True
    if same_group == "ignore":
        logits_BG = logits_BG.masked_fill(same_BG & ~own_BG, -torch.inf)
        positive_BG = own_BG
    else:
        positive_BG = same_BG
    log_total_B = torch.logsumexp(logits_BG, dim=1)
    if bank is not None:
        z_bank, bank_groups = bank
        bank_logits_BK = scale * (queries @ z_bank.float().T)
        bank_logits_BK = bank_logits_BK.masked_fill(groups[:, None] == bank_groups[None, :], -torch.inf)
        log_total_B = torch.logaddexp(log_total_B, torch.logsumexp(bank_logits_BK, dim=1))
    positive_logit_B = logits_BG.masked_fill(~positive_BG, 0.0).sum(dim=1) / positive_BG.sum(dim=1)
    return (log_total_B - positive_logit_B).sum()
