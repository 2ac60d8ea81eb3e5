import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bind.metrics.clusters import choose_clusters, owner_clusters

EVERYONE = np.ones(6, dtype=bool)


@pytest.mark.slow
@settings(max_examples=60)
@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=3), min_size=1, max_size=15))
def test_samples_that_share_an_owner_through_others_are_one_cluster(owners):
    clusters = owner_clusters(owners)
    # Spread the least sample number along shared owners until nothing changes.
    least = list(range(len(owners)))
    for _ in owners:
        for i, mine in enumerate(owners):
            least[i] = min(least[j] for j, other in enumerate(owners) if i == j or set(mine) & set(other))
    same = np.equal.outer(least, least)
    assert (np.equal.outer(clusters, clusters) == same).all()
    assert set(clusters) == set(range(len(set(least))))


def test_owners_come_first_where_they_hold_samples_together():
    owners = [("anna", "tape 1"), ("anna",), ("tape 1",), ("ben",), ("ben",), ()]
    name, clusters = choose_clusters(owner_clusters(owners), np.arange(6) // 3, EVERYONE)
    assert name == "owners"
    assert clusters.tolist() == [0, 0, 0, 1, 1, 2]


def test_groups_where_every_sample_has_its_own_owner_or_all_have_one():
    groups = np.array([7, 7, 8, 8, 9, 9])
    for owners in ([(str(i),) for i in range(6)], [("one",)] * 6, [()] * 6):
        name, clusters = choose_clusters(owner_clusters(owners), groups, EVERYONE)
        assert (name, clusters.tolist()) == ("groups", [0, 0, 1, 1, 2, 2])


def test_samples_where_nothing_is_known():
    name, clusters = choose_clusters(np.arange(6), np.arange(6), EVERYONE)
    assert (name, len(set(clusters.tolist()))) == ("samples", 6)
    assert choose_clusters(np.arange(6), np.zeros(6), EVERYONE)[0] == "samples"


def test_only_queries_count():
    owners = [("a",), ("b",), ("c",), ("a",), ("b",), ("c",)]
    asks = np.array([False, False, False, True, True, True])
    assert choose_clusters(owner_clusters(owners), np.array([0, 1, 2, 0, 0, 1]), asks)[0] == "groups"
