import torch

from bind.anchors.bank import AnchorBank
from bind.types import Sample

SAMPLES = [Sample(f"k{i}", "train", {}, group=f"g{i // 2}") for i in range(6)]


class Cache:
    """Two captions for every sample but the last, no pictures."""

    def lookup(self, modality, keys, *, source, split):
        assert (source, split) == (0, "train")
        if modality != "text":
            return None
        return [torch.full((0 if key == "k5" else 2, 3), float(key[1])) for key in keys]


class Source:
    def samples(self, split):
        return SAMPLES


def bank(size, seed=0):
    return AnchorBank.from_cache(size, Cache(), [Source()], ["image", "text"], seed)


def test_every_vector_comes_with_the_group_of_its_sample():
    z, groups = bank(100).draw("text", 0, torch.device("cpu"))
    assert len(z) == len(groups) == 10, "all there are, where they are fewer than asked for"
    for row, group in zip(z, groups.tolist(), strict=True):
        assert group == SAMPLES[int(row[0])].group_id
    assert sorted(z[:, 0].tolist()) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_what_is_not_cached_has_no_bank():
    assert bank(4).draw("image", 0, torch.device("cpu")) is None


def test_draws_are_a_function_of_seed_and_step():
    def drawn(seed, step):
        z, _ = bank(4, seed).draw("text", step, torch.device("cpu"))
        assert len(z) == 4
        return z[:, 0].tolist()

    assert drawn(0, 7) == drawn(0, 7)
    assert len({tuple(drawn(seed, step)) for seed in range(3) for step in range(5)}) > 5
