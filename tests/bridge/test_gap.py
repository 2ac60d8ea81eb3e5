"""The remedies for the gap between modalities."""

import pytest
import torch
from torch.nn.functional import normalize

from bind.bridge.gap import MAX_MEMORY, Gap, choose_memory
from bind.bridge.remedies import read_remedies, require_choice


def unit(num, dim=16, seed=0):
    return normalize(torch.randn(num, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_a_shifted_modality_is_moved_back_by_its_mean():
    texts = normalize(unit(400) + 0.3, dim=1)
    shift = torch.zeros(16)
    shift[3] = 0.8
    sounds = normalize(texts + shift, dim=1)
    gap = Gap("mean", {"text": texts.mean(0), "audio": sounds.mean(0)})
    moved = gap.bring_near("audio", sounds)
    assert torch.allclose(moved.norm(dim=1), torch.ones(400), atol=1e-5)
    assert (moved * texts).sum(1).mean() > (sounds * texts).sum(1).mean() + 0.1
    assert torch.equal(gap.bring_near("text", texts), texts)
    assert torch.equal(gap.bring_near("audio", sounds, "noise"), sounds)


def test_a_modality_is_moved_to_the_captions_of_its_own_samples():
    z, shift = unit(3), unit(1, seed=2)[0]
    gap = Gap("captions", {"text": unit(1)[0]}, shifts={"image": shift})
    assert torch.equal(gap.bring_near("image", z), normalize(z + shift, dim=1))
    assert torch.equal(gap.bring_near("text", z), z)


def test_a_memory_makes_mixtures_of_texts():
    texts = torch.eye(16)[:4]
    gap = Gap("memory", {}, texts.half())
    query = normalize(texts[2] + 0.7 * torch.eye(16)[9], dim=0)[None]
    near = gap.bring_near("imu", query)
    assert near[0, 9] == 0
    assert float(near[0] @ texts[2]) > 0.999
    assert torch.equal(gap.bring_near("text", query), query)


def test_a_memory_is_bounded():
    assert choose_memory(unit(7)).shape == (7, 16)
    many = torch.arange(2 * MAX_MEMORY, dtype=torch.float32)[:, None]
    kept = choose_memory(many)
    assert kept.shape == (MAX_MEMORY, 1)
    assert kept.dtype == torch.float16


@pytest.mark.parametrize(
    ("remedy", "message"),
    [
        ("men", "gap=men: choose noise, mean, captions, memory"),
        ("memory", "keeps no vectors of texts"),
        ("mean", "knows no mean of imu"),
        ("captions", "no training sample of the run that this bridge was made of had imu and a caption"),
    ],
)
def test_what_a_bridge_lacks_is_said(remedy, message):
    with pytest.raises(ValueError, match=message):
        Gap("noise", {"text": torch.zeros(16)}).bring_near("imu", unit(1), remedy)


def test_each_modality_has_its_remedy():
    means = {m: unit(1, seed=n)[0] for n, m in enumerate(("text", "image", "imu", "audio"))}
    gap = Gap("noise", means, of_modality={"image": "mean"})
    z = unit(5, seed=9)
    moved = {m: Gap("mean", means).bring_near(m, z) for m in means}
    assert torch.equal(gap.bring_near("image", z), moved["image"])
    assert torch.equal(gap.bring_near("imu", z), z)
    assert torch.equal(gap.bring_near("imu", z, "mean"), moved["imu"])
    assert torch.equal(gap.bring_near("image", z, "noise"), z)
    assert torch.equal(gap.bring_near("imu", z, {"imu": "mean"}), moved["imu"])
    assert torch.equal(gap.bring_near("image", z, {"imu": "mean"}), moved["image"])
    assert gap.remedies == {"noise", "mean"}
    with pytest.raises(ValueError, match=r"gap\.imu=men: choose noise, mean, captions, memory"):
        gap.bring_near("imu", z, {"imu": "men"})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (None, (None, {})),
        ("mean", ("mean", {})),
        ({"default": "noise", "image": "mean", "audio": None}, ("noise", {"image": "mean"})),
        ({"default": None, "touch": "memory"}, (None, {"touch": "memory"})),
    ],
)
def test_a_config_names_remedies(values, expected):
    assert read_remedies(values) == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("men", "gap=men: choose noise"),
        ({"image": "men"}, r"gap\.image=men: choose"),
        (["mean"], r"gap=\['mean'\]: choose"),
    ],
)
def test_a_config_with_another_remedy_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        read_remedies(values)


def test_a_remedy_of_an_unknown_modality_is_refused():
    require_choice({"image": "mean"}, ["image", "text"])
    require_choice(None, [])
    with pytest.raises(ValueError, match=r"gap\.sound=mean: this run embeds image, text"):
        require_choice({"sound": "mean"}, ["image", "text"])
    with pytest.raises(ValueError, match="gap=men: choose"):
        require_choice("men", [])
