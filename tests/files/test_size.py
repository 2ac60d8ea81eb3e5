"""A description asks for no more memory than the weights beside it need."""

import json
import resource
import shutil
import struct

import pytest
import torch
from safetensors.torch import save_file

from bind.files.size import SizeLimit, read_shapes
from bind.model.binder import Binder

CONFIG = {
    "anchor": {"_target_": "bind.anchors.dual_encoder.PretrainedAnchor", "pretrained": "toy"},
    "modalities": ["depth", "audio"],
    "encoder": {
        "depth": {"_target_": "bind.encoders.map_vit.MapViT", "width": 16, "num_layers": 1, "num_heads": 2},
        "audio": {"_target_": "bind.encoders.audio_vit.AudioViT", "width": 16, "num_layers": 1, "num_heads": 2},
    },
    "head": {"_target_": "bind.encoders.heads.ProjectionHead"},
    "transform": {
        "depth": {"_target_": "bind.data.transforms.depth.DepthTransform"},
        "audio": {"_target_": "bind.data.transforms.audio.AudioTransform"},
    },
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return Binder.from_config(CONFIG).save(tmp_path_factory.mktemp("saved"))


@pytest.fixture
def stranger(saved, tmp_path):
    """A function that writes a copy of the binder with other options of one part, and gives its folder."""

    def write(part, modality, **options):
        folder = tmp_path / "stranger"
        shutil.copytree(saved, folder)
        described = json.loads((folder / "binder.json").read_text())
        described.pop("checksums")
        place = described[part][modality] if modality else described[part]
        place.update(options)
        (folder / "binder.json").write_text(json.dumps(described))
        return folder

    return write


SCRATCH = {"_target_": "bind.anchors.scratch.ScratchAnchor", "corpus": ["a cat"]}
ABSURD = {
    "width of a billion": ("encoder", "depth", {"width": 10**9}),
    "width": ("encoder", "depth", {"width": 2**15}),
    "width of audio": ("encoder", "audio", {"width": 2**22}),
    "a million layers": ("encoder", "depth", {"num_layers": 10**6}),
    "layers": ("encoder", "depth", {"num_layers": 2**14}),
    "hidden width": ("head", None, {"hidden_width": 2**23}),
    "window": ("transform", "audio", {"window_seconds": 1e9}),
    "infinite window": ("transform", "audio", {"window_seconds": float("inf")}),
    "clips": ("transform", "audio", {"num_clips": 10**7}),
    "pixels": ("transform", "depth", {"size_px": 10**6}),
    "tokens": ("anchor", None, {"max_text_tokens": 10**9}),
    "scratch vocabulary": ("anchor", None, {**SCRATCH, "vocab_size": 10**12}),
    "scratch tokens": ("anchor", None, {**SCRATCH, "max_text_tokens": 2**24, "text_width": 2**12}),
    "scratch width": ("anchor", None, {**SCRATCH, "text_width": 2**20}),
    "scratch layers": ("anchor", None, {**SCRATCH, "text_num_layers": 2**14}),
    "dimensions": ("anchor", None, {**SCRATCH, "dim": 2**24}),
}


@pytest.mark.slow
@pytest.mark.parametrize(("part", "modality", "options"), ABSURD.values(), ids=ABSURD.keys())
def test_an_absurd_size_is_refused_before_memory_is_taken(stranger, part, modality, options):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    folder = stranger(part, modality, **options)
    with pytest.raises(ValueError, match=r"binder\.json: ") as refused:
        Binder.load(folder)
    assert "\n" not in str(refused.value)
    taken_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert taken_mib < 700


@pytest.mark.slow
def test_an_enclosed_anchor_is_no_larger_than_its_files(saved, tmp_path):
    from transformers import AutoModel

    from bind.anchors.dual_encoder import TOY_FOLDER

    shutil.copytree(TOY_FOLDER, tmp_path / "clip")
    config = {**CONFIG, "anchor": {**CONFIG["anchor"], "pretrained": str(tmp_path / "clip")}}
    folder = Binder.from_config(config).save(tmp_path / "binder")
    assert Binder.load(folder).dim == 64
    path = folder / "anchor" / "config.json"
    about = json.loads(path.read_text())
    for key, value in {"vocab_size": 10**9, "num_hidden_layers": 10**6, "hidden_size": 2**23}.items():
        path.write_text(json.dumps({**about, "text_config": {**about["text_config"], key: value}}))
        with pytest.raises(ValueError, match=r"config\.json|binder\.json"):
            Binder.load(folder)
    assert AutoModel is not None


def test_shapes_are_those_of_the_header(tmp_path):
    save_file({"a": torch.zeros(3, 4), "b": torch.zeros(())}, tmp_path / "a.safetensors")
    assert read_shapes(tmp_path / "a.safetensors") == {"a": [3, 4], "b": []}


HEADERS = {
    "longer than the file": b"\xff\xff\xff\xff\x00\x00\x00\x00{}",
    "nothing": b"",
    "no JSON": struct.pack("<Q", 2) + b"[[",
    "a list": struct.pack("<Q", 2) + b"[]",
    "deep": struct.pack("<Q", 10**5) + b"[" * 10**5,
    "shape below 0": struct.pack("<Q", 37) + b'{"a":{"shape":[-1],"data_offsets":[]}}',
    "no offsets": struct.pack("<Q", 17) + b'{"a":{"shape":[]}}'[:17],
}


@pytest.mark.parametrize("content", HEADERS.values(), ids=HEADERS.keys())
def test_a_broken_header_is_refused_by_name(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.safetensors"):
        read_shapes(tmp_path / "a.safetensors")


def test_a_shape_that_the_file_can_not_hold_is_refused(tmp_path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(ValueError, match=r"a\.safetensors: .*states the shape \[1000000000, 1000000000\]"):
        read_shapes(tmp_path / "a.safetensors")


LARGE = 2**17
MAKERS = {
    "empty": lambda: torch.empty(LARGE, LARGE),
    "new": lambda: torch.zeros(2).new_zeros(LARGE, LARGE),
    "outer product": lambda: torch.arange(LARGE)[:, None] * torch.arange(LARGE),
    "repeat": lambda: torch.zeros(LARGE).repeat(LARGE),
    "arange": lambda: torch.arange(2**34),
    "linspace": lambda: torch.linspace(0, 1, 2**34),
    "eye": lambda: torch.eye(2**34),
    "many": lambda: [torch.zeros(1) for _ in range(10**4)],
    "window": lambda: torch.hann_window(2**34),
    "parameter": lambda: torch.nn.Embedding(LARGE, LARGE),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_every_way_to_make_a_large_tensor_counts(make):
    with pytest.raises(ValueError, match="it asks for"), SizeLimit({"a": [2, 2]}):
        make()
