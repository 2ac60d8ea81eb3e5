"""Exposures counted before training are what its plan then does."""

from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bind.data.mixture import pair_exposures, source_exposures, source_weights
from bind.data.plan import BatchPlan


@pytest.mark.slow
@settings(max_examples=30)
@given(
    sizes=st.lists(st.integers(4, 30), min_size=1, max_size=3),
    alpha=st.floats(0, 1),
    num_batches=st.integers(1, 40),
    steps_per_epoch=st.integers(1, 9),
    data=st.data(),
)
def test_exposures_are_what_the_plan_does(sizes, alpha, num_batches, steps_per_epoch, data):
    used = data.draw(st.integers(1, steps_per_epoch))
    plan = BatchPlan(sizes, 4, seed=1, alpha=alpha, steps_per_epoch=steps_per_epoch)
    names = [str(i) for i in range(len(sizes))]
    exposures = source_exposures(plan, names, num_batches, used)

    batches = []
    while len(batches) < num_batches:
        batches += list(plan)[:used]
    counted = Counter(request.source for request in batches[:num_batches])
    assert [exposure.num_steps for exposure in exposures] == [counted[i] for i in range(len(sizes))]
    passes = [4 * counted[i] / size for i, size in enumerate(sizes)]
    assert [exposure.num_passes for exposure in exposures] == pytest.approx(passes)


def of_pairs(*held):
    """A source whose samples hold these modalities."""
    return SimpleNamespace(samples=lambda split: [SimpleNamespace(values=dict.fromkeys(m)) for m in held])


def test_a_pair_is_seen_where_a_sample_has_both_sides():
    sources = [
        of_pairs(["image", "audio"], ["image"], ["image"], ["image", "audio"]),
        of_pairs(*[["image", "imu"]] * 4),
    ]
    plan = BatchPlan([4, 4], 4, seed=0)
    first, second = exposures = source_exposures(plan, ["a", "b"], 20, 2)
    pairs = {
        "audio-image": (["audio"], ["image"]),
        "imu-image": (["imu"], ["image"]),
        "both": (["audio", "imu"], ["image"]),
    }
    audio, imu, fused = pair_exposures(sources, exposures, pairs)
    assert (audio.num_samples, audio.num_steps, audio.num_passes) == (
        2,
        first.num_steps,
        first.num_passes,
    )
    assert (imu.num_samples, imu.num_steps, imu.num_passes) == (4, second.num_steps, second.num_passes)
    assert (fused.num_samples, fused.num_steps) == (6, 20)
    assert fused.num_passes == pytest.approx((2 * audio.num_passes + 4 * imu.num_passes) / 6)


def named(**sizes):
    """Sources with so many training samples."""
    return {n: SimpleNamespace(name=n, samples=lambda split, size=size: range(size)) for n, size in sizes.items()}


def test_weights_are_one_where_none_is_given():
    assert source_weights(named(a=1, b=1, c=1), {"b": 0, "c": 2.5}) == [1.0, 0.0, 2.5]


def test_what_has_no_training_samples_is_not_drawn():
    assert source_weights(named(a=1, b=0), {}) == [1.0, 0.0]
    assert source_weights(named(a=1, b=0), {"b": 0}) == [1.0, 0.0]
    assert source_weights(named(a=0), {}) == [0.0]  # of data that is only embedded


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"tou": 1}, r"data\.weights\.tou: .*'toy'"),
        ({"toy": -1}, r"data\.weights\.toy=-1: give a number"),
        ({"toy": float("inf")}, "give a number"),
        ({"toy": "much"}, "give a number"),
        ({"more": 2}, r"data\.weights\.more=2, but more has no samples of the split 'train'"),
    ],
)
def test_weights_that_cannot_be_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        source_weights(named(toy=1, more=0), weights)
