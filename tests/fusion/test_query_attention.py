"""Learned queries over tokens, against attention written out by hand."""

import torch
from torch.nn.functional import gelu

from bind.fusion.query_attention import attend_with_queries, hide_absent, make_projection, make_query_layers


def attend(attention, x_QW, y_LW):
    """One head at a time, of one row."""
    width, num_heads = attention.embed_dim, attention.num_heads
    q, k, v = (
        x @ w.T + b
        for x, w, b in zip(
            (x_QW, y_LW, y_LW), attention.in_proj_weight.split(width), attention.in_proj_bias.split(width), strict=True
        )
    )
    heads = []
    for part in torch.arange(width).split(width // num_heads):
        scores_QL = q[:, part] @ k[:, part].T / (width // num_heads) ** 0.5
        heads.append(scores_QL.softmax(dim=1) @ v[:, part])
    return attention.out_proj(torch.cat(heads, dim=1))


def test_queries_attend_to_each_other_and_then_to_the_tokens_that_are_there():
    torch.manual_seed(0)
    layers = make_query_layers(8, num_layers=2, num_heads=2)
    queries_QW, tokens_BLW = torch.randn(3, 8), torch.randn(2, 5, 8)
    is_token_BL = torch.ones(2, 5, dtype=torch.bool)
    is_token_BL[1, 2:] = False
    got_BQW = attend_with_queries(layers, queries_QW, tokens_BLW, is_token_BL)
    for row in range(2):
        x_QW, tokens_LW = queries_QW, tokens_BLW[row, is_token_BL[row]]
        for layer in layers:
            normed_QW = layer.norm1(x_QW)
            x_QW = x_QW + attend(layer.self_attn, normed_QW, normed_QW)
            x_QW = x_QW + attend(layer.multihead_attn, layer.norm2(x_QW), tokens_LW)
            x_QW = x_QW + layer.linear2(gelu(layer.linear1(layer.norm3(x_QW))))
        torch.testing.assert_close(got_BQW[row], x_QW, atol=1e-5, rtol=1e-4)


def test_what_is_not_there_is_zero_and_projected_tokens_have_the_width_of_queries():
    x_BLF = torch.full((1, 2, 3), float("nan"))
    x_BLF[0, 0] = 2.0
    hidden_BLF = hide_absent(x_BLF.double(), torch.tensor([[True, False]]))
    assert hidden_BLF.dtype == torch.float32
    assert hidden_BLF.tolist() == [[[2.0] * 3, [0.0] * 3]]
    assert make_projection(3, 8)(hidden_BLF).shape == (1, 2, 8)
