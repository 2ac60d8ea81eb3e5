import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bind.data.plan import BatchPlan, EvaluationPlan


def requests(plan: BatchPlan, num_epochs: int) -> list:
    return [request for _ in range(num_epochs) for request in plan]


@pytest.mark.slow
@settings(max_examples=40)
@given(
    sizes=st.lists(st.integers(8, 30), min_size=1, max_size=3),
    world_size=st.integers(1, 4),
    batch_size=st.integers(1, 2),
    seed=st.integers(0, 5),
)
def test_ranks_cut_the_global_batch_in_order(sizes, world_size, batch_size, seed):
    whole = requests(BatchPlan(sizes, batch_size * world_size, seed=seed), 2)
    parts = [
        requests(BatchPlan(sizes, batch_size, seed=seed, rank=rank, world_size=world_size), 2)
        for rank in range(world_size)
    ]
    assert len(whole) == len(parts[0]) > 0
    for one, *shares in zip(whole, *parts, strict=True):
        assert {share.source for share in shares} == {one.source}
        assert tuple(itertools.chain(*(share.indices for share in shares))) == one.indices
        assert tuple(itertools.chain(*(share.seeds for share in shares))) == one.seeds


@pytest.mark.slow
@settings(max_examples=40)
@given(
    sizes=st.lists(st.integers(4, 30), min_size=1, max_size=3),
    alpha=st.sampled_from([0.0, 0.5, 1.0]),
    steps_per_epoch=st.none() | st.integers(1, 9),
    data=st.data(),
)
def test_a_plan_goes_on_at_any_step(sizes, alpha, steps_per_epoch, data):
    options = {"seed": 3, "alpha": alpha, "steps_per_epoch": steps_per_epoch}
    plan = BatchPlan(sizes, 4, **options)
    whole = requests(plan, 4)
    start = data.draw(st.integers(0, 3 * len(plan)))
    resumed = BatchPlan(sizes, 4, start_step=start, **options)
    epochs = 4 - start // len(plan)
    assert requests(resumed, epochs) == whole[start:]


def test_stopping_in_mid_epoch_goes_on_with_the_next():
    plan = BatchPlan([20], 4, seed=0)
    first = list(itertools.islice(plan, 2))
    second = list(plan)
    whole = requests(BatchPlan([20], 4, seed=0), 2)
    assert first == whole[:2]
    assert second == whole[5:]


def test_an_epoch_that_loader_processes_began_and_nobody_used_comes_again():
    """So it is where a run goes on in the validation that ends an epoch."""
    whole = requests(BatchPlan([20], 4, seed=0), 4)
    plan = BatchPlan([20], 4, seed=0, start_step=5)
    plan.set_epoch(0)
    assert next(iter(plan)) == whole[5]
    for epoch in (1, 2):
        plan.set_epoch(epoch)
        assert list(plan) == whole[5 * epoch :][:5]


def test_an_epoch_goes_on_in_its_middle():
    plan = BatchPlan([20], 4, seed=0, start_step=7)
    plan.set_epoch(1)
    assert list(plan) == requests(BatchPlan([20], 4, seed=0), 2)[7:]


def test_every_sample_is_drawn_once_per_pass_and_passes_differ():
    plan = BatchPlan([12], 3, seed=0)
    passes = [[index for request in plan for index in request.indices] for _ in range(3)]
    assert all(sorted(indices) == list(range(12)) for indices in passes)
    assert passes[0] != passes[1]


def test_a_source_of_a_mixture_is_passed_through_before_it_repeats():
    plan = BatchPlan([12, 7], 3, seed=1)
    drawn: dict[int, list[int]] = {0: [], 1: []}
    for request in requests(plan, 5):
        assert len(set(request.indices)) == 3
        drawn[request.source] += request.indices
    assert all(len(indices) >= 12 for indices in drawn.values())
    for source, per_pass in ((0, 12), (1, 6)):  # 7 samples give two batches a pass, the last sample waits
        for start in range(0, len(drawn[source]) // per_pass * per_pass, per_pass):
            assert len(set(drawn[source][start : start + per_pass])) == per_pass


def test_seeds_belong_to_a_step_and_a_sample():
    plan = BatchPlan([8, 8], 4, seed=0)
    seeds = [seed for request in requests(plan, 6) for seed in request.seeds]
    assert len(set(seeds)) == len(seeds)


def test_seeds_of_runs_give_different_plans():
    assert list(BatchPlan([20], 4, seed=0)) != list(BatchPlan([20], 4, seed=1))


@pytest.mark.parametrize(("alpha", "share"), [(1.0, 0.9), (0.5, 0.75), (0.0, 0.5)])
def test_alpha_evens_sources_out(alpha, share):
    plan = BatchPlan([900, 100], 10, seed=0, alpha=alpha, steps_per_epoch=4000)
    assert plan.probabilities[0] == pytest.approx(share)
    assert np.mean([request.source == 0 for request in plan]) == pytest.approx(share, abs=0.03)


def test_weights_multiply_and_zero_keeps_a_source_out():
    plan = BatchPlan([900, 100, 3], 10, seed=0, alpha=0.5, weights=[1.0, 6.0, 0.0], steps_per_epoch=4000)
    assert plan.probabilities.tolist() == pytest.approx([1 / 3, 2 / 3, 0.0])
    drawn = [request.source for request in plan]
    assert np.mean(drawn) == pytest.approx(2 / 3, abs=0.03)
    assert max(drawn) == 1
    assert len(BatchPlan([900, 100, 3], 10, seed=0, weights=[1.0, 0.0, 0.0])) == 90


def test_the_length_counts_every_sample_once():
    assert len(BatchPlan([10, 7], 3, seed=0)) == 5
    assert len(BatchPlan([10, 7], 3, seed=0, steps_per_epoch=2)) == 2


def test_a_source_smaller_than_the_global_batch_is_refused():
    with pytest.raises(ValueError, match=r"data\.batch_size=8 is larger than the 7 .*data\.batch_size=7"):
        BatchPlan([100, 7], 8, seed=0)
    with pytest.raises(ValueError, match=r"on 2 processes.*data\.batch_size=3"):
        BatchPlan([100, 7], 4, seed=0, world_size=2)
    assert len(BatchPlan([8], 4, seed=0, world_size=2)) == 1


@pytest.mark.slow
@settings(max_examples=40)
@given(
    sizes=st.lists(st.integers(0, 20), min_size=1, max_size=3),
    batch_size=st.integers(1, 7),
    world_size=st.integers(1, 5),
)
def test_evaluation_covers_everything_once_and_in_order(sizes, batch_size, world_size):
    plans = [EvaluationPlan(sizes, batch_size, rank=rank, world_size=world_size) for rank in range(world_size)]
    seen = [(request.source, index) for plan in plans for request in plan for index in request.indices]
    assert seen == [(source, index) for source, size in enumerate(sizes) for index in range(size)]
    assert all(len(plan) == len(list(plan)) for plan in plans)
    assert all(request.seeds is None and len(request.indices) <= batch_size for plan in plans for request in plan)
    assert max(map(len, plans)) - min(map(len, plans)) <= 1
    assert min(map(len, plans)) >= 1 or sum(sizes) < world_size  # a rank without any would not meet the others


def test_sources_without_a_split_take_no_part_in_it():
    plan = BatchPlan([0, 8, 0], 2, seed=0, alpha=0.0, weights=[0.0, 1.0, 0.0])
    assert (len(plan), {request.source for request in plan}) == (4, {1})
    ranks = [list(EvaluationPlan([0, 3, 0, 4], 2, rank=rank, world_size=2)) for rank in (0, 1)]
    assert [[(r.source, *r.indices) for r in requests] for requests in ranks] == [
        [(1, 0, 1), (1, 2)],
        [(3, 0, 1), (3, 2, 3)],
    ]
