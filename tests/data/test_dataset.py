import numpy as np
import pytest
import torch

from bind.data.dataset import BatchDataset
from bind.data.plan import BatchRequest
from bind.types import CachedVectors, Sample


class Noisy:
    """A number → itself plus noise from the sample's generator."""

    def __call__(self, value, rng):
        return torch.tensor([float(value) + (rng.random() if rng is not None else 0.0)])

    def collate(self, items):
        return torch.stack(items)


class Numbers:
    """`values[i]` holds the values of sample i; remembers what was fetched."""

    def __init__(self, values, name="numbers", prefix="k"):
        self.name = name
        self.values = values
        self.prefix = prefix
        self.fetched = []

    def modalities(self):
        return ("text", "imu")

    def samples(self, split):
        return [Sample(f"{self.prefix}{i}", split, {}, group="all") for i in range(len(self.values))]

    def fetch(self, split, indices, modalities, rngs):
        self.fetched.append(tuple(modalities))
        return [{m: self.values[i][m] for m in modalities if m in self.values[i]} for i in indices]


class Cache:
    def __init__(self, z):
        self.z = z

    def take(self, modality, keys, *, source, split, rngs):
        if (modality, source, split) != ("text", 0, "train"):
            return None
        z = [self.z.get(key, torch.zeros(0, 2)) for key in keys]
        return CachedVectors(torch.cat(z), np.array([len(x) for x in z]))


VALUES = [{"text": [10, 11, 12], "imu": [1]}, {"imu": [2]}, {"text": [30], "imu": []}, {"text": [40, 41], "imu": [4]}]


def dataset(cache=None, modalities=("text", "imu", "image"), values=VALUES):
    return BatchDataset([Numbers(values)], "train", modalities, {"text": Noisy(), "imu": Noisy()}, cache)


def seeded(*indices, step=0):
    return BatchRequest(0, indices, tuple((0, 2, step, 0, index) for index in indices))


def test_evaluation_gives_every_value_and_names_its_row():
    batch = dataset()[BatchRequest(0, (0, 1, 2, 3))]
    assert batch.keys == ["k0", "k1", "k2", "k3"]
    assert batch.modalities == ("text", "imu")
    assert batch.rows["text"].tolist() == [0, 0, 0, 2, 3, 3]
    assert batch.inputs["text"].flatten().tolist() == [10, 11, 12, 30, 40, 41]
    assert batch.rows["imu"].tolist() == [0, 1, 3]
    assert batch.group_ids_B.dtype == torch.long
    assert len(set(batch.group_ids_B.tolist())) == 1


def test_training_draws_one_value_per_row():
    chosen = set()
    for step in range(30):
        batch = dataset()[seeded(0, 1, 2, 3, step=step)]
        assert batch.rows["text"].tolist() == [0, 2, 3]
        chosen.add(int(batch.inputs["text"][0].item()))
    assert chosen == {10, 11, 12}


def test_a_modality_that_no_row_has_is_named_but_not_there():
    batch = dataset()[BatchRequest(0, (1,))]
    assert batch.modalities == ("text", "imu")
    assert "text" not in batch.rows
    assert "text" not in batch.inputs


def test_augmentation_depends_on_step_and_sample_but_not_on_neighbours():
    together = dataset()[seeded(0, 1, 3)]
    alone = dataset()[seeded(3)]
    later = dataset()[seeded(3, step=1)]
    for modality, position in (("text", 1), ("imu", 2)):
        assert torch.equal(together.inputs[modality][position], alone.inputs[modality][0])
        assert not torch.equal(later.inputs[modality][0], alone.inputs[modality][0])


def test_evaluation_is_deterministic():
    one, two = (dataset()[BatchRequest(0, (0, 3))] for _ in range(2))
    assert torch.equal(one.inputs["imu"], two.inputs["imu"])
    assert one.inputs["imu"].flatten().tolist() == [1, 4]


def test_the_cache_replaces_loading():
    z = {"k0": torch.tensor([[0.0, 0.0], [0.0, 1.0], [0.0, 2.0]]), "k3": torch.tensor([[3.0, 0.0], [3.0, 1.0]])}
    data = dataset(Cache(z))
    batch = data[BatchRequest(0, (0, 1, 3))]
    assert data.sources[0].fetched == [("imu",)]
    assert "text" not in batch.inputs
    assert batch.rows["text"].tolist() == [0, 0, 0, 2, 2]
    assert torch.equal(batch.cached["text"], torch.cat([z["k0"], z["k3"]]))

    trained = data[seeded(0, 1, 3)]
    assert trained.rows["text"].tolist() == [0, 2]
    assert trained.cached["text"][:, 0].tolist() == [0, 3]


def test_a_cache_of_another_split_leaves_the_values():
    data = BatchDataset([Numbers(VALUES)], "val", ("text",), {"text": Noisy()}, Cache({}))
    batch = data[BatchRequest(0, (0,))]
    assert data.sources[0].fetched == [("text",)]
    assert batch.inputs["text"].flatten().tolist() == [10, 11, 12]


def test_the_cache_does_not_change_what_else_is_drawn():
    """A cached caption is drawn with the same numbers as a loaded one, so the others' augmentation stays."""
    z = {key: torch.zeros(count, 2) for key, count in (("k0", 3), ("k2", 1), ("k3", 2))}
    order = ("imu", "text")
    plain, cached = dataset(None, order)[seeded(0, 3)], dataset(Cache(z), order)[seeded(0, 3)]
    assert torch.equal(plain.inputs["imu"], cached.inputs["imu"])


def test_requests_go_to_their_source():
    sources = [Numbers(VALUES), Numbers([{"imu": [9]}], name="other", prefix="o")]
    data = BatchDataset(sources, "train", ["imu"], {"imu": Noisy()})
    assert data.sizes == [4, 1]
    batch = data[BatchRequest(1, (0,))]
    assert (batch.source, batch.keys, batch.inputs["imu"].item()) == ("other", ["o0"], 9.0)


def test_two_sources_may_not_share_a_key():
    with pytest.raises(ValueError, match=r"'k0' occurs twice in train, in numbers and other"):
        BatchDataset([Numbers(VALUES), Numbers(VALUES, name="other")], "train", ["imu"], {"imu": Noisy()})


def test_generators_are_the_samples_own():
    drawn = np.random.default_rng((0, 2, 0, 0, 1)).random()
    assert dataset()[seeded(1)].inputs["imu"].item() == pytest.approx(2 + drawn)


def viewed(views_of=("imu",)):
    return BatchDataset(
        [Numbers(VALUES)], "train", ["text", "imu"], {"text": Noisy(), "imu": Noisy()}, views_of=views_of
    )


def test_a_second_view_is_drawn_anew_and_changes_nothing_else():
    twice, once = viewed()[seeded(0, 1, 2, 3)], viewed(())[seeded(0, 1, 2, 3)]
    assert twice.modalities == ("text", "imu", "imu@2")
    assert "imu@2" not in once.inputs
    for modality in ("text", "imu"):
        assert torch.equal(twice.inputs[modality], once.inputs[modality])
    assert twice.rows["imu@2"].tolist() == twice.rows["imu"].tolist() == [0, 1, 3]
    assert (twice.inputs["imu@2"] - twice.inputs["imu"]).abs().min() > 0
    again, later = viewed()[seeded(0, 1, 2, 3)], viewed()[seeded(0, 1, 2, 3, step=1)]
    assert torch.equal(again.inputs["imu@2"], twice.inputs["imu@2"])
    assert not torch.equal(later.inputs["imu@2"], twice.inputs["imu@2"])


def test_in_evaluation_a_second_view_is_always_the_same():
    first, second = (viewed()[BatchRequest(0, (0, 1, 3))] for _ in range(2))
    assert torch.equal(first.inputs["imu@2"], second.inputs["imu@2"])
    noise = first.inputs["imu@2"] - first.inputs["imu"]
    assert len(noise.unique()) == 3, "each sample draws its own"
