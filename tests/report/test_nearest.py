import pytest
import torch
from support import pages

from bind.data.sources.toy.world import ToySource
from bind.evaluation.embedded import EmbeddedSplit
from bind.report.nearest import NUM_GALLERIES, NUM_RESULTS, galleries, telling_pairs
from bind.types import Pair

ENCODED = ["audio", "imu"]
PAIRS = [Pair("audio", "image"), Pair("imu", "image"), Pair("audio_and_imu", "image"), Pair("depth", "image")]


@pytest.fixture(scope="module")
def split():
    return pages.embedded(ToySource(num_test_queries=2, modalities=("image", "text", "audio", "imu")))


@pytest.mark.slow
def test_trained_pairs_come_first_then_new_modalities_that_never_met(split):
    assert telling_pairs(split, ENCODED, PAIRS) == [("audio", "image"), ("imu", "image"), ("audio", "imu")]
    assert telling_pairs(split, ENCODED, [])[0] == ("audio", "imu")
    assert len(telling_pairs(split, ENCODED, PAIRS)) == NUM_GALLERIES


@pytest.mark.slow
@pytest.mark.parametrize("one_per_group", [False, True])
def test_each_query_has_its_nearest_pool_items_best_first(split, one_per_group):
    for gallery in galleries(split, ENCODED, PAIRS, 4, one_per_group=one_per_group):
        cosines = split.z[gallery.query] @ split.z[gallery.pool].T
        _, candidates = split.query_and_pool_rows(gallery.query, gallery.pool, one_per_group=one_per_group)
        assert len({row.position for row in gallery.rows}) == 4
        for row in gallery.rows:
            scores = cosines[row.position][candidates].sort(descending=True).values[:NUM_RESULTS]
            torch.testing.assert_close(torch.tensor([hit.score for hit in row.hits]), scores)
            for hit in row.hits:
                assert hit.position in candidates
                assert hit.score == pytest.approx(float(cosines[row.position, hit.position]), abs=1e-6)
                group_of_hit, group_of_query = (split.group_ids_N[p].item() for p in (hit.position, row.position))
                assert hit.relevant == (group_of_hit == group_of_query)


@pytest.mark.slow
def test_no_queries_no_galleries(split):
    assert galleries(split, ENCODED, PAIRS, 0, one_per_group=False) == []


def test_sounds_and_sentences_of_other_samples_have_no_gallery():
    rows = {"audio": torch.tensor([0, 1]), "text": torch.tensor([2, 3]), "imu": torch.tensor([1])}
    z = {modality: torch.eye(4)[of_modality] for modality, of_modality in rows.items()}
    split = EmbeddedSplit(list("abcd"), torch.arange(4), z, rows)
    assert telling_pairs(split, ENCODED, []) == [("audio", "imu"), ("imu", "audio")]
