import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from support import runs

from bind.anchors.vectors import VectorsAnchor, read_texts
from bind.commands.train import train as train_with
from bind.model.binder import Binder

RNG = np.random.default_rng(0)
CLASSES = ["dog", "door knock", "rain"]


def write_texts(path, texts=CLASSES, width=6, vectors=None):
    vectors = RNG.standard_normal((len(texts), width)).astype(np.float32) if vectors is None else vectors
    pq.write_table(pa.table({"text": texts, "vector": [list(v) for v in vectors]}), path)
    return vectors


def test_texts_are_looked_up_and_vectors_pass(tmp_path):
    vectors = write_texts(tmp_path / "texts.parquet")
    anchor = VectorsAnchor(dim=6, texts=str(tmp_path / "texts.parquet"), space="a model")
    transform = anchor.transforms["text"]
    z = anchor.embed("text", transform.collate([transform("rain"), transform(vectors[0])]))
    expected = torch.nn.functional.normalize(torch.from_numpy(vectors[[2, 0]]), dim=1)
    torch.testing.assert_close(z, expected, atol=1e-6, rtol=0)
    with pytest.raises(
        ValueError, match=r"'a cat' can't be embedded: .* runs no text tower.*such as 'dog'.*anchor.texts"
    ):
        transform("a cat")
    with pytest.raises(ValueError, match="5 numbers instead of 6"):
        anchor.transforms["image"](np.ones(5))


def test_the_fingerprint_is_of_the_space_and_its_texts(tmp_path):
    vectors = write_texts(tmp_path / "texts.parquet")
    path = str(tmp_path / "texts.parquet")
    prints = {
        VectorsAnchor(dim=6, texts=path).fingerprint,
        VectorsAnchor(dim=6).fingerprint,
        VectorsAnchor(dim=7).fingerprint,
        VectorsAnchor(dim=6, space="another").fingerprint,
    }
    assert VectorsAnchor(dim=6, texts=path).fingerprint in prints
    vectors[1, 1] += 1
    write_texts(tmp_path / "other.parquet", vectors=vectors)
    prints.add(VectorsAnchor(dim=6, texts=str(tmp_path / "other.parquet")).fingerprint)
    assert len(prints) == 5


@pytest.mark.parametrize(
    ("texts", "vectors", "message"),
    [
        (CLASSES, np.ones((3, 5)), r"vectors of shape \(3, 5\); they need 6 numbers"),
        (CLASSES, np.full((3, 6), np.nan), "NaN"),
        (CLASSES, np.zeros((3, 6)), "all its numbers are 0"),
        (["dog", "dog"], np.ones((2, 6)), "'dog' comes twice"),
        (["dog", None], np.ones((2, 6)), "lacks its text"),
        (["dog", "cat"], [np.ones(6), np.ones(5)], "several lengths"),
    ],
)
def test_a_table_of_other_vectors_names_the_file(tmp_path, texts, vectors, message):
    write_texts(tmp_path / "texts.parquet", texts, vectors=vectors)
    with pytest.raises(ValueError, match=rf"texts\.parquet: .*{message}"):
        VectorsAnchor(dim=6, texts=str(tmp_path / "texts.parquet"))


def test_a_file_that_is_no_such_table_names_itself(tmp_path):
    (tmp_path / "texts.parquet").write_bytes(b"nothing")
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "other.parquet")
    for name in ("texts.parquet", "other.parquet", "absent.parquet"):
        with pytest.raises(ValueError, match=rf"{name}: "):
            read_texts(tmp_path / name, 6)


def test_a_pickle_of_texts_is_not_read(tmp_path):
    torch.save({"text": ["a"], "vector": torch.ones(1, 6)}, tmp_path / "texts.pt")
    (tmp_path / "texts.pkl").write_bytes(pickle.dumps({"text": ["a"], "vector": [[1.0] * 6]}))
    np.save(tmp_path / "texts.npy", np.array([{"a": 1}]), allow_pickle=True)
    for name in ("texts.pt", "texts.pkl", "texts.npy"):
        with pytest.raises(
            ValueError, match=rf"{name}: not readable as a Parquet table of texts .* is never read"
        ) as refused:
            VectorsAnchor(dim=6, texts=str(tmp_path / name))
        assert "allow_pickle" not in str(refused.value)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Smells that are turned and noisy vectors of a space, of three classes."""
    folder = tmp_path_factory.mktemp("vectors")
    centres = write_texts(folder / "classes.parquet")
    labels = RNG.integers(0, 3, 60)
    image = centres[labels] + 0.1 * RNG.standard_normal((60, 6)).astype(np.float32)
    smell = image @ RNG.standard_normal((6, 9)).astype(np.float32)
    columns = {"image": [list(v) for v in image], "smell": [list(v) for v in smell]}
    facts = {
        "key": [f"k{i}" for i in range(60)],
        "split": ["train"] * 40 + ["val"] * 10 + ["test"] * 10,
        "label": [CLASSES[i].replace(" ", "_") for i in labels],
    }
    pq.write_table(pa.table(facts | columns), folder / "m.parquet")
    return folder / "m.parquet"


OVERRIDES = [
    "anchor=vectors",
    "anchor.dim=6",
    "+transform/smell=vectors",
    "+encoder/smell=vectors",
    "transform.smell.width=9",
    "transform.smell.unit_length=false",
    "modalities=[smell]",
    "+pairs.smell-image.weight=1",
    "data=manifest",
    "cache.dir=null",
    "head.hidden_width=16",
    "data.batch_size=20",
    "trainer.max_epochs=20",
    "optimizer.lr=0.01",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
    "evaluation.num_scatter_samples=0",
    "callbacks.early_validation=null",
]


@pytest.mark.slow
def test_a_space_of_vectors_alone_is_bound_to_and_classes_are_named(manifest, tmp_path):
    texts = f"anchor.texts={manifest.parent}/classes.parquet"
    run = train_with([*OVERRIDES, texts, f"data.manifest={manifest}", f"run_dir={tmp_path}/run"])
    retrieval, zero_shot = run.metrics["retrieval"], run.metrics["zero_shot"]
    assert retrieval["smell_to_image"]["trained"]
    assert zero_shot["smell"]["top1"] > 0.7
    assert zero_shot["image"]["kind"] == "anchor"
    saved = tmp_path / "run" / "binder"
    assert str(manifest.parent) not in (saved / "binder.json").read_text()
    loaded = Binder.load(saved.rename(tmp_path / "moved"))
    table = pq.read_table(manifest)
    z = loaded.embed("smell", table["smell"].to_pylist()[50:])
    picked = (z @ loaded.embed("text", CLASSES).T).argmax(dim=1)
    labels = [CLASSES.index(label.replace("_", " ")) for label in table["label"].to_pylist()[50:]]
    assert (picked == torch.tensor(labels)).float().mean() == pytest.approx(zero_shot["smell"]["top1"])


@pytest.mark.slow
def test_folders_of_clip_retrieval_are_trained_on(tmp_path):
    vectors = {part: RNG.standard_normal((60, 6)).astype(np.float16) for part in ("img_emb", "text_emb")}
    for part, matrix in vectors.items():
        (tmp_path / "data" / part).mkdir(parents=True)
        np.save(tmp_path / "data" / part / f"{part}_0.npy", matrix)
    chosen = ["encoder/text=vectors", "transform/text=vectors", "transform.text.width=6", "modalities=[text]"]
    space = ["anchor=vectors", "anchor.dim=6", "anchor.modalities=[image]", "+pairs.text-image.weight=1"]
    source = ["data=clip_retrieval", f"data.folder={tmp_path}/data", "data.batch_size=20", "trainer.max_epochs=1"]
    common = [
        override for override in OVERRIDES if override.startswith(("cache", "trainer.a", "trainer.e", "eval", "call"))
    ]
    run = train_with([*chosen, *space, *source, *common, f"run_dir={tmp_path}/run"])
    assert run.metrics["retrieval"]["text_to_image"]["trained"]
    assert Binder.load(tmp_path / "run").embed("text", [np.ones(6)]).shape == (1, 6)


@pytest.mark.slow
def test_without_texts_zero_shot_is_left_out_and_said(manifest, tmp_path, caplog):
    overrides = [*OVERRIDES, f"data.manifest={manifest}", f"run_dir={tmp_path}/run", "trainer.max_epochs=1"]
    run = train_with(overrides)
    assert not run.metrics.get("zero_shot")
    assert "zero-shot is left out: the anchor vectors runs no text tower" in caplog.text
    assert Binder.load(tmp_path / "run").embed("image", [np.ones(6)]).shape == (1, 6)


@pytest.mark.slow
def test_a_config_for_every_name(manifest):
    config = runs.config("encoder/audio=vectors", "transform/audio=vectors", **{"transform.audio.width": 12})
    assert config.encoder.audio.width == 12
    assert json.dumps(runs.OmegaConf.to_container(config.encoder.audio, resolve=True))
