"""Features of a frozen encoder in the cache: exact, whatever their length, with the clips and views of their values."""

import numpy as np
import pytest
import torch
from support.cache_cases import PART_SIZE, World, options

from bind.cache.build import build_cache
from bind.cache.fill import Engine
from bind.data.dataset import BatchDataset
from bind.data.plan import BatchRequest


class Sounds(World):
    """Sample i has i % 3 sounds; the j-th has j + 1 clips of 4 numbers."""

    def __init__(self):
        super().__init__(10)
        self._samples = [type(s)(s.key, s.split, {"audio": ()}) for s in self._samples]

    def values(self, modality, index):
        return [np.random.default_rng([index, j]).normal(size=(j + 1, 4)).astype("f4") for j in range(index % 3)]


class Windows:
    """All clips of a sound; in training one of them, louder."""

    def __call__(self, value, rng):
        clips = [torch.from_numpy(clip) for clip in value]
        if rng is not None:
            return clips[int(rng.integers(len(clips)))] * float(rng.uniform(2, 3))
        return clips if len(clips) > 1 else clips[0]

    def collate(self, items):
        return torch.stack(items)


class Trunk:
    """A frozen tower of features of any length."""

    name, dim, modalities, trainable, fingerprint = "trunk", 3, ("audio",), (), "f" * 32

    def __init__(self):
        self.transforms = {"audio": Windows()}
        self.layer = torch.nn.Linear(4, 3)
        self.num_rows = 0

    @torch.no_grad()
    def embed(self, modality, inputs):
        self.num_rows += len(inputs)
        return 1e5 * self.layer(inputs)

    def parameters(self):
        return self.layer.parameters()


@pytest.fixture
def trunk():
    torch.manual_seed(0)
    return Trunk()


def fill(trunk, folder, split, **more):
    places = [(0, split, "audio")]
    return build_cache(
        trunk, [Sounds()], places, options(folder, **more), Engine(batch_size=2), features=True, show=False
    )


def batches(trunk, cache, split, request):
    data = [BatchDataset([Sounds()], split, ["audio"], trunk.transforms, c)[request] for c in (cache, None)]
    return data[0].cached["audio"], data


def seeded(*indices):
    return BatchRequest(0, indices, tuple((0, 2, 0, 0, i) for i in indices))


@pytest.mark.parametrize("on_disk", [True, False])
def test_evaluation_has_the_features_of_all_clips_of_all_values(trunk, tmp_path, on_disk):
    cache = fill(trunk, tmp_path if on_disk else None, "val")
    features, (cached, computed) = batches(trunk, cache, "val", BatchRequest(0, tuple(range(10))))
    assert cached.inputs == {}
    assert torch.equal(features, trunk.embed("audio", computed.inputs["audio"]))
    assert features.abs().max() > 65504, "more than half precision holds"
    assert torch.equal(cached.rows["audio"], computed.rows["audio"])
    assert cached.num_clips["audio"].tolist() == computed.num_clips["audio"].tolist() == [1, 1, 2] * 3


@pytest.mark.slow
def test_a_training_has_the_clip_in_the_middle_and_what_the_transform_draws(trunk, tmp_path):
    plain = fill(trunk, tmp_path, "train")
    indices = (1, 2, 3, 5)
    features, (cached, _) = batches(trunk, plain, "train", seeded(*indices))
    assert "audio" not in cached.num_clips
    assert cached.rows["audio"].tolist() == [0, 1, 3]
    values = [Sounds().values("audio", i) for i in indices]
    possible = [{tuple((1e5 * trunk.layer(torch.from_numpy(v[len(v) // 2]))).tolist()) for v in own} for own in values]
    for row, x in zip([0, 1, 3], features, strict=True):
        assert any(torch.allclose(x, torch.tensor(y), rtol=1e-5) for y in possible[row])
    views = fill(trunk, tmp_path, "train", views=3)
    drawn = [batches(trunk, views, "train", BatchRequest(0, (1,), ((seed,),)))[0] for seed in range(20)]
    assert len({tuple(x.flatten().tolist()) for x in drawn}) == 3
    again = [
        batches(trunk, fill(trunk, None, "train", views=3), "train", BatchRequest(0, (1,), ((s,),)))[0]
        for s in range(20)
    ]
    assert all(torch.equal(a, b) for a, b in zip(drawn, again, strict=True))


@pytest.mark.slow
def test_what_is_there_is_opened_and_a_missing_part_is_made_again(trunk, tmp_path):
    cache = fill(trunk, tmp_path, "val")
    [folder] = {path.parent for path in tmp_path.glob("*/*/about.json")}
    expected = cache.take("audio", [f"world/{i}" for i in range(10)], source=0, split="val")
    trunk.num_rows = 0
    fill(trunk, tmp_path, "val")
    assert trunk.num_rows == 0
    (folder / "part-00001.npy").unlink()
    again = fill(trunk, tmp_path, "val").take("audio", [f"world/{i}" for i in range(10)], source=0, split="val")
    assert 0 < trunk.num_rows <= 3 * PART_SIZE
    assert torch.equal(again.vectors_ND, expected.vectors_ND)
    assert again.num_clips_V.tolist() == expected.num_clips_V.tolist()


@pytest.mark.slow
def test_unit_vectors_are_no_features(trunk, tmp_path):
    fill(trunk, tmp_path, "val")
    with pytest.raises(ValueError, match=r"another dtype \(dtype <f4, here <f2\)"):
        build_cache(trunk, [Sounds()], [(0, "val", "audio")], options(tmp_path), Engine(2), show=False)


@pytest.mark.slow
def test_damage_is_named(trunk, tmp_path):
    fill(trunk, tmp_path, "val")
    [folder] = {path.parent for path in tmp_path.glob("*/*/about.json")}
    (folder / "clips.npy").write_bytes(b"")
    with pytest.raises(ValueError, match=r"clips\.npy is damaged"):
        fill(trunk, tmp_path, "val")
