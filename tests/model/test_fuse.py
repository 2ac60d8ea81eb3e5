import pytest
import torch
from support import tiny
from support.batches import attention, make_batch

from bind.model.binder import Binder


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["attention", "early"])
def test_a_fusion_makes_a_modality_of_the_rows_that_have_any_input(config, fusion):
    option = attention("imu", "depth")
    if fusion == "early":
        option = {"_target_": "bind.fusion.early.EarlyFusion", "inputs": ["imu", "depth"]}
    binder = Binder.from_config({**config, "fusion": option}).eval()
    assert binder.fused_modality == "imu_and_depth"
    embeddings = binder(make_batch(binder))
    fused = embeddings.z["imu_and_depth"]
    assert embeddings.rows["imu_and_depth"].tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(fused.norm(dim=-1), torch.ones(4))
    torch.testing.assert_close(fused[0], embeddings.z["imu"][0])
    torch.testing.assert_close(fused[1], embeddings.z["depth"][0])
    both = torch.nn.functional.normalize(embeddings.z["imu"][1] + embeddings.z["depth"][1], dim=-1)
    torch.testing.assert_close(fused[2], both)

    nothing = binder(make_batch(binder, imu=(), depth=()))
    assert nothing.z["imu_and_depth"].shape == (0, tiny.DIM)
    assert nothing.z["imu_and_depth"].requires_grad
    assert "imu_and_depth" not in binder(make_batch(binder, depth=(), carried=("image", "imu"))).z


@pytest.mark.slow
def test_a_fusion_of_tokens_is_given_those_of_encoders_that_have_them(config, tmp_path):
    transformer = {"_target_": "bind.encoders.imu_transformer.ImuTransformer", "num_channels": 6, "num_steps": 100}
    transformer |= {"width": 16, "num_layers": 1, "num_heads": 2, "kernel": 10}
    option = {"_target_": "bind.fusion.qformer.QFormerFusion", "inputs": ["imu", "depth"], "width": 8}
    encoders = {**config["encoder"], "imu": transformer}
    binder = Binder.from_config({**config, "encoder": encoders, "fusion": option}).eval()
    assert binder.fusion.token_widths == {"imu": 16}
    with torch.no_grad():
        binder.fusion.out.weight.normal_()
    batch = make_batch(binder)
    embeddings = binder(batch)
    fused = embeddings.z["imu_and_depth"]
    assert embeddings.rows["imu_and_depth"].tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(fused.norm(dim=-1), torch.ones(4))
    fused[1].sum().backward()  # that row has no imu
    assert not any(weight.grad is not None and weight.grad.any() for weight in binder.encoders["imu"].parameters())
    loaded = Binder.load(binder.save(tmp_path / "saved")).eval()
    torch.testing.assert_close(loaded(batch).z["imu_and_depth"], fused)
    nothing = binder(make_batch(binder, imu=(), depth=()))
    assert nothing.z["imu_and_depth"].shape == (0, tiny.DIM)
    frozen = {**encoders, "imu": {**transformer, "train": "head"}}
    binder = Binder.from_config({**config, "encoder": frozen, "fusion": option})
    assert binder.fusion.token_widths == {}, "features of a frozen encoder may come from the cache, without tokens"
