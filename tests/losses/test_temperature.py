import math

import pytest
import torch

from bind.losses import Temperature


@pytest.mark.parametrize("temperature", [0.01, 0.07, 1.0])
def test_the_scale_is_the_inverse_and_can_move_from_where_it_starts(temperature):
    module = Temperature(temperature)
    scale = module()
    scale.sum().backward()
    assert scale.shape == (1,)
    assert scale.item() == pytest.approx(1 / temperature, rel=1e-5)
    assert module.log_scale.grad.item() == pytest.approx(scale.item())


@pytest.mark.parametrize("temperature", [0.0099, 0.0, -0.07, 1.01, float("nan")])
def test_a_temperature_out_of_range_is_refused(temperature):
    with pytest.raises(ValueError, match=r"temperature=.*0\.01 to 1"):
        Temperature(temperature)


def test_a_fixed_temperature_has_no_gradient():
    assert not Temperature(0.07, learn=False)().requires_grad


@pytest.mark.parametrize(("log_scale", "scale"), [(-3.0, 1.0), (9.0, 100.0)])
def test_the_scale_is_clamped_and_clamp_brings_the_parameter_back(log_scale, scale):
    module = Temperature()
    with torch.no_grad():
        module.log_scale.fill_(log_scale)
    assert module().item() == pytest.approx(scale, rel=1e-5)
    module.clamp_()
    assert module.log_scale.item() == pytest.approx(math.log(scale), abs=1e-5)
    module().sum().backward()
    assert module.log_scale.grad.item() != 0.0


def test_the_scale_is_fp32_in_a_half_precision_module():
    assert Temperature().bfloat16()().dtype == torch.float32
