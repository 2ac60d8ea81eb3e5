import pytest
from support import tiny

from bind.model.binder import Binder

MAX_COLUMNS = 120


def binder_with(folder, **more):
    config = tiny.binder_config(tiny.write_anchor(folder), **more)
    return Binder.from_config(config)


@pytest.fixture(scope="module")
def binder(tmp_path_factory):
    return binder_with(tmp_path_factory.mktemp("anchor"))


@pytest.mark.slow
def test_a_binder_is_shown_as_a_short_table(binder):
    lines = repr(binder).splitlines()
    assert lines[0] == f"Binder, {tiny.DIM} dimensions"
    assert lines[1].split() == ["modality", "embedded", "by", "parameters", "trained"]
    assert len(lines) == 2 + 1 + len(binder.encoders)
    assert max(map(len, lines)) < MAX_COLUMNS
    for modality in binder.encoders:
        num = sum(p.numel() for part in (binder.encoders, binder.heads) for p in part[modality].parameters())
        [line] = [line for line in lines if line.startswith(f"  {modality} ")]
        assert f" {num:,}  all" in line
        assert f"{type(binder.encoders[modality]).__name__}, ProjectionHead" in line
    assert lines[2].startswith(f"  {', '.join(binder.anchor.modalities)}  the anchor ")
    assert lines[2].endswith("  frozen")
    assert binder.anchor.name in lines[2]


@pytest.mark.slow
@pytest.mark.parametrize("train", ["head", "last_1"])
def test_what_trains_is_counted(tmp_path, train):
    config = tiny.binder_config(tmp_path)["encoder"]
    config["depth"] |= {"_target_": "bind.encoders.map_vit.MapViT", "num_heads": 2, "size_px": 64, "train": train}
    binder = binder_with(tmp_path, encoder=config)
    trained = sum(p.numel() for p in (*binder.encoders["depth"].parameters(), *binder.heads["depth"].parameters())
                  if p.requires_grad)  # fmt: skip
    [line] = [line for line in repr(binder).splitlines() if line.startswith("  depth ")]
    assert line.endswith(f"  {trained:,} ({train})")


@pytest.mark.slow
def test_a_shared_trunk_and_a_fusion_are_named(tmp_path):
    vit = {"width": 16, "num_layers": 1, "num_heads": 2}
    encoder = {
        "depth": {"_target_": "bind.encoders.map_vit.MapViT", "size_px": 64, **vit},
        "thermal": {"_target_": "bind.encoders.map_vit.MapViT", "size_px": 64, "share": "depth", **vit},
    }
    transform = {
        "depth": {"_target_": "bind.data.transforms.depth.DepthTransform"},
        "thermal": {"_target_": "bind.data.transforms.thermal.ThermalTransform"},
    }
    for fusion, shown in (
        ({"_target_": "bind.fusion.late.LateFusion", "method": "sum"}, "0  nothing to train"),
        ({"_target_": "bind.fusion.attention.AttentionFusion"}, "  all"),
    ):
        options = {"modalities": [*encoder], "encoder": encoder, "transform": transform}
        binder = binder_with(tmp_path, **options, fusion={**fusion, "inputs": [*encoder]})
        lines = repr(binder).splitlines()
        assert "MapViT, ProjectionHead, trunk of depth" in lines[-2]
        name = fusion["_target_"].rpartition(".")[2]
        assert lines[-1].split("  ")[1] == "depth_and_thermal"
        assert f"  {name} of depth and thermal  " in lines[-1]
        assert lines[-1].endswith(shown)
