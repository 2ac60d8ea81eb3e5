"""Mappers from a vector to soft tokens."""

import pytest
import torch

from bind.bridge.mappers import MLPMapper, TransformerMapper
from bind.build import build

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


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"mapper.num_heads=3 does not divide its width, 32"):
        TransformerMapper(dim=8, hidden_size=32, num_heads=3)


def test_a_mapper_of_a_file_is_one_of_bind():
    with pytest.raises(ValueError, match=r"give mapper a public class of bind.bridge.mappers"):
        build({"_target_": "bind.encoders.heads.ProjectionHead"}, "mapper", dim=8, hidden_size=16)
