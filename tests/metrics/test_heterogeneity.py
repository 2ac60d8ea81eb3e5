import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bind.metrics.heterogeneity import Heterogeneity, find_clusters

BITS = st.floats(-1, 5, width=32)
SIZES = st.tuples(st.integers(2, 4), st.integers(1, 5))


@st.composite
def tables(draw):
    num_seeds, num = draw(SIZES)
    return Heterogeneity(
        draw(arrays(float, (num_seeds, num, num), elements=BITS)), draw(arrays(float, (num_seeds, num), elements=BITS))
    )


@pytest.mark.slow
@settings(max_examples=30)
@given(tables())
def test_every_matrix_is_what_its_formula_says(h):
    num_seeds, num = h.fresh_SM.shape
    for s in range(num_seeds):
        for i in range(num):
            for j in range(num):
                gain = h.bits_SMM[s, i, j] - h.fresh_SM[s, j]
                own = h.bits_SMM[s, j, j] - h.fresh_SM[s, j]
                assert h.transfer[s, i, j] == pytest.approx(gain)
                assert h.shortfall[s, i, j] == pytest.approx(own - gain, abs=1e-9)
    for i in range(num):
        for j in range(num):
            there = np.mean([h.shortfall[s, i, j] for s in range(num_seeds)])
            back = np.mean([h.shortfall[s, j, i] for s in range(num_seeds)])
            assert h.distance[i, j] == pytest.approx(max(there, 0) + max(back, 0))
            both = [h.shortfall[s, i, j] + h.shortfall[s, j, i] for s in range(num_seeds)]
            assert h.spread[i, j] == pytest.approx(np.std(both, ddof=1), abs=1e-9)
            gains = [max(np.mean(h.transfer[:, k, k]), 0) for k in (i, j)]
            assert h.unrelated_distance[i, j] == pytest.approx(sum(gains))


@pytest.mark.slow
@given(tables())
def test_distances_are_symmetric_and_zero_to_oneself(h):
    assert np.array_equal(h.distance, h.distance.T)
    assert (h.distance >= 0).all()
    assert not h.distance.diagonal().any()
    assert np.allclose(h.separation, h.separation.T)
    assert np.isfinite(h.separation).all()


@pytest.mark.slow
@given(tables(), st.data())
def test_modalities_that_serve_alike_are_at_distance_zero_and_in_one_cluster(h, data):
    if h.fresh_SM.shape[1] < 2:
        return
    twin, other = data.draw(st.permutations(range(h.fresh_SM.shape[1])))[:2]
    bits, fresh = h.bits_SMM.copy(), h.fresh_SM.copy()
    bits[:, twin], fresh[:, twin] = bits[:, other], fresh[:, other]  # as sources
    bits[:, :, twin] = bits[:, :, other]  # and as tasks
    alike = Heterogeneity(bits, fresh)
    assert alike.distance[twin, other] == pytest.approx(0)
    assert alike.separation[twin, other] == pytest.approx(0)


@pytest.mark.slow
def test_a_distance_separates_beyond_its_spread_and_half_of_unrelated_ones():
    def of(own, other, fresh, noise):
        wobble = np.array([-noise, 0.0, noise])
        bits = np.full((3, 2, 2), float(other)) + wobble[:, None, None]
        bits[:, [0, 1], [0, 1]] = own
        return find_clusters(Heterogeneity(bits, np.full((3, 2), float(fresh))).separation)[0]

    assert of(own=2, other=1.8, fresh=0, noise=0) == [0, 0]  # 0.2 of 4 lost both ways
    assert of(own=2, other=0.5, fresh=0, noise=0) == [0, 1]  # 3 of 4
    assert of(own=2, other=0.5, fresh=0, noise=1.6) == [0, 0]  # 3 ± 3.2
    assert of(own=2, other=1.9, fresh=1.95, noise=0) == [0, 1]  # 0.2 where unrelated ones have 0.1


@pytest.mark.slow
def test_clusters_are_numbered_as_they_occur_and_lie_side_by_side():
    far, near = 5.0, 0.2
    same = np.array([0, 1, 0, 2, 1])
    separation = np.where(same[:, None] == same, near, far)
    np.fill_diagonal(separation, 0)
    cluster_of, order = find_clusters(separation)
    assert cluster_of == [0, 1, 0, 2, 1]
    assert sorted(order) == [0, 1, 2, 3, 4]
    stretches = [cluster_of[index] for index in order]
    assert len([1 for a, b in itertools.pairwise(stretches) if a != b]) == 2
    assert find_clusters(np.zeros((1, 1))) == ([0], [0])


def test_one_seed_and_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="at least two"):
        Heterogeneity(np.zeros((1, 2, 2)), np.zeros((1, 2)))
    with pytest.raises(ValueError, match=r"must be \(S, M, M\)"):
        Heterogeneity(np.zeros((2, 3, 2)), np.zeros((2, 2)))
