import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from bind.fusion.attention import AttentionFusion, drop_modalities
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


@pytest.mark.slow
@settings(max_examples=30)
@given(rows=st.lists(st.integers(1, 7), min_size=0, max_size=8), p=st.floats(0.0, 1.0))
def test_dropout_never_invents_a_modality_nor_drops_the_last(rows, p):
    present_BM = torch.tensor([[bool(row >> i & 1) for i in range(3)] for row in rows], dtype=torch.bool).reshape(-1, 3)
    kept_BM = drop_modalities(present_BM, p)
    assert not (kept_BM & ~present_BM).any()
    assert kept_BM.any(dim=1).all()


def test_dropout_drops_at_its_rate():
    torch.manual_seed(0)
    kept_BM = drop_modalities(torch.ones(4000, 5, dtype=torch.bool), 0.3)
    assert kept_BM.float().mean().item() == pytest.approx(0.7, abs=0.02)


def test_dropout_is_for_training_only():
    fusion = AttentionFusion(inputs=["audio", "imu"], dim=8, modality_dropout=0.9)
    z = {m: normalize(torch.randn(32, 8), dim=-1) for m in PRESENT}
    present = {m: torch.ones(32, dtype=torch.bool) for m in PRESENT}
    average = EarlyFusion(inputs=["audio", "imu"])(z, present)
    assert not torch.allclose(fusion.train()(z, present), average, atol=1e-3)
    torch.testing.assert_close(fusion.eval()(z, present), average)


@pytest.mark.parametrize("p", [-0.1, 1.0])
def test_a_dropout_outside_its_range_is_refused(p):
    with pytest.raises(ValueError, match="modality_dropout"):
        AttentionFusion(inputs=["audio", "imu"], dim=8, modality_dropout=p)
