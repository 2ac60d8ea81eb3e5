"""Edited code of the user's own never gets old vectors."""

import importlib
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from support.cache_cases import ENGINE, World, options
from torch import nn

from bind.anchors.dual_encoder import PretrainedAnchor
from bind.anchors.towers import TowersAnchor
from bind.cache.build import build_cache
from bind.cache.own_code import hash_own_code
from bind.model.frozen import FrozenEncoder

CODE = """
import torch
from my_helpers import BRIGHTER


class Pixels:
    def __call__(self, value, rng=None):
        return torch.from_numpy(value[0, 0].astype("float32")) + BRIGHTER

    def collate(self, items):
        return torch.stack(items)


class Tower(torch.nn.Module):
    def forward(self, x):
        return 2 * x
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a module into a folder that is imported from, and gives it, imported anew."""
    folder = tmp_path / "own"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(name, code):
        (folder / f"{name}.py").write_text(textwrap.dedent(code))
        importlib.invalidate_caches()
        sys.modules.pop(name, None)  # for good: what monkeypatch deletes comes back
        return importlib.import_module(name)

    yield write
    for path in Path(folder).glob("*.py"):
        sys.modules.pop(path.stem, None)


def make_anchor(own):
    return TowersAnchor(dim=3, towers={"image": own.Tower()}, transforms={"image": own.Pixels()})


def test_what_a_class_does_is_hashed_and_not_how_it_is_written(write):
    write("my_helpers", "BRIGHTER = 1")
    first = hash_own_code(make_anchor(write("my_space", CODE)), "image")
    said = CODE.replace("class Pixels:", "# darker than before\n\nclass Pixels:")
    assert hash_own_code(make_anchor(write("my_space", said)), "image") == first
    of_transform, of_tower = (CODE.replace(*words) for words in ((" + BRIGHTER", ""), ("2 * x", "3 * x")))
    others = {hash_own_code(make_anchor(write("my_space", code)), "image") for code in (of_transform, of_tower)}
    assert len({first, *others}) == 3
    assert len(first) == 12


def test_what_a_transform_keeps_and_inherits_counts(write):
    write("my_helpers", "BRIGHTER = 1")
    own = write("my_space", CODE)
    other = write("my_sizes", "class Sizes: pass\nclass Base: pass")

    def hashed(transform):
        return hash_own_code(
            TowersAnchor(dim=3, towers={"image": nn.Identity()}, transforms={"image": transform}), "image"
        )

    plain, keeping = own.Pixels(), own.Pixels()
    keeping.options = {"sizes": [other.Sizes()]}
    inheriting = type("Mine", (own.Pixels, other.Base), {"__module__": "my_space"})()
    assert len({hashed(plain), hashed(keeping)}) == 2
    assert hashed(keeping) == hashed(inheriting), "both are made of the same two modules"


def test_a_frozen_encoder_of_one_s_own_counts_too(write):
    write("my_helpers", "BRIGHTER = 1")

    def hashed(code):
        own = write("my_space", code)
        encoder = own.Tower()
        encoder.num_features = 3
        return hash_own_code(FrozenEncoder("smell", encoder, own.Pixels(), {}), "smell")

    assert len({hashed(CODE), hashed(CODE.replace("2 * x", "3 * x")), ""}) == 3


def test_classes_of_packages_have_no_code_of_one_s_own():
    assert hash_own_code(PretrainedAnchor("toy"), "image") == ""


@pytest.mark.parametrize("code", [None, "def broken(:"])
def test_code_that_is_in_no_file_is_left_out(write, code):
    write("my_helpers", "BRIGHTER = 1")
    own = write("my_space", CODE)
    if code is None:
        Path(own.__file__).unlink()
    else:
        Path(own.__file__).write_text(code)
    assert hash_own_code(make_anchor(own), "image") == ""


def test_an_edited_transform_never_gets_old_vectors(write, tmp_path, caplog):
    caplog.set_level("INFO", logger="bind")
    write("my_helpers", "BRIGHTER = 1")

    def look_up(code):
        anchor, world = make_anchor(write("my_space", code)), World()
        cache = build_cache(anchor, [world], [(0, "train", "image")], options(tmp_path / "cache"), ENGINE)
        z = torch.cat(cache.lookup("image", [s.key for s in world.samples("train")], source=0, split="train"))
        return anchor.fingerprint, z, len(list((tmp_path / "cache").glob("*/*/about.json")))

    fingerprint, z, _ = look_up(CODE)
    same, z_again, num_folders = look_up(CODE + "\n# the end\n")
    assert (same, num_folders) == (fingerprint, 1)
    assert torch.equal(z, z_again)
    edited, z_edited, num_folders = look_up(CODE.replace(" + BRIGHTER", " * torch.tensor([1.0, 2.0, 3.0])"))
    assert (edited, num_folders) == (fingerprint, 2), "the fingerprint is of weights and options"
    assert "was made from other code of your own classes (code " in caplog.text
    assert not np.allclose(z, z_edited)


def test_towers_of_another_width_are_told_and_leave_nothing_in_the_way(write, tmp_path):
    write("my_helpers", "BRIGHTER = 1")
    own, world = write("my_space", CODE), World()

    def fill(dim, tower):
        anchor = TowersAnchor(dim=dim, towers={"image": tower}, transforms={"image": own.Pixels()})
        return build_cache(anchor, [world], [(0, "train", "image")], options(tmp_path / "cache"), ENGINE)

    with pytest.raises(ValueError, match=r"Tower\) gives 3 features, and the space has anchor.dim=5: set anchor.dim=3"):
        fill(5, own.Tower())
    fill(3, own.Tower())
    with pytest.raises(ValueError, match=r"made from towers of another width \(dim 3, here 5\).*Delete the folder"):
        fill(5, own.Tower())
