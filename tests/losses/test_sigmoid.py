import math

import pytest
import torch
from support.loss_cases import unit

from bind.losses import Sigmoid, sigmoid_loss


def test_closed_forms():
    eye = torch.eye(4)
    one_group = torch.zeros(4, dtype=torch.long)
    yes, no = math.log(1 + math.exp(-(2 - 1))), math.log(1 + math.exp(-1))  # logits 1 at the matches and -1 elsewhere
    against = math.log(1 + math.exp(1))  # a logit of -1 where the answer is yes
    assert sigmoid_loss(eye, eye, 2.0, -1.0).item() == pytest.approx(yes + 3 * no)
    assert sigmoid_loss(eye, eye, 2.0, -1.0, groups=one_group).item() == pytest.approx(yes)
    assert sigmoid_loss(eye, eye, 2.0, -1.0, groups=one_group, same_group="positive").item() == pytest.approx(
        yes + 3 * against
    )


@pytest.mark.parametrize(("bias", "value"), [(-40.0, 34.0), (40.0, 46.0 + 3 * 40.0 - 46.0)])
def test_certain_answers_stay_finite_and_exact(bias, value):
    eye = torch.eye(4)
    assert sigmoid_loss(eye, eye, 6.0, bias).item() == pytest.approx(value, rel=1e-6)


def test_the_module_learns_its_temperature_and_bias():
    module = Sigmoid(temperature=0.05, bias=-4.0, same_group="positive")
    z_a, z_b, groups = unit(6, 4, seed=0), unit(6, 4, seed=1), torch.tensor([0, 0, 1, 2, 3, 3])
    loss = module(z_a, z_b, groups)
    loss.backward()
    wanted = sigmoid_loss(z_a, z_b, 20.0, -4.0, groups=groups, same_group="positive")
    assert loss.item() == pytest.approx(wanted.item())
    assert list(module.state_dict()) == ["bias", "temperature.log_scale"]
    assert module.bias.shape == (1,)
    assert module.bias.grad.item() != 0.0
    assert module.temperature.log_scale.grad.item() != 0.0
    assert {k: v.item() for k, v in module.logged().items()} == {"scale": pytest.approx(20.0), "bias": -4.0}
    with torch.no_grad():
        module.temperature.log_scale.fill_(-9.0)
    module.clamp_()
    assert module.logged()["scale"].item() == pytest.approx(1.0)
    assert not Sigmoid(learn_temperature=False, learn_bias=False)(z_a, z_b, groups).requires_grad


def test_the_module_in_half_precision_keeps_its_scalars_in_fp32():
    module = Sigmoid().bfloat16()
    assert module(unit(3, 4, seed=0), unit(3, 4, seed=1), torch.arange(3)).dtype == torch.float32
