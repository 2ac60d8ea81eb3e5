"""Late fusion: every modality retrieves alone, and the scores are combined."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from bind.fusion.inputs import check_inputs, check_weights, fused_name
from bind.types import Modality

Method = Literal["sum", "rrf", "softmax"]


class LateFusion:
    """Scores between queries and pool items that may each have several modalities; there is no fused embedding.

    Every modality a of a query meets every modality b of a pool item; the score of the two is the weighted mean over
    the pairs (a, b) for which both are present, with weight `w_a · w_b` (1 for modalities outside `inputs`). A pair's
    contribution is, by `method`:

    - `sum`: the cosine. Against pool items of one modality this ranks exactly as early fusion does.
    - `rrf`: 1 / (rrf_k + rank) of the item among those of the pool that have b, ties sharing the better rank.
      Source: Cormack et al. 2009.
    - `softmax`: the item's probability among those, softmax of cosine / temperature.

    Where only n of the N pool items have b, ranks are stretched by N/n and probabilities multiplied by n/N, so that
    a list that few items are in does not decide.

    Raises:
        ValueError: fewer than two inputs, bad weights, an unknown method, or a constant that is not positive.

    Examples:
        >>> fusion = LateFusion(inputs=["audio", "imu"])
        >>> queries = {"audio": torch.eye(2), "imu": torch.eye(2)[[0, 0]]}
        >>> pool = {"image": torch.eye(2)}
        >>> both, one = torch.tensor([True, True]), torch.tensor([True, False])
        >>> fusion.scores(queries, pool, {"audio": both, "imu": one}, {"image": both})
        tensor([[1., 0.],
                [0., 1.]])
    """

    def __init__(
        self,
        *,
        inputs: Sequence[Modality],
        weights: Mapping[Modality, float] | None = None,
        method: Method = "sum",
        rrf_k: float = 60.0,
        temperature: float = 0.07,
    ) -> None:
        self.inputs = check_inputs(inputs)
        self.name = fused_name(self.inputs)
        self.weights = check_weights(self.inputs, weights)
        rules: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
            "sum": lambda cos_QP, present_P: cos_QP,
            "rrf": self._reciprocal_rank,
            "softmax": self._probability,
        }
        if method not in rules:
            raise ValueError(f"fusion.method={method}: use one of {', '.join(rules)}")
        if rrf_k <= 0 or temperature <= 0:
            raise ValueError(f"fusion.rrf_k={rrf_k} and fusion.temperature={temperature} must be positive")
        self.method = method
        self.rrf_k = rrf_k
        self.temperature = temperature
        self._contribution = rules[method]

    def scores(
        self,
        query: Mapping[Modality, Tensor],
        pool: Mapping[Modality, Tensor],
        query_present: Mapping[Modality, Tensor],
        pool_present: Mapping[Modality, Tensor],
    ) -> Tensor:
        """Unit vectors `query[a]` (Nq, D) and `pool[b]` (Np, D), presence masks (Nq,) and (Np,) → (Nq, Np) fp32.

        Queries may come in tiles of any size; the pool has to be whole, since ranks and probabilities are over all
        of it. What missing rows hold has no influence; a row with nothing present is an error.
        """
        query = {a: _blank(z, query_present[a]) for a, z in query.items()}
        pool = {b: _blank(z, pool_present[b]) for b, z in pool.items()}
        _assert_something_present(query_present, query)
        _assert_something_present(pool_present, pool)
        total_QP: Tensor | float = 0.0
        weight_QP: Tensor | float = 0.0
        for a, b, weight in self._pairs(query, pool):
            contribution_QP = self._contribution(query[a] @ pool[b].T, pool_present[b])
            pair_weight_QP = weight * (query_present[a][:, None] & pool_present[b][None, :])
            total_QP = total_QP + pair_weight_QP * contribution_QP
            weight_QP = weight_QP + pair_weight_QP
        assert isinstance(total_QP, Tensor), "no modality to score with"
        return total_QP / weight_QP

    def _pairs(
        self, query: Mapping[Modality, Tensor], pool: Mapping[Modality, Tensor]
    ) -> Iterator[tuple[Modality, Modality, float]]:
        for a in query:
            for b in pool:
                yield a, b, self.weights.get(a, 1.0) * self.weights.get(b, 1.0)

    def _reciprocal_rank(self, cos_QP: Tensor, present_P: Tensor) -> Tensor:
        listed_QP = cos_QP.masked_fill(~present_P, float("-inf"))
        ascending_QP = listed_QP.sort(dim=1).values
        num_better_QP = len(present_P) - torch.searchsorted(ascending_QP, listed_QP, right=True)
        stretch = len(present_P) / present_P.sum().clamp_min(1)
        return 1.0 / (self.rrf_k + stretch * (1 + num_better_QP))

    def _probability(self, cos_QP: Tensor, present_P: Tensor) -> Tensor:
        # A finite filler: a modality that no item has must give zeros further up, not NaN.
        logits_QP = (cos_QP / self.temperature).masked_fill(~present_P, torch.finfo(cos_QP.dtype).min)
        return logits_QP.softmax(dim=1) * present_P.sum() / len(present_P)


def _blank(z_ND: Tensor, present_N: Tensor) -> Tensor:
    assert present_N.dtype == torch.bool
    return z_ND.float().masked_fill(~present_N[:, None], 0.0)


def _assert_something_present(present: Mapping[Modality, Tensor], z: Mapping[Modality, Tensor]) -> None:
    assert bool(torch.stack([present[m] for m in z]).any(dim=0).all()), f"a row without any of {list(z)} has no score"
