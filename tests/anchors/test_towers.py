import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support import tiny
from torch import nn

from bind.anchors.frozen import FrozenAnchor
from bind.anchors.towers import TowersAnchor, describe_transform
from bind.data.transforms.vectors import VectorTransform
from bind.model.binder import Binder

DIM = 5


class Words:
    """Texts → numbers of their letters; a transform of one's own."""

    def __init__(self, width=8):
        self.width = width

    def __call__(self, value, rng=None):
        counts = torch.zeros(self.width)
        for letter in value.encode():
            counts[letter % self.width] += 1
        return counts

    def collate(self, items):
        return {"counts": torch.stack(items)}


class WordTower(nn.Module):
    """A tower that is called by name, with a BatchNorm whose statistics must stay."""

    def __init__(self, width=8, path=None):
        super().__init__()
        self.path = path
        self.norm = nn.BatchNorm1d(width)
        self.layer = nn.Linear(width, 7)
        if path is not None:
            self.load_state_dict(load_file(path))

    def forward(self, counts):
        return self.layer(self.norm(counts))


class SavedWordTower(WordTower):
    def saved_arguments(self):
        return {"path": None}


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "projections.safetensors"
    tensors = {"projections.image.weight": torch.randn(DIM, 6), "projections.text.weight": torch.randn(DIM, 7)}
    save_file(tensors | {"projections.text.bias": torch.randn(DIM)}, path)
    return path


@pytest.fixture
def tower_file(tmp_path):
    tower = WordTower()
    with torch.no_grad():
        tower.norm.running_mean.normal_()
    save_file(tower.state_dict(), tmp_path / "tower.safetensors")
    return tmp_path / "tower.safetensors"


def config(tower_file, weights, kind="SavedWordTower"):
    module = __name__
    return {
        "_target_": "bind.anchors.towers.TowersAnchor",
        "dim": DIM,
        "towers": {
            "image": {"_target_": "torch.nn.Identity"},
            "text": {"_target_": f"{module}.{kind}", "path": str(tower_file)},
        },
        "transforms": {
            "image": {"_target_": "bind.data.transforms.vectors.VectorTransform", "width": 6, "unit_length": False},
            "text": {"_target_": f"{module}.Words"},
        },
        "weights": str(weights),
    }


def make(tower_file, weights):
    transforms = {"image": VectorTransform(width=6, unit_length=False), "text": Words()}
    towers = {"image": nn.Identity(), "text": WordTower(path=tower_file)}
    return TowersAnchor(dim=DIM, towers=towers, transforms=transforms, weights=str(weights))


def embed(anchor, modality, values):
    transform = anchor.transforms[modality]
    return anchor.embed(modality, transform.collate([transform(value, None) for value in values]))


def test_vectors_are_those_of_towers_and_projections(tower_file, weights):
    anchor = make(tower_file, weights).train()
    tower, projections = WordTower(path=tower_file).eval(), load_file(weights)
    counts = Words().collate([Words()(text) for text in ("a dog", "rain")])["counts"]
    with torch.no_grad():
        features = tower(counts) @ projections["projections.text.weight"].T + projections["projections.text.bias"]
    expected = nn.functional.normalize(features, dim=-1)
    torch.testing.assert_close(embed(anchor, "text", ["a dog", "rain"]), expected, atol=1e-5, rtol=0)
    pictures = np.random.default_rng(0).standard_normal((2, 6))
    features = torch.from_numpy(pictures).float() @ projections["projections.image.weight"].T
    expected = nn.functional.normalize(features, dim=-1)
    torch.testing.assert_close(embed(anchor, "image", list(pictures)), expected, atol=1e-5, rtol=0)
    assert not any(p.requires_grad for p in anchor.parameters())
    assert not any(module.training for module in anchor.tower_of.modules())


def test_the_fingerprint_follows_weights_and_transforms(tower_file, weights):
    one, same = make(tower_file, weights), make(tower_file, weights)
    assert one.fingerprint == same.fingerprint
    same.transforms["text"].width = 9
    assert one.fingerprint != same.fingerprint
    with torch.no_grad():
        one.projections["text"].bias.add_(1)
    assert one.fingerprint != make(tower_file, weights).fingerprint


def test_a_description_of_a_transform_holds_what_it_holds():
    class Inner:
        def __init__(self, table):
            self.table = table

    def described(table, options):
        words = Words()
        words.inner, words.options = Inner(table), options
        return describe_transform(words)

    one = described(np.arange(3), {"a": [1, 2]})
    assert one == described(np.arange(3), {"a": [1, 2]})
    assert len({one, described(np.arange(4), {"a": [1, 2]}), described(np.arange(3), {"a": [1, 3]})}) == 3


@pytest.mark.slow
def test_a_saved_binder_holds_the_towers_and_no_path(tower_file, weights, tmp_path):
    trust = [__name__.split(".")[0], "torch", "bind"]
    binder = Binder.from_config(tiny.binder_config("toy") | {"anchor": config(tower_file, weights)}, trust=trust).eval()
    saved = binder.save(tmp_path / "saved").rename(tmp_path / "moved")
    texts, z = ["a dog", "rain"], binder.embed("text", ["a dog", "rain"])
    tower_file.unlink()
    weights.unlink()
    assert str(tmp_path) not in (saved / "binder.json").read_text()
    with pytest.raises(ValueError, match="outside the trusted packages"):
        Binder.load(saved)
    loaded = Binder.load(saved, trust=trust)
    assert torch.equal(loaded.embed("text", texts), z)
    described = json.loads((saved / "binder.json").read_text())
    described["anchor"]["weights"] = str(tmp_path / "moved" / "anchor" / "towers.safetensors")
    del described["checksums"]
    (saved / "binder.json").write_text(json.dumps(described))
    with pytest.raises(ValueError, match="names by a place"):
        Binder.load(saved, trust=trust)


def test_a_tower_that_names_a_place_is_told_to_the_user(tower_file, weights, tmp_path, caplog):
    anchor = config(tower_file, weights, "WordTower")
    binder = Binder.from_config(tiny.binder_config("toy") | {"anchor": anchor}, trust=["*"])
    binder.save(tmp_path / "saved")
    assert f"on this machine only: its anchor is built of {tower_file}" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"projections.text.weight": None},
            r"text \(WordTower\) gives 7 features, and the space has anchor.dim=5: set anchor.dim=7, or put its "
            r"projection, projections.text.weight of shape \(5, 7\)",
        ),
        (
            {"projections.text.weight": torch.ones(5, 8)},
            r"text \(WordTower\) gives 7 features, and projections.text.weight of anchor.weights takes 8: give the",
        ),
        ({"projections.text.weight": torch.ones(4, 7)}, r"has to be \(anchor.dim=5, F\)"),
        ({"projections.audio.weight": torch.ones(5, 7)}, r"unknown \['projections.audio.weight'\]"),
        ({"towers.text.layer.weight": torch.ones(7, 8)}, r"missing \['towers.text.layer.bias'"),
        ({"towers.text.other": torch.ones(1)}, r"unknown \['towers.text.other'\]"),
    ],
)
def test_weights_of_other_towers_are_refused(tower_file, weights, change, message):
    tensors = {n: x for n, x in (load_file(weights) | change).items() if x is not None}
    tensors = {n: x for n, x in tensors.items() if n != "projections.text.bias" or "projections.text.weight" in tensors}
    save_file(tensors, weights)
    with pytest.raises(ValueError, match=message):
        embed(make(tower_file, weights), "text", ["a dog"])


def test_parts_that_do_not_belong_together_are_refused(tmp_path):
    transform = VectorTransform(width=3)
    with pytest.raises(ValueError, match="give both of each"):
        TowersAnchor(dim=3, towers={"image": nn.Identity()}, transforms={"text": transform})
    with pytest.raises(ValueError, match="are no modules"):
        TowersAnchor(dim=3, towers={"image": "a path"}, transforms={"image": transform})
    (tmp_path / "weights.pt").write_bytes(b"pickle")
    with pytest.raises(ValueError, match="a pickle can hold commands"):
        TowersAnchor(
            dim=3,
            towers={"image": nn.Identity()},
            transforms={"image": transform},
            weights=str(tmp_path / "weights.pt"),
        )


class Tokens(nn.Module):
    """A tower that forgets to pool."""

    def forward(self, x):
        return x[:, None].expand(-1, 4, -1)


class Outputs(nn.Module):
    """A tower that gives several things."""

    def forward(self, x):
        return {"pooled": x}


@pytest.mark.parametrize(
    ("tower", "message"),
    [
        (Tokens(), r"\(Tokens\) gives shape \(2, 4, 3\) where a tower gives a tensor \(B, F\)"),
        (Outputs(), "gives dict where"),
    ],
)
def test_a_tower_that_gives_no_vector_for_each_value_is_refused(tower, message):
    transforms = {"image": VectorTransform(width=3, unit_length=False)}
    anchor = TowersAnchor(dim=3, towers={"image": tower}, transforms=transforms)
    with pytest.raises(ValueError, match=message):
        embed(anchor, "image", list(np.eye(2, 3)))


def test_an_anchor_of_one_s_own_with_another_width_than_it_says_is_refused():
    class Mine(FrozenAnchor):
        def compute_features(self, modality, inputs):
            return inputs

    anchor = Mine("mine", 4, {"image": VectorTransform(width=3, unit_length=False)})
    with pytest.raises(ValueError, match=r"Mine.compute_features gives image the shape \(2, 3\), .* its dim is 4"):
        embed(anchor, "image", list(np.eye(2, 3)))
