import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bind.encoders.heads import ProjectionHead


@pytest.mark.slow
@settings(max_examples=20)
@given(num_rows=st.integers(0, 5), gain=st.floats(1e-3, 1e4), hidden_width=st.sampled_from([None, 16]))
def test_embeddings_have_unit_norm(num_rows, gain, hidden_width):
    head = ProjectionHead(num_features=12, dim=8, hidden_width=hidden_width)
    z_BD = head(gain * torch.randn(num_rows, 12))
    assert z_BD.shape == (num_rows, 8)
    torch.testing.assert_close(z_BD.norm(dim=-1), torch.ones(num_rows), atol=1e-5, rtol=0)


def test_embeddings_are_fp32_and_unit_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z_BD = ProjectionHead(num_features=12, dim=8)(torch.randn(4, 12))
    assert z_BD.dtype == torch.float32
    torch.testing.assert_close(z_BD.norm(dim=-1), torch.ones(4), atol=1e-6, rtol=0)


def test_a_zero_vector_stays_zero_with_a_finite_gradient():
    features = torch.zeros(2, 12, requires_grad=True)
    z_BD = ProjectionHead(num_features=12, dim=8)(features)
    z_BD.sum().backward()
    assert torch.equal(z_BD, torch.zeros(2, 8))
    assert features.grad.isfinite().all()


def test_dropout_is_for_training_only():
    head = ProjectionHead(num_features=12, dim=8, dropout=0.5)
    features = torch.randn(4, 12)
    assert not torch.equal(head(features), head(features))
    head.eval()
    assert torch.equal(head(features), head(features))


@pytest.mark.parametrize(("hidden_width", "expected"), [(None, 24 + 96), (16, 24 + 12 * 16 + 16 + 16 * 8)])
def test_the_hidden_layer_is_optional(hidden_width, expected):
    head = ProjectionHead(num_features=12, dim=8, hidden_width=hidden_width)
    assert sum(p.numel() for p in head.parameters()) == expected


def test_without_a_norm_it_is_the_linear_layer_alone():
    head, features = ProjectionHead(num_features=12, dim=8, norm=False), 5 * torch.randn(4, 12)
    expected = torch.nn.functional.normalize(features @ head.project.weight.T, dim=-1)
    torch.testing.assert_close(head(features), expected)
    assert list(head.state_dict()) == ["project.weight"]
