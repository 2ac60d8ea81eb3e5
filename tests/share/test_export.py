"""An exported encoder gives the binder's vectors by its own runtime, or is not written."""

import json
import shutil
import sys

import numpy as np
import pytest
import soundfile
import torch
from support import documents

from bind.data.transforms.audio import AudioTransform
from bind.evaluation.label_sets import LabelSet
from bind.model.binder import Binder
from bind.share import as_onnx, export
from bind.share.card import describe_transform
from bind.share.export import Examples, export_encoders
from bind.share.graph import EncoderGraph, takes_any_length
from bind.types import Clip, SensorRecording

CONFIG = {
    "anchor": {"_target_": "bind.anchors.dual_encoder.PretrainedAnchor", "pretrained": "toy"},
    "modalities": ["audio", "imu", "depth"],
    "encoder": {
        "audio": {
            "_target_": "bind.encoders.audio_cnn.AudioCNN",
            "sample_rate_hz": 8000,
            "width": 8,
            "num_layers": 2,
            "time_width": 16,
            "num_time_layers": 1,
        },
        "imu": {
            "_target_": "bind.encoders.imu_transformer.ImuTransformer",
            "width": 16,
            "num_layers": 1,
            "num_heads": 2,
        },
        "depth": {"_target_": "bind.encoders.map_cnn.MapCNN", "width": 4},
    },
    "head": {"_target_": "bind.encoders.heads.ProjectionHead"},
    "transform": {
        "audio": {
            "_target_": "bind.data.transforms.audio.AudioTransform",
            "sample_rate_hz": 8000,
            "window_seconds": 0.5,
        },
        "imu": {"_target_": "bind.data.transforms.imu.ImuTransform"},
        "depth": {"_target_": "bind.data.transforms.depth.DepthTransform"},
    },
}
TOPS = {"modalities": ["audio", "imu"], "templates": ["a {} shape"], "classes": ["red", "blue"]}


@pytest.fixture(scope="module")
def binder():
    torch.manual_seed(0)
    return Binder.from_config(CONFIG).eval()


@pytest.fixture(scope="module")
def examples():
    generator = torch.Generator().manual_seed(0)
    draw = {"audio": (6, 4000), "imu": (6, 6, 200), "depth": (6, 1, 64, 64)}
    inputs = {m: torch.rand(*shape, generator=generator) - 0.5 for m, shape in draw.items()}
    labels = ["red", "blue", None, "red", "blue", "red"]
    return {m: Examples({"x": x}, labels=labels) for m, x in inputs.items()}


@pytest.fixture(scope="module")
def written(binder, examples, tmp_path_factory):
    """An export of ONNX with weights in 8 bits, and its card."""
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    folder = tmp_path_factory.mktemp("onnx") / "out"
    sets = [LabelSet.of("tops", TOPS, [])]
    of_two = {modality: examples[modality] for modality in ("audio", "imu")}  # exporting one takes seconds
    return folder, export_encoders(binder, of_two, folder, to="onnx", int8=True, label_sets=sets)


@pytest.mark.slow
def test_files_give_the_vectors_of_the_binder(written, binder, examples):
    folder, card = written
    for modality, entry in card["encoders"].items():
        of_modality = examples[modality]
        assert entry["check"]["max_difference"] < 1e-5
        z_ND = as_onnx.open_file(folder / entry["file"])({"x": of_modality.inputs["x"][:3]})
        with torch.no_grad():
            expected = binder.encode(modality, of_modality.inputs["x"][:3])
        torch.testing.assert_close(z_ND, expected, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_rows_and_where_it_can_be_time_have_any_size(written, binder):
    folder, card = written
    assert card["encoders"]["audio"]["inputs"][0]["shape"] == ["batch", "time"]
    assert card["encoders"]["imu"]["inputs"][0]["shape"] == ["batch", 6, 200]  # a whole number of patches
    wave_BT = torch.randn(5, 2999)
    with torch.no_grad():
        expected = binder.encode("audio", wave_BT)
    torch.testing.assert_close(as_onnx.open_file(folder / "audio.onnx")({"x": wave_BT}), expected, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_the_folder_says_what_it_takes_and_holds_what_to_check_it_with(written, binder, examples):
    folder, card = written
    assert json.loads((folder / "card.json").read_text()) == card
    assert card["encoders"]["audio"]["transform"]["sample_rate_hz"] == 8000
    assert card["encoders"]["imu"]["transform"]["units"][-1] == "rad/s"  # a default of its transform
    text = (folder / "README.md").read_text()
    assert "audio.onnx" in text
    assert "sample_rate_hz: 8000" in text
    golden, prompts = np.load(folder / "golden.npz"), np.load(folder / "prompts.npz")
    assert np.array_equal(golden["audio_x"], examples["audio"].inputs["x"].numpy())
    with torch.no_grad():
        z_ND = binder.encode("imu", examples["imu"].inputs["x"])
    np.testing.assert_allclose(golden["imu_z"], z_ND.numpy(), atol=1e-6)
    z_text = binder.embed("text", ["a red shape", "a blue shape"]).numpy()
    np.testing.assert_allclose(prompts["tops"], z_text, atol=1e-6)


@pytest.mark.slow
def test_classes_are_those_of_the_binder_with_onnxruntime_alone(written, binder, examples, monkeypatch):
    monkeypatch.syspath_prepend(str(documents.ROOT / "examples"))
    import classify_with_onnxruntime

    folder, card = written
    x = examples["imu"].inputs["x"]
    with torch.no_grad():
        cosines = binder.encode("imu", x) @ binder.embed("text", ["a red shape", "a blue shape"]).T
    names = [name for name, _ in classify_with_onnxruntime.classify(folder, "imu", x.numpy())]
    assert names == [["red", "blue"][i] for i in cosines.argmax(dim=1).tolist()]
    right = card["encoders"]["imu"]["check"]["zero_shot"]["tops"]
    share = np.mean([names[i] == examples["imu"].labels[i] for i in (0, 1, 3, 4, 5)])
    assert right["file"] == right["binder"] == pytest.approx(share)


@pytest.mark.slow
def test_windows_that_the_page_cuts_are_those_of_the_transform(written, binder, tmp_path, monkeypatch):
    folder, _ = written
    shutil.copytree(folder, tmp_path / "phone")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    names, units = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"), ("g",) * 3 + ("rad/s",) * 3
    values_TC = rng.normal(0, 0.2, (700, 6)) + np.array([0, 0, 1, 0, 0, 0])
    table = np.column_stack([np.arange(700) / 100, values_TC])
    np.savetxt("walk.csv", table, delimiter=",", header=",".join(("time_seconds", *names)), comments="")
    soundfile.write("street.wav", rng.uniform(-0.5, 0.5, 13_000), 8000, subtype="PCM_16")
    of_imu, of_sound = documents.blocks((documents.ROOT / "docs" / "export.md").read_text(), "python")
    exec(of_imu, {})
    windows = np.load("windows.npy")
    assert windows.shape == (6, 6, 200)
    recording = SensorRecording(values_TC[100:300].astype(np.float32), 100.0, names, units)
    np.testing.assert_allclose(windows[1], binder.transforms["imu"](recording, None).numpy(), atol=1e-5)
    exec(of_sound, {})
    windows = np.load("windows.npy")
    assert windows.shape == (5, 4000)
    second = binder.transforms["audio"](Clip(tmp_path / "street.wav", 0.25, 0.75), None)
    np.testing.assert_allclose(windows[1], second.numpy(), atol=1e-6)


@pytest.mark.slow
def test_eight_bits_are_smaller_and_near(written):
    _, card = written
    entry = card["encoders"]["imu"]
    assert entry["int8"]["megabytes"] < entry["megabytes"]
    assert 0.99 < entry["int8"]["check"]["smallest_cosine"] < 1.0


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ({"smallest_cosine": 0.98}, "cosine 0.980 with the binder's vectors"),
        (
            {"smallest_cosine": 1.0, "zero_shot": {"tops": {"binder": 0.9, "file": 0.88}}},
            "tops falls from 0.900 to 0.880",
        ),
    ],
)
def test_eight_bits_that_are_far_are_refused(check, message):
    with pytest.raises(ValueError, match=message):
        export._require_close_int8("imu.int8.onnx", check)


@pytest.mark.slow
def test_a_file_that_differs_is_not_written(binder, examples, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "LARGEST_DIFFERENCE", -1.0)
    with pytest.raises(ValueError, match=r"imu\.pt2 differs from the binder by .* nothing was written"):
        export_encoders(binder, {"imu": examples["imu"]}, tmp_path / "out", to="torch")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_program_of_torch(binder, examples, tmp_path):
    card = export_encoders(binder, {"audio": examples["audio"]}, tmp_path / "out", to="torch")
    assert card["encoders"]["audio"]["check"]["max_difference"] < 1e-5
    program = torch.export.load(str(tmp_path / "out" / "audio.pt2")).module()
    assert program(torch.zeros(1, 3000)).shape == (1, binder.dim)


@pytest.mark.slow
def test_executorch(binder, examples, tmp_path):
    pytest.importorskip("executorch.runtime", reason="the extra executorch is not installed")
    card = export_encoders(binder, {m: examples[m] for m in ("audio", "imu")}, tmp_path / "out", to="executorch")
    assert card["encoders"]["audio"]["check"]["max_difference"] < 1e-4
    assert card["encoders"]["imu"]["inputs"][0]["shape"] == [1, 6, 200]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "tensorrt"}, "to=tensorrt: choose onnx, executorch, torch"),
        ({"to": "torch", "int8": True}, "int8=true is there for to=onnx"),
    ],
)
def test_what_can_not_be_exported(binder, examples, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        export_encoders(binder, examples, tmp_path / "out", **options)


@pytest.mark.slow
def test_a_folder_with_files_is_left_alone(binder, examples, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty: choose a new folder"):
        export_encoders(binder, examples, tmp_path, to="torch")


def test_towers_are_not_exported(binder):
    with pytest.raises(ValueError, match=r"modalities=\[image\]: this binder has encoders for audio, imu, depth"):
        EncoderGraph(binder, "image")


def test_time_is_open_where_the_encoder_takes_other_lengths(binder, examples):
    for modality, expected in {"audio": True, "depth": False}.items():
        graph = EncoderGraph(binder, modality)
        assert takes_any_length(graph, list(examples[modality].inputs.values())) is expected


@pytest.mark.slow
def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ValueError, match=r"pip install 'bindspace\[onnx\]'"):
        as_onnx.require_runtime()


def test_an_option_of_the_transform_is_its_default_or_the_runs(binder):
    facts = describe_transform(binder, "audio")
    assert facts["class"].endswith(AudioTransform.__name__)
    assert (facts["sample_rate_hz"], facts["num_clips"]) == (8000, 1)
