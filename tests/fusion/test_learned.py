"""Every learned fusion: missing modalities, modality dropout, gradients, save and load, and where training starts."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from bind.fusion.attention import AttentionFusion
from bind.fusion.early import EarlyFusion
from bind.fusion.gated import GatedFusion
from bind.fusion.learned import drop_modalities
from bind.fusion.low_rank_tensor import LowRankTensorFusion
from bind.fusion.mlp import MLPFusion
from bind.fusion.qformer import QFormerFusion

HEADS = [AttentionFusion, GatedFusion, MLPFusion, LowRankTensorFusion, QFormerFusion]
INPUTS = ("audio", "imu", "depth")
DIM = 8

every_head = pytest.mark.parametrize("head", HEADS, ids=lambda head: head.kind)


def embeddings(num_rows, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {m: normalize(torch.randn(num_rows, DIM, generator=generator), dim=-1) for m in INPUTS}


def presence(rows):
    return {m: torch.tensor([bool(row >> i & 1) for row in rows]) for i, m in enumerate(INPUTS)}


def trained(head, **options):
    """A head whose weights are none of those that it starts with."""
    torch.manual_seed(0)
    fusion = head(inputs=INPUTS, dim=DIM, **options)
    with torch.no_grad():
        for weight in fusion.parameters():
            weight += 0.5 * torch.randn_like(weight)
    return fusion.eval()


@pytest.mark.slow
@every_head
@settings(max_examples=20, deadline=None)
@given(rows=st.lists(st.integers(1, 7), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_what_missing_rows_hold_has_no_influence(head, rows, seed):
    fusion, z, present = trained(head), embeddings(len(rows), seed), presence(rows)
    garbage = {m: torch.where(present[m][:, None], z[m], torch.tensor(float("nan"))) for m in INPUTS}
    z_BD = fusion(garbage, present)
    torch.testing.assert_close(z_BD, fusion({m: z[m] * present[m][:, None] for m in INPUTS}, present))
    torch.testing.assert_close(z_BD.norm(dim=1), torch.ones(len(rows)))


@pytest.mark.slow
@every_head
@settings(max_examples=20, deadline=None)
@given(rows=st.lists(st.integers(1, 7), min_size=2, max_size=6))
def test_a_row_does_not_depend_on_the_others(head, rows):
    fusion, z, present = trained(head), embeddings(len(rows)), presence(rows)
    alone = fusion({m: z[m][1:2] for m in INPUTS}, {m: present[m][1:2] for m in INPUTS})
    torch.testing.assert_close(fusion(z, present)[1:2], alone)


@every_head
def test_it_starts_as_the_plain_sum(head):
    fusion, z, present = head(inputs=INPUTS, dim=DIM).eval(), embeddings(7), presence(range(1, 8))
    torch.testing.assert_close(fusion(z, present), EarlyFusion(inputs=INPUTS)(z, present))


@every_head
def test_every_weight_of_a_trained_head_has_a_finite_gradient(head):
    """Also where no row has all inputs, and where rows cancel: a weight that a process leaves out stops DDP."""
    fusion = trained(head).train()
    z, present = embeddings(6), presence([1, 2, 4, 3, 5, 6])
    z["imu"][3] = -z["audio"][3]
    (fusion(z, present) * torch.randn(6, DIM)).sum().backward()
    for name, weight in fusion.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name


@every_head
def test_no_rows_give_no_vectors_and_gradients_of_zero(head):
    fusion = trained(head).train()
    z_BD = fusion({m: torch.zeros(0, DIM) for m in INPUTS}, {m: torch.zeros(0, dtype=torch.bool) for m in INPUTS})
    assert z_BD.shape == (0, DIM)
    z_BD.sum().backward()
    assert all(weight.grad is not None and not weight.grad.any() for weight in fusion.parameters())


@every_head
def test_saved_weights_make_the_same_head(head):
    fusion, other = trained(head), head(inputs=INPUTS, dim=DIM).eval()
    z, present = embeddings(7), presence(range(1, 8))
    assert not torch.allclose(other(z, present), fusion(z, present))
    other.load_state_dict(fusion.state_dict())
    assert torch.equal(other(z, present), fusion(z, present))


@every_head
def test_dropout_is_for_training_only(head):
    fusion, z, present = trained(head, modality_dropout=0.9), embeddings(32), presence([7] * 32)
    still = fusion(z, present)
    assert not torch.allclose(fusion.train()(z, present), still, atol=1e-3)
    torch.testing.assert_close(fusion.eval()(z, present), still)


@every_head
@pytest.mark.parametrize("p", [-0.1, 1.0])
def test_a_dropout_outside_its_range_is_refused(head, p):
    with pytest.raises(ValueError, match="modality_dropout"):
        head(inputs=INPUTS, dim=DIM, modality_dropout=p)


def test_a_rank_below_one_is_refused():
    with pytest.raises(ValueError, match="rank=0: give a whole number"):
        LowRankTensorFusion(inputs=INPUTS, dim=DIM, rank=0)


def test_a_tensor_of_rank_one_is_the_product_of_its_factors():
    fusion = trained(LowRankTensorFusion, rank=1, width=5)
    z, present = embeddings(4), presence([7, 7, 3, 4])
    product = torch.ones(4, 5)
    for m, factor in zip(INPUTS, fusion.factors, strict=True):
        product = product * (DIM**0.5 * z[m] * present[m][:, None] @ factor.weight.T + factor.bias)
    total = sum(z[m] * present[m][:, None] for m in INPUTS) + product @ fusion.out.weight.T + fusion.out.bias
    torch.testing.assert_close(fusion(z, present), normalize(total, dim=1))


@pytest.mark.slow
@pytest.mark.parametrize("head", [MLPFusion, LowRankTensorFusion], ids=lambda head: head.kind)
def test_it_learns_a_product_of_two_signs_which_no_sum_has(head):
    """The target is e0 where both inputs have one sign, else e1: linear in neither input."""
    torch.manual_seed(0)
    fusion = head(inputs=("audio", "imu"), dim=4, modality_dropout=0.0)
    optimizer = torch.optim.Adam(fusion.parameters(), lr=1e-2)
    present = dict.fromkeys(("audio", "imu"), torch.ones(64, dtype=torch.bool))
    for _ in range(150):
        signs = torch.randint(0, 2, (64, 2)) * 2 - 1
        z = {m: torch.eye(4)[2 + i].expand(64, 4) * signs[:, i : i + 1] for i, m in enumerate(present)}
        target = torch.eye(4)[(signs.prod(dim=1) < 0).long()]
        optimizer.zero_grad()
        (1 - (fusion(z, present) * target).sum(dim=-1)).mean().backward()
        optimizer.step()
    assert (fusion(z, present) * target).sum(dim=1).mean() > 0.9


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
