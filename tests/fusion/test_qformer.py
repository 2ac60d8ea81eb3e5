import pytest
import torch
from torch.nn.functional import normalize

from bind.fusion.qformer import QFormerFusion
from bind.types import TokenFusion

DIM, WIDTHS = 6, {"audio": 5, "imu": 3}


@pytest.fixture
def fusion():
    torch.manual_seed(0)
    fusion = QFormerFusion(inputs=["audio", "imu"], dim=DIM, token_widths=WIDTHS, width=16, num_layers=1)
    with torch.no_grad():
        for weight in fusion.parameters():
            weight += 0.3 * torch.randn_like(weight)
    return fusion.eval()


def inputs(num_rows=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    z = {m: normalize(torch.randn(num_rows, DIM, generator=generator), dim=-1) for m in WIDTHS}
    present = {m: torch.ones(num_rows, dtype=torch.bool) for m in WIDTHS}
    tokens = {
        m: (torch.randn(num_rows, 7, width, generator=generator), torch.ones(num_rows, 7, dtype=torch.bool))
        for m, width in WIDTHS.items()
    }
    return z, present, tokens


def test_tokens_decide_with_the_vectors(fusion):
    z, present, tokens = inputs()
    other = {**tokens, "imu": (torch.roll(tokens["imu"][0], 1, dims=0), tokens["imu"][1])}
    assert isinstance(fusion, TokenFusion)
    assert not torch.allclose(fusion(z, present, tokens), fusion(z, present, other), atol=1e-3)


def test_what_is_no_token_has_no_influence_in_values_and_gradients(fusion):
    z, present, tokens = inputs()
    present["imu"][1] = False  # and all of its tokens
    mask_BL = tokens["audio"][1].clone()
    mask_BL[0, 4:] = False
    there = {**tokens, "audio": (tokens["audio"][0], mask_BL)}
    garbage = {m: (x.clone(), mask) for m, (x, mask) in there.items()}
    garbage["audio"][0][0, 4:] = garbage["imu"][0][1] = float("nan")
    z_BD = fusion(z, present, garbage)
    torch.testing.assert_close(z_BD, fusion(z, present, there))
    z_BD.sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in fusion.parameters())
    shorter = {
        **there,
        "audio": (there["audio"][0][:1, :4], mask_BL[:1, :4]),
        "imu": tuple(x[:1] for x in there["imu"]),
    }
    first = fusion({m: x[:1] for m, x in z.items()}, {m: x[:1] for m, x in present.items()}, shorter)
    torch.testing.assert_close(first, z_BD[:1].detach())


def test_an_input_whose_tokens_are_all_missing_still_has_its_vector(fusion):
    z, present, tokens = inputs()
    nothing = {m: (x, torch.zeros_like(mask)) for m, (x, mask) in tokens.items()}
    assert fusion(z, present, nothing).isfinite().all()


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match=r"fusion.width=10: give a multiple of fusion.num_heads=4"):
        QFormerFusion(inputs=["audio", "imu"], dim=DIM, width=10)
