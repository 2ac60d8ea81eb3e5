"""Which heads can tell that two inputs agree, and which only add: by their answers, and trained on the toy task."""

import numpy as np
import pytest
import torch
from torch import Tensor

from bind.data.sources.toy.agreement import MOTION, AgreementSource
from bind.fusion.attention import AttentionFusion
from bind.fusion.early import EarlyFusion
from bind.fusion.gated import GatedFusion
from bind.fusion.late import LateFusion
from bind.fusion.low_rank_tensor import LowRankTensorFusion
from bind.fusion.mlp import MLPFusion
from bind.fusion.qformer import QFormerFusion
from bind.losses import InfoNCE
from bind.metrics.additive import additive_ceiling

INPUTS, DIM = ("audio", "imu"), 16


def has_crossing(says_yes_IJ: Tensor) -> bool:
    """Whether yes stands at two cells and no at the other two corners of their rectangle, which no sum can say."""
    rows_without_IJI = says_yes_IJ[:, :, None] & ~says_yes_IJ.T[None]
    exclusive_II = rows_without_IJI.any(dim=1)  # row i says yes somewhere where row k does not
    return bool((exclusive_II & exclusive_II.T).any())


@pytest.mark.parametrize(
    ("kind", "crosses"),
    [
        (EarlyFusion, False),
        (AttentionFusion, False),
        (GatedFusion, True),
        (LowRankTensorFusion, True),
        (MLPFusion, True),
        (QFormerFusion, True),
    ],
)
def test_between_two_texts_sums_never_cross_and_the_others_can(kind, crosses):
    torch.manual_seed(0)
    head = kind(inputs=INPUTS) if kind is EarlyFusion else kind(inputs=INPUTS, dim=DIM)
    with torch.no_grad():
        for weight in head.parameters():
            weight += 0.5 * torch.randn_like(weight)
    first, second = torch.nn.functional.normalize(torch.randn(2, 20, DIM), dim=-1)
    z = {"audio": first.repeat_interleave(20, dim=0), "imu": second.repeat(20, 1)}
    texts_2D = torch.nn.functional.normalize(torch.randn(2, DIM))
    with torch.no_grad():
        scores_N2 = head.eval()(z, present_of(z)) @ texts_2D.T
    says_yes_IJ = (scores_N2[:, 1] > scores_N2[:, 0]).reshape(20, 20)
    assert 40 < says_yes_IJ.sum() < 360
    assert has_crossing(says_yes_IJ) == crosses


@pytest.mark.parametrize("method", ["sum", "rrf", "softmax"])
def test_scores_that_are_added_never_cross(method):
    torch.manual_seed(0)
    queries_2ND = torch.nn.functional.normalize(torch.randn(2, 20, DIM), dim=-1)
    z = {"audio": queries_2ND[0].repeat_interleave(20, dim=0), "imu": queries_2ND[1].repeat(20, 1)}
    texts = {"text": torch.nn.functional.normalize(torch.randn(2, DIM), dim=-1)}
    scores_N2 = LateFusion(inputs=INPUTS, method=method).scores(z, texts, present_of(z), present_of(texts))
    # Where ranks of both inputs cancel each other exactly, that is no yes.
    assert not has_crossing((scores_N2[:, 1] > scores_N2[:, 0] + 1e-7).reshape(20, 20))


def vectors_of(source: AgreementSource, split: str) -> tuple[dict[str, Tensor], Tensor]:
    """A noisy direction for each motion of each modality, and whether they agree."""
    directions = torch.randn(2, 4, DIM, generator=torch.Generator().manual_seed(0))
    noise = torch.Generator().manual_seed(len(split))
    z = {}
    for number, modality in enumerate(INPUTS):
        motions_N = source.combinations(split, modality)[:, MOTION]
        x_ND = directions[number][torch.from_numpy(motions_N)]
        z[modality] = torch.nn.functional.normalize(x_ND + 0.3 * torch.randn(x_ND.shape, generator=noise))
    return z, torch.tensor([sample.group == "agree" for sample in source.samples(split)]).long()


def present_of(z: dict[str, Tensor]) -> dict[str, Tensor]:
    return {m: torch.ones(len(x), dtype=torch.bool) for m, x in z.items()}


@pytest.mark.slow
def test_a_network_over_both_beats_what_any_sum_can_and_sums_do_not():
    source = AgreementSource(num_train=2400, num_val=24, num_test=480)
    cap = additive_ceiling(source.counts("test"))
    texts_2D = torch.nn.functional.normalize(torch.randn(2, DIM, generator=torch.Generator().manual_seed(1)))
    (z, groups), (queries, answers) = (vectors_of(source, split) for split in ("train", "test"))

    def accuracy(head: torch.nn.Module) -> float:
        with torch.no_grad():
            scores_Q2 = head.eval()(queries, present_of(queries)) @ texts_2D.T
        return float((scores_Q2.argmax(dim=1) == answers).float().mean())

    def trained(head: torch.nn.Module) -> torch.nn.Module:
        loss = InfoNCE()
        optimizer = torch.optim.AdamW([*head.parameters(), *loss.parameters()], lr=3e-3)
        for rows in np.random.default_rng(0).integers(len(groups), size=(300, 128)):
            batch = {m: x[rows] for m, x in z.items()}
            optimizer.zero_grad()
            loss(head(batch, present_of(batch)), texts_2D[groups[rows]], groups[rows]).backward()
            optimizer.step()
            loss.clamp_()
        return head

    torch.manual_seed(0)
    assert cap == 0.75
    assert accuracy(trained(MLPFusion(inputs=INPUTS, dim=DIM))) > 0.9
    # A tenth of the queries of a test of 480 by chance would be far.
    assert accuracy(trained(AttentionFusion(inputs=INPUTS, dim=DIM))) <= cap + 0.03
    assert accuracy(EarlyFusion(inputs=INPUTS)) <= cap + 0.03
