import math

import pytest
import torch
from support.loss_cases import assert_close, unit
from support.naive_losses import info_nce as naive

from bind.losses import InfoNCE, info_nce


def test_closed_forms():
    eye = torch.eye(4)
    one_group = torch.zeros(4, dtype=torch.long)
    assert info_nce(eye[:1], eye[:1], 10.0).item() == 0.0
    assert info_nce(torch.ones(4, 1), torch.ones(4, 1), 10.0).item() == pytest.approx(math.log(4))
    assert info_nce(eye, eye, 2.0).item() == pytest.approx(math.log(1 + 3 * math.exp(-2)))
    assert info_nce(eye, eye, 2.0, groups=one_group).item() == 0.0
    assert info_nce(eye, eye, 2.0, groups=one_group, same_group="positive").item() == pytest.approx(
        math.log(math.exp(2) + 3) - 2 / 4
    )


@pytest.mark.parametrize("scale", [14.0, 60.0, 100.0])
def test_a_nearly_certain_match_is_no_less_exact_than_the_matrix_in_fp32(scale):
    z_a = unit(200, 8, seed=0)
    z_b = torch.nn.functional.normalize(z_a + 0.3 * unit(200, 8, seed=1), dim=1)

    def value_and_gradients(loss, dtype):
        leaves = {k: z.to(dtype).clone().requires_grad_() for k, z in (("a", z_a), ("b", z_b))}
        value = loss(*leaves.values(), torch.tensor(scale, dtype=dtype))
        value.backward()
        return {"loss": value.detach(), **{k: z.grad for k, z in leaves.items()}}

    exact = value_and_gradients(naive, torch.float64)
    in_fp32 = value_and_gradients(naive, torch.float32)
    worst = max(((in_fp32[k] - x).norm() / x.norm()).item() for k, x in exact.items())
    assert exact["loss"] < 0.5
    assert_close(value_and_gradients(info_nce, torch.float32), exact, max(1e-6, 2 * worst))


def test_not_a_number_is_not_hidden():
    z_a, z_b = unit(3, 4, seed=0), unit(3, 4, seed=1)
    z_a[1, 2] = torch.nan
    assert info_nce(z_a, z_b, 10.0).isnan()


def test_the_module_learns_its_temperature():
    module = InfoNCE(temperature=0.05, same_group="positive")
    z_a, z_b, groups = unit(6, 4, seed=0), unit(6, 4, seed=1), torch.tensor([0, 0, 1, 2, 3, 3])
    loss = module(z_a, z_b, groups)
    loss.backward()
    assert loss.item() == pytest.approx(info_nce(z_a, z_b, 20.0, groups=groups, same_group="positive").item())
    assert list(module.state_dict()) == ["temperature.log_scale"]
    assert module.temperature.log_scale.grad.item() != 0.0
    assert {name: value.item() for name, value in module.logged().items()} == {"scale": pytest.approx(20.0)}
    with torch.no_grad():
        module.temperature.log_scale.fill_(9.0)
    module.clamp_()
    assert module.logged()["scale"].item() == pytest.approx(100.0)
    assert not InfoNCE(learn_temperature=False)(z_a, z_b, groups).requires_grad
