"""A stranger's binder is data: it names what belongs there and opens nothing else."""

import json
import os
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bind.model.binder import Binder
from bind.model.places import CONFIG_NAME

CONFIG = {
    "anchor": {"_target_": "bind.anchors.dual_encoder.PretrainedAnchor", "pretrained": "toy"},
    "modalities": ["depth"],
    "encoder": {"depth": {"_target_": "bind.encoders.map_cnn.MapCNN", "width": 8}},
    "head": {"_target_": "bind.encoders.heads.ProjectionHead"},
    "transform": {"depth": {"_target_": "bind.data.transforms.depth.DepthTransform"}},
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return Binder.from_config(CONFIG).save(tmp_path_factory.mktemp("saved"))


@pytest.fixture
def stranger(saved, tmp_path):
    """A function that writes a copy of the binder with another description, and gives its folder."""

    def write(change):
        folder = tmp_path / "stranger"
        shutil.copytree(saved, folder)
        described = json.loads((folder / CONFIG_NAME).read_text())
        described.pop("checksums", None)
        described = change(described) if callable(change) else change
        (folder / CONFIG_NAME).write_text(json.dumps(described))
        return folder

    return write


SWAPPED = [
    ("transform", "bind.data.sources.shards.source.IndexedShardSource", {"shards": "http://127.0.0.1:1/x.tar"}),
    ("transform", "bind.data.sources.manifest.ManifestSource", {"manifest": "/etc/passwd"}),
    ("transform", "bind.model.binder.Binder", {}),
    ("transform", "bind.data.transforms.depth._Private", {}),
    ("transform", "bind.data.transforms.depth.np.memmap", {"filename": "x", "mode": "w+", "shape": 3}),
    ("encoder", "bind.training.callbacks.csv_log.ContinuedCSVLogger", {"folder": "x"}),
    ("encoder", "bind.anchors.dual_encoder.PretrainedAnchor", {"pretrained": "/etc"}),
    ("encoder", "bind.encoders.map_cnn.nn.Sequential", {}),
    ("encoder", "torch.nn.Identity", {}),
    ("encoder", "bind.encoders", {}),
    ("encoder", "bind.encodersx.Thing", {}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("part", "target", "options"), SWAPPED)
def test_a_class_of_another_slot_is_refused(stranger, part, target, options, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    folder = stranger(lambda known: known | {part: {"depth": {"_target_": target, **options}}})
    with pytest.raises(ValueError, match=r"outside the trusted packages|_target_|opens no other place") as refused:
        Binder.load(folder)
    assert CONFIG_NAME in str(refused.value)
    assert "trust=['torch']" not in str(refused.value)
    assert os.listdir(tmp_path) == ["stranger"]


@pytest.mark.parametrize(
    "place",
    [
        "/etc",
        "~/clip",
        "../clip",
        "./clip",
        "./anchor/..",
        "./anchor",
        "anchor",
        "clip",
        "a/b/c",
        "../a",
        "./a",
        "a/..",
        "-a/b",
        "http://127.0.0.1/x",
        "file:///etc",
        "reference://a::file://b",
        "org/name\n",
        "",
        None,
        3,
        ["toy"],
    ],
)
def test_an_anchor_elsewhere_is_not_opened(stranger, place, monkeypatch):
    opened = []
    monkeypatch.setattr("bind.encoders.pretrained.sources.find_hub_error", opened.append)
    folder = stranger(lambda known: known | {"anchor": known["anchor"] | {"pretrained": place}})
    with pytest.raises(ValueError, match=r"bound to an anchor with fingerprint|missing or a link") as refused:
        Binder.load(folder)
    assert not opened
    assert "trust=['" not in str(refused.value)


@pytest.mark.parametrize("part", ["encoder", "transform"])
@pytest.mark.parametrize("place", ["/etc", "org/name", ["x"], 1])
def test_a_part_of_a_binder_opens_no_other_place(stranger, part, place):
    def name_a_place(known):
        (modality, options), *_ = known[part].items()
        return known | {part: known[part] | {modality: options | {"pretrained": place}}}

    with pytest.raises(ValueError, match="opens no other place"):
        Binder.load(stranger(name_a_place))


@pytest.mark.parametrize(
    "anchor",
    [
        {"_target_": "bind.anchors.vectors.VectorsAnchor", "dim": 64, "texts": "/etc/passwd"},
        {"_target_": "bind.anchors.vectors.VectorsAnchor", "dim": 64, "texts": "org/name"},
        {"_target_": "bind.anchors.vectors.VectorsAnchor", "dim": 64, "texts": "./anchor/../binder.json"},
        {"_target_": "bind.anchors.open_clip.OpenClipAnchor", "pretrained": "local-dir:/etc"},
        {"_target_": "bind.anchors.towers.TowersAnchor", "weights": "/etc/passwd"},
        {
            "_target_": "bind.anchors.towers.TowersAnchor",
            "dim": 64,
            "towers": {"image": {"_target_": "bind.anchors.clap.ClapAnchor", "pretrained": "/etc"}},
        },
        {
            "_target_": "bind.anchors.towers.TowersAnchor",
            "dim": {"a": [{"_target_": "bind.anchors.clap.ClapAnchor", "pretrained": "https://host/x"}]},
        },
    ],
)
def test_no_kind_of_anchor_opens_another_place(stranger, anchor):
    with pytest.raises(ValueError, match="names by a place"):
        Binder.load(stranger(lambda known: known | {"anchor": anchor}))


def test_a_part_within_a_part_opens_no_other_place(stranger):
    inner = {"_target_": "bind.encoders.pretrained.whisper.WhisperEncoder", "pretrained": "/etc"}
    with pytest.raises(ValueError, match=r"head\.dropout\.deep\.pretrained is '/etc'.*opens no other place"):
        Binder.load(stranger(lambda known: known | {"head": known["head"] | {"dropout": {"deep": inner}}}))


def test_a_link_is_no_enclosed_anchor(stranger):
    folder = stranger(lambda known: known | {"anchor": known["anchor"] | {"pretrained": "./anchor"}})
    (folder / "anchor").symlink_to("/etc")
    with pytest.raises(ValueError, match="missing or a link"):
        Binder.load(folder)


def test_a_folder_here_is_no_model_of_the_hub(stranger, monkeypatch, tmp_path):
    (tmp_path / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    folder = stranger(lambda known: known | {"anchor": known["anchor"] | {"pretrained": "org/name"}})
    with pytest.raises(ValueError, match="names by a place"):
        Binder.load(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        None,
        [1],
        "text",
        7,
        {},
        lambda known: {name: value for name, value in known.items() if name != "anchor_fingerprint"},
        lambda known: {name: value for name, value in known.items() if name != "modalities"},
        lambda known: known | {"modalities": 5},
        lambda known: known | {"modalities": [5]},
        lambda known: known | {"modalities": ["depth", "\x1b[2J"]},
        lambda known: known | {"anchor": "toy"},
        lambda known: known | {"anchor": {}},
        lambda known: known | {"encoder": []},
        lambda known: known | {"encoder": {"depth": "x"}},
        lambda known: known | {"encoder": {"depth": {**known["encoder"]["depth"], "width": -3}}},
        lambda known: known | {"encoder": {"depth": {**known["encoder"]["depth"], "width": "wide"}}},
        lambda known: known | {"encoder": {"depth": {**known["encoder"]["depth"], "width": 16}}},
        lambda known: known | {"encoder": {"depth": {**known["encoder"]["depth"], "share": "audio"}}},
        lambda known: known | {"head": None},
        lambda known: known | {"transform": {"depth": {}}},
        lambda known: known | {"fusion": 3},
        lambda known: known | {"fusion": {"_target_": "bind.fusion.attention.AttentionFusion", "inputs": 3}},
        lambda known: known | {"version": True},
        lambda known: known | {"version": "\x1b[2J"},
    ],
)
def test_a_description_of_another_form_is_one_message(stranger, change):
    folder = stranger(change)
    with pytest.raises(ValueError, match="stranger") as refused:
        Binder.load(folder)
    assert "\x1b" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"[" * 100_000, b"{" * 3, b"\xff\xfe", b'{"a":' * 70 + b"1" + b"}" * 70])
def test_what_is_no_json_is_one_message(stranger, content):
    folder = stranger({})
    (folder / CONFIG_NAME).write_bytes(content)
    with pytest.raises(ValueError, match=r"binder\.json: no readable JSON"):
        Binder.load(folder)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=json_values,
    path=st.sampled_from([("modalities",), ("encoder",), ("head",), ("transform", "depth"), ("anchor",), ("version",)]),
)
def test_any_value_anywhere_is_one_message_or_loads(saved, tmp_path_factory, value, path):
    folder = tmp_path_factory.mktemp("any")
    described = json.loads((saved / CONFIG_NAME).read_text())
    place = described
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    (folder / CONFIG_NAME).write_text(json.dumps(described))
    shutil.copy(saved / "model.safetensors", folder)
    with pytest.raises(ValueError, match=folder.name):
        Binder.load(folder)


@pytest.mark.slow
def test_an_anchor_from_a_local_folder_goes_along(tmp_path):
    import torch

    from bind.anchors.dual_encoder import PretrainedAnchor

    PretrainedAnchor("toy").save(tmp_path / "clip")
    (tmp_path / "clip" / "pytorch_model.bin").write_bytes(b"pickle")
    config = CONFIG | {"anchor": CONFIG["anchor"] | {"pretrained": str(tmp_path / "clip")}}
    binder = Binder.from_config(config)
    folder = binder.save(tmp_path / "binder")
    (tmp_path / "clip").rename(tmp_path / "elsewhere")
    folder = folder.rename(tmp_path / "moved")
    loaded = Binder.load(folder)
    assert not (folder / "anchor" / "pytorch_model.bin").exists()
    assert loaded.anchor.name == "clip"
    assert str(tmp_path) not in (folder / "binder.json").read_text()
    assert torch.equal(loaded.embed("text", ["a dog"]), binder.embed("text", ["a dog"]))
    again = Binder.load(loaded.save(tmp_path / "again"))
    assert again.anchor.fingerprint == binder.anchor.fingerprint


@pytest.mark.slow
def test_an_older_binder_names_a_folder_that_the_user_trusts(stranger, tmp_path):
    from bind.anchors.dual_encoder import PretrainedAnchor

    PretrainedAnchor("toy").save(tmp_path / "clip")
    place = str(tmp_path / "clip")
    folder = stranger(lambda known: known | {"anchor": known["anchor"] | {"pretrained": place}})
    with pytest.raises(ValueError, match=r"trust=\[FOLDER\]"):
        Binder.load(folder)
    assert Binder.load(folder, trust=[place]).anchor.name == place
