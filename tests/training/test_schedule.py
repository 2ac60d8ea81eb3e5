import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bind.training.schedule import Schedule


def rate_by_steps(step, steps, warmup_fraction, end):
    """The usual formula, in steps."""
    warmup = max(1, round(warmup_fraction * steps))
    if step < warmup:
        return (step + 1) / warmup
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))
    return end + (1 - end) * cosine


@pytest.mark.slow
@given(st.integers(1, 5000), st.integers(1, 3000), st.floats(0, 1), st.floats(0, 1), st.data())
def test_steps_of_one_size_have_the_usual_rates_bit_for_bit_wherever_a_run_goes_on(size, steps, warmup, end, data):
    fresh = Schedule(size, steps, warmup, end)
    start = data.draw(st.integers(0, steps))
    resumed = Schedule(size, steps - start, warmup, end, start_step=start, start_samples=fresh.samples(start))
    old = Schedule(size, steps - start, warmup, end, start_step=start)  # of a checkpoint that does not count samples
    for step in data.draw(st.lists(st.integers(start, steps + 2), min_size=1, max_size=5)):
        assert fresh.rate(step) == resumed.rate(step) == old.rate(step) == rate_by_steps(step, steps, warmup, end)


@pytest.mark.slow
@given(st.integers(1, 300), st.integers(1, 300), st.integers(2, 500), st.integers(1, 500), st.data())
def test_with_other_steps_the_cosine_goes_on_and_ends_with_the_last_of_them(size, other_size, steps, left, data):
    fresh = Schedule(size, steps, 0.0)
    start = data.draw(st.integers(1, steps))
    other = Schedule(other_size, left, 0.0, start_step=start, start_samples=fresh.samples(start))
    rates = [other.rate(step) for step in range(start, start + left + 1)]
    assert all(0 <= rate <= 1 for rate in rates)
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    assert all(a >= b for a, b in pairwise(rates))
    assert rates[0] > 0
    again_at = data.draw(st.integers(start, start + left))
    again = Schedule(
        other_size, start + left - again_at, 0.0, start_step=again_at, start_samples=other.samples(again_at)
    )
    assert again.rate(again_at) == other.rate(again_at)


def test_without_an_end_there_is_a_warm_up_and_then_the_peak():
    endless = Schedule(8, None, 0.5, steps_per_epoch=10)
    assert [endless.rate(step) for step in (0, 4, 5, 10**6)] == [0.2, 1.0, 1.0, 1.0]
    assert endless.total_steps == math.inf
