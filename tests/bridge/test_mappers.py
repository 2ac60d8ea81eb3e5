"""Mappers from a vector, or from tokens, to soft tokens."""

import pytest
import torch

from bind.bridge.mappers import MLPMapper, QFormerMapper, TransformerMapper
from bind.build import build
from bind.model.tokens import TokenBatch

KINDS = {"mlp": MLPMapper, "transformer": TransformerMapper}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [4, 512])
def test_soft_tokens_begin_about_as_large_as_words(kind, dim):
    torch.manual_seed(0)
    mapper = KINDS[kind](dim=dim, hidden_size=32, num_tokens=5, scale=0.02)
    z = torch.nn.functional.normalize(torch.randn(64, dim), dim=1)
    tokens = mapper(z)
    assert tokens.shape == (64, 5, 32)
    assert 0.002 < tokens.square().mean().sqrt() < 0.05
    assert (tokens.std(dim=0) > 0).all()


def test_rows_do_not_see_each_other():
    torch.manual_seed(0)
    mapper = TransformerMapper(dim=8, hidden_size=16, num_tokens=3, num_layers=1).eval()
    z = torch.nn.functional.normalize(torch.randn(4, 8), dim=1)
    assert torch.allclose(mapper(z)[1:2], mapper(z[1:2]), atol=1e-6)


@pytest.fixture
def queries():
    torch.manual_seed(0)
    mapper = QFormerMapper(modality="imu", num_token_features=6, hidden_size=32, num_tokens=3, width=16, scale=0.02)
    with torch.no_grad():
        for weight in mapper.parameters():
            weight += 0.2 * torch.randn_like(weight)
    return mapper.eval()


def test_queries_read_every_token(queries):
    x_BLF = torch.randn(8, 5, 6)
    soft_BKH = queries(TokenBatch(x_BLF, torch.ones(8, 5, dtype=torch.bool)))
    assert soft_BKH.shape == (8, 3, 32)
    assert 0.002 < soft_BKH.square().mean().sqrt() < 0.06
    for place in range(5):
        other_BLF = x_BLF.clone()
        other_BLF[:, place] += 1.0 * torch.randn(6)
        other_BKH = queries(TokenBatch(other_BLF, torch.ones(8, 5, dtype=torch.bool)))
        assert ((other_BKH - soft_BKH).abs().amax(dim=(1, 2)) > 1e-5).all()


def test_what_is_no_token_has_no_influence_and_rows_do_not_see_each_other(queries):
    sequences = [torch.randn(num, 6) for num in (7, 2, 4)]
    together = TokenBatch.of(sequences)
    together.x_BLF[~together.is_token_BL] = float("nan")
    soft_BKH = queries(together)
    for row, x_LF in enumerate(sequences):
        torch.testing.assert_close(queries(TokenBatch.of([x_LF]))[0], soft_BKH[row], atol=1e-6, rtol=1e-4)
    soft_BKH.sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in queries.parameters())


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"mapper.num_heads=3 does not divide its width, 32"):
        TransformerMapper(dim=8, hidden_size=32, num_heads=3)
    with pytest.raises(ValueError, match=r"mapper.num_heads=3 does not divide its width, 128"):
        QFormerMapper(modality="imu", num_token_features=4, hidden_size=32, num_heads=3)


def test_a_mapper_of_a_file_is_one_of_bind():
    with pytest.raises(ValueError, match=r"give mapper a public class of bind.bridge.mappers"):
        build({"_target_": "bind.encoders.heads.ProjectionHead"}, "mapper", dim=8, hidden_size=16)
