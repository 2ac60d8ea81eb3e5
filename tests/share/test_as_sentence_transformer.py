"""sentence-transformers opens the folder of a shared binder, and embeds as the binder does."""

import json

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from support import runs

from bind.files.writing import write_text
from bind.model.binder import Binder
from bind.share.folder import sentence_transformers_files
from bind.types import Waveform

sentence_transformers = pytest.importorskip(
    "sentence_transformers", reason="the extra sentence-transformers is not installed"
)
pytestmark = pytest.mark.slow
CONFIG = {
    "anchor": {"_target_": "bind.anchors.dual_encoder.PretrainedAnchor", "pretrained": "toy"},
    "modalities": ["audio", "imu", "depth"],
    "encoder": {
        "audio": {
            "_target_": "bind.encoders.audio_cnn.AudioCNN",
            "sample_rate_hz": 16000,
            "width": 8,
            "num_layers": 2,
            "time_width": 16,
        },
        "imu": {"_target_": "bind.encoders.imu_cnn.ImuCNN", "width": 8, "num_layers": 2},
        "depth": {"_target_": "bind.encoders.map_cnn.MapCNN", "width": 8, "num_layers": 2},
    },
    "head": {"_target_": "bind.encoders.heads.ProjectionHead"},
    "transform": {
        "audio": {
            "_target_": "bind.data.transforms.audio.AudioTransform",
            "sample_rate_hz": 16000,
            "window_seconds": 0.25,
            "num_clips": 2,
        },
        "imu": {"_target_": "bind.data.transforms.imu.ImuTransform", "window_seconds": 0.5},
        "depth": {"_target_": "bind.data.transforms.depth.DepthTransform"},
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    folder = Binder.from_config(CONFIG).eval().save(tmp_path_factory.mktemp("st") / "binder")
    for name, value in sentence_transformers_files().items():
        write_text(folder / name, json.dumps(value))
    return folder


@pytest.fixture(scope="module")
def binder(folder):
    return Binder.load(folder)


@pytest.fixture(scope="module")
def model(folder):
    return sentence_transformers.SentenceTransformer(str(folder), trust_remote_code=True, device="cpu")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Modality → two files of it."""
    folder, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    paths = {m: [str(folder / f"{name}.{m}{s}") for name in "ab"] for m, s in SUFFIXES.items()}
    for number in (0, 1):
        runs.write_sound(paths["audio"][number], 300 + 200 * number, rng)
        runs.write_motion(folder / f"{'ab'[number]}.imu.npy", 1 + number, rng)
        Image.fromarray(rng.integers(0, 255, (64, 48, 3), dtype=np.uint8)).save(paths["image"][number])
        depth = rng.integers(500, 9000, (64, 64), dtype=np.uint16)
        Image.fromarray(depth).save(paths["depth"][number])
    return paths


SUFFIXES = {"audio": ".wav", "imu": ".npy", "image": ".png", "depth": ".png"}


@pytest.mark.parametrize("modality", ["audio", "image", "imu", "depth"])
def test_files_become_the_vectors_of_the_binder(model, binder, files, modality):
    expected = binder.embed(modality, files[modality]).numpy()
    named = model.encode(files[modality], modality=modality)
    np.testing.assert_allclose(named, expected, atol=1e-6)
    in_values = model.encode([{modality: file} for file in files[modality]])
    np.testing.assert_allclose(in_values, expected, atol=1e-6)
    if modality in ("audio", "image"):  # which it recognises
        np.testing.assert_allclose(model.encode(files[modality]), expected, atol=1e-6)


def test_texts_pictures_and_sounds_in_memory_are_recognised(model, binder, files):
    texts = ["a red square", "two green circles at the left", "blue"]  # encode sorts them by length
    np.testing.assert_allclose(model.encode(texts), binder.embed("text", texts).numpy(), atol=1e-6)
    pictures = [Image.open(file).convert("RGB") for file in files["image"]]
    np.testing.assert_allclose(model.encode(pictures), binder.embed("image", pictures).numpy(), atol=1e-6)
    samples, rate_hz = soundfile.read(files["audio"][0], dtype="float32")
    stereo = np.stack([samples, 0.5 * samples])
    sounds = [{"array": samples, "sampling_rate": rate_hz}, {"array": stereo, "sampling_rate": rate_hz}]
    expected = binder.embed("audio", [Waveform(samples, rate_hz), Waveform(stereo.T, rate_hz)])
    np.testing.assert_allclose(model.encode(sounds), expected.numpy(), atol=1e-6)


def test_arrays_are_named_where_another_modality_would_be_guessed(model, binder):
    metres = np.random.default_rng(0).uniform(0.5, 9, (2, 64, 64)).astype(np.float32)
    expected = binder.embed("depth", list(metres)).numpy()
    np.testing.assert_allclose(model.encode([{"depth": x} for x in metres]), expected, atol=1e-6)


def test_its_similarity_is_the_cosine(model, binder, files):
    z_text, z_audio = model.encode(["a circle"]), model.encode(files["audio"])
    assert model.get_embedding_dimension() == binder.dim
    np.testing.assert_allclose(model.similarity(z_text, z_audio).numpy(), z_text @ z_audio.T, atol=1e-6)


def test_saved_by_sentence_transformers_it_opens_again(model, files, tmp_path):
    model.save(str(tmp_path / "again"))
    again = sentence_transformers.SentenceTransformer(str(tmp_path / "again"), trust_remote_code=True, device="cpu")
    np.testing.assert_array_equal(again.encode(files["audio"]), model.encode(files["audio"]))


def test_a_modality_that_it_lacks_and_files_that_are_not_there_are_named(model, files):
    with pytest.raises(ValueError, match="no encoder for 'thermal'; this binder knows"):
        model.encode(["a.png"], modality="thermal")
    with pytest.raises(ValueError, match=r"nowhere\.csv"):
        model.encode(["nowhere.csv"], modality="imu")
    with pytest.raises(ValueError, match="one call per modality"):
        model.encode(["a circle", Image.open(files["image"][0])])


def test_it_asks_for_trust(folder):
    with pytest.raises(ValueError, match="trust_remote_code"):
        sentence_transformers.SentenceTransformer(str(folder), device="cpu")
