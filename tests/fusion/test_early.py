import torch
from torch.nn.functional import normalize

from bind.fusion.early import EarlyFusion


def test_it_is_the_normalised_weighted_sum_and_has_no_parameters():
    fusion = EarlyFusion(inputs=["audio", "imu"], weights={"imu": 3.0})
    z = {"audio": torch.tensor([[1.0, 0.0]]), "imu": torch.tensor([[0.0, 1.0]])}
    present = {m: torch.tensor([True]) for m in z}
    torch.testing.assert_close(fusion(z, present), normalize(torch.tensor([[1.0, 3.0]]), dim=-1))
    assert not list(fusion.parameters())


def test_other_modalities_are_left_alone():
    fusion = EarlyFusion(inputs=["audio", "imu"])
    z = {m: normalize(torch.randn(3, 4), dim=-1) for m in ("audio", "imu", "image")}
    present = {m: torch.ones(3, dtype=torch.bool) for m in z}
    torch.testing.assert_close(fusion(z, present), normalize(z["audio"] + z["imu"], dim=-1))
