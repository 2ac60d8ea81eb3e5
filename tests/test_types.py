import copy
import hashlib
import pickle

import pytest
import torch
from support import shard_cases

from bind.data.sources.manifest import ManifestSource
from bind.data.sources.phrases import PhraseSource
from bind.data.sources.shards.source import IndexedShardSource
from bind.data.sources.shards.stream import StreamingShardSource
from bind.data.sources.toy.world import ToySource
from bind.types import (
    Annotation,
    Batch,
    Embeddings,
    FactorSource,
    FileSource,
    GeneratedSource,
    OrderedSource,
    Sample,
    StoredSource,
    stable_id,
)


def test_a_stable_id_is_63_bits_and_the_same_on_every_machine():
    expected = int.from_bytes(hashlib.blake2b(b"group:a dog", digest_size=8).digest(), "big") >> 1
    assert stable_id("group:a dog") == expected
    assert 0 <= expected < 2**63
    assert torch.tensor([expected]).item() == expected


def test_samples_without_a_group_are_their_own():
    a, b = (Sample(key, "train", {}) for key in "ab")
    grouped = [Sample(key, "train", {}, group="a") for key in "ab"]
    assert a.group_id != b.group_id
    assert grouped[0].group_id == grouped[1].group_id
    assert a.group_id != grouped[0].group_id


def test_aligned_takes_the_first_value_of_the_rows_that_have_everything():
    embeddings = Embeddings(
        z={"text": torch.tensor([[30.0], [10.0], [31.0], [0.0]]), "audio": torch.tensor([[3.0], [1.0], [2.0]])},
        rows={"text": torch.tensor([3, 1, 3, 0]), "audio": torch.tensor([3, 1, 2])},
        num_rows=5,
    )
    (text, audio), rows = embeddings.aligned(["text", "audio"])
    assert rows.tolist() == [1, 3]
    assert text.tolist() == [[10.0], [30.0]]
    assert audio.tolist() == [[1.0], [3.0]]


def test_aligned_without_a_common_row_keeps_the_graph():
    leaf = torch.zeros(0, 2, requires_grad=True)
    embeddings = Embeddings(
        {"audio": leaf, "image": torch.eye(2)}, {"audio": torch.zeros(0, dtype=torch.long), "image": torch.arange(2)}, 2
    )
    (audio, image), rows = embeddings.aligned(["audio", "image"])
    assert (audio.shape, image.shape, rows.shape) == ((0, 2), (0, 2), (0,))
    assert audio.requires_grad


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_batch_moves_whole_but_for_its_row_numbers(device):
    batch = Batch(
        keys=["k"],
        group_ids_B=torch.tensor([1]),
        inputs={"text": {"input_ids": torch.ones(1, 2), "attention_mask": torch.ones(1, 2)}, "imu": torch.ones(1, 3)},
        rows={"text": torch.tensor([0]), "imu": torch.tensor([0])},
        cached={"image": torch.ones(1, 4)},
        source="toy",
        modalities=("text", "imu", "image"),
    )
    moved = batch.to(device)
    tensors = [moved.group_ids_B, *moved.inputs["text"].values(), moved.inputs["imu"]]
    tensors += [*moved.cached.values()]
    assert {tensor.device.type for tensor in tensors} == {device}
    assert {rows.device.type for rows in moved.rows.values()} == {"cpu"}
    assert (moved.keys, moved.source, moved.modalities) == (batch.keys, batch.source, batch.modalities)
    assert len(moved) == 1


def test_a_batch_is_the_same_in_another_process_and_may_be_written_to():
    batch = Batch(
        keys=["a", "b"], group_ids_B=torch.tensor([1, 2]), inputs={"audio": torch.ones(3, 4)},
        rows={"audio": torch.tensor([1]), "text": torch.zeros(0, dtype=torch.long)}, cached={"text": torch.zeros(0, 2)},
        source="toy", modalities=("audio", "text"), num_clips={"audio": torch.tensor([3])},
    )  # fmt: skip
    for other in (pickle.loads(pickle.dumps(batch)), copy.deepcopy(batch)):
        for name in ("group_ids_B", "inputs", "rows", "cached", "num_clips"):
            torch.testing.assert_close(getattr(other, name), getattr(batch, name), rtol=0, atol=0)
        assert (other.keys, other.source, other.modalities) == (batch.keys, batch.source, batch.modalities)
        other.rows["audio"] += 1
        assert batch.rows["audio"].tolist() == [1]


@pytest.mark.slow
def test_sources_say_what_they_can_do_beyond_a_source(tmp_path):
    manifest = shard_cases.write_world(tmp_path)
    shard_cases.pack(manifest, tmp_path / "packed")
    sources = {
        "manifest": ManifestSource(manifest),
        "shards": IndexedShardSource(str(tmp_path / "packed")),
        "stream": StreamingShardSource({"train": str(tmp_path / "packed" / "train-*.tar")}, samples_per_shard=2),
        "toy": ToySource(num_train=1, num_val_queries=1, num_test_queries=1),
        "phrases": PhraseSource(["red blue"], num_train=1, num_held_out=1),
    }
    protocols = (FileSource, StoredSource, OrderedSource, GeneratedSource, FactorSource)
    offers = {name: {p.__name__ for p in protocols if isinstance(source, p)} for name, source in sources.items()}
    assert offers == {
        "manifest": {"FileSource"},
        "shards": {"FileSource", "StoredSource", "OrderedSource"},
        "stream": {"FileSource", "OrderedSource"},
        "toy": {"GeneratedSource", "FactorSource"},
        "phrases": {"GeneratedSource"},
    }


def test_an_owner_is_one_however_it_was_typed():
    composed, decomposed = "Zo\u00eb", "Zoe\u0308"
    assert Sample("a", "train", {}, owners=(decomposed, "b")).owners == (composed, "b")
    assert Sample("a", "train", {}, owners="alice").owners == ("alice",)
    annotation = Annotation(decomposed, 0.0, 1.0, label=decomposed, kind=decomposed)
    assert (annotation.recording, annotation.label, annotation.kind) == (composed,) * 3
