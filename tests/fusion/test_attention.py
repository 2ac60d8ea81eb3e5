import pytest
import torch
from torch.nn.functional import normalize

from bind.fusion.attention import AttentionFusion
from bind.fusion.early import EarlyFusion

PRESENT = {"audio": torch.tensor([True, True, False]), "imu": torch.tensor([True, False, True])}


def embeddings() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {m: normalize(torch.randn(3, 8, generator=generator), dim=-1) for m in PRESENT}


def test_it_starts_as_the_plain_average():
    fusion = AttentionFusion(inputs=["audio", "imu"], dim=8).eval()
    z = embeddings()
    torch.testing.assert_close(fusion(z, PRESENT), EarlyFusion(inputs=["audio", "imu"])(z, PRESENT))


def test_attention_sums_to_one_over_what_is_present():
    fusion = AttentionFusion(inputs=["audio", "imu"], dim=8)
    for scorer in fusion.scorers:
        torch.nn.init.normal_(scorer[-1].weight)
    attention_BM = fusion.attention(embeddings(), PRESENT)
    torch.testing.assert_close(attention_BM.sum(dim=1), torch.ones(3))
    assert attention_BM[1].tolist() == [1.0, 0.0]
    assert attention_BM[2].tolist() == [0.0, 1.0]
    assert abs(attention_BM[0, 0] - 0.5) > 1e-3


@pytest.mark.slow
def test_it_learns_which_modality_to_trust():
    torch.manual_seed(0)
    fusion = AttentionFusion(inputs=["audio", "imu"], dim=8, modality_dropout=0.0)
    optimizer = torch.optim.Adam(fusion.parameters(), lr=1e-2)
    present = {m: torch.ones(64, dtype=torch.bool) for m in PRESENT}
    for _ in range(60):
        target = normalize(torch.randn(64, 8), dim=-1)
        z = {"audio": target, "imu": normalize(torch.randn(64, 8), dim=-1)}
        optimizer.zero_grad()
        (1 - (fusion(z, present) * target).sum(dim=-1)).mean().backward()
        optimizer.step()
    assert fusion.attention(z, present)[:, 0].mean() > 0.9
