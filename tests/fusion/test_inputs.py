import pytest
import torch

from bind.fusion.inputs import check_inputs, check_weights, fused_name, stack_present, unit


def test_the_fused_modality_is_named_in_the_given_order():
    assert fused_name(["imu", "audio"]) == "imu_and_audio"


@pytest.mark.parametrize("inputs", [[], ["audio"], ["audio", "audio"]])
def test_too_few_or_repeated_inputs_are_refused(inputs):
    with pytest.raises(ValueError, match=r"fusion\.inputs=\[audio,imu\]"):
        check_inputs(inputs)


def test_weights_are_one_unless_given():
    assert check_weights(["audio", "imu"], {"imu": 2}) == {"audio": 1.0, "imu": 2.0}
    assert check_weights(["audio", "imu"], None) == {"audio": 1.0, "imu": 1.0}


@pytest.mark.parametrize("weights", [{"image": 1.0}, {"audio": 0.0}, {"audio": -1.0}])
def test_weights_of_others_or_not_positive_are_refused(weights):
    with pytest.raises(ValueError, match=r"fusion\.weights"):
        check_weights(["audio", "imu"], weights)


def test_missing_rows_become_zeros_and_get_no_gradient():
    audio = torch.tensor([[1.0, 2.0], [float("nan"), float("inf")]], requires_grad=True)
    imu = torch.ones(2, 2)
    present = {"audio": torch.tensor([True, False]), "imu": torch.tensor([True, True])}
    z_BMD, present_BM = stack_present(["audio", "imu"], {"audio": audio, "imu": imu}, present)
    assert torch.equal(z_BMD[:, 0], torch.tensor([[1.0, 2.0], [0.0, 0.0]]))
    assert torch.equal(present_BM, torch.tensor([[True, True], [False, True]]))
    z_BMD.sum().backward()
    assert torch.equal(audio.grad, torch.tensor([[1.0, 1.0], [0.0, 0.0]]))


def test_a_row_without_any_input_is_an_error():
    present = {"audio": torch.tensor([True, False]), "imu": torch.tensor([True, False])}
    with pytest.raises(AssertionError, match="cannot be fused"):
        stack_present(["audio", "imu"], {m: torch.ones(2, 3) for m in present}, present)


def test_vectors_that_cancel_have_a_finite_gradient():
    x_BD = torch.zeros(1, 4, requires_grad=True)
    unit(x_BD).sum().backward()
    assert x_BD.grad.isfinite().all()
