import math

import pytest
import torch
import two_ranks
from hypothesis import given, settings
from hypothesis import strategies as st
from two_ranks import unit

from bind.losses import info_nce


def naive(z_a, z_b, scale, groups, same_group, bank_a, bank_b):
    """The definition, row by row, in the dtype of its input."""
    total = 0.0
    for queries, candidates, bank in ((z_a, z_b, bank_b), (z_b, z_a, bank_a)):
        for i in range(len(queries)):
            denominator, positives = [], []
            for j in range(len(candidates)):
                logit = scale * (queries[i] * candidates[j]).sum()
                same = i == j or (groups is not None and groups[i] == groups[j])
                if i == j or not same or same_group == "positive":
                    denominator.append(logit)
                if i == j or (same and same_group == "positive"):
                    positives.append(logit)
            if bank is not None:
                z_bank, bank_groups = bank
                for k in range(len(z_bank)):
                    if bank_groups[k] != groups[i]:
                        denominator.append(scale * (queries[i] * z_bank[k]).sum())
            terms = torch.stack(denominator)
            total = total + torch.logsumexp(terms, 0) - torch.stack(positives).mean()
    return total / (2 * len(z_a))


@st.composite
def cases(draw):
    num_rows, dim = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    groups = draw(st.none() | st.lists(st.integers(0, 3), min_size=num_rows, max_size=num_rows))
    banks = [None, None]
    if groups is not None:
        for side in range(2):
            ids = draw(st.none() | st.lists(st.integers(0, 5), max_size=4))
            if ids is not None:
                banks[side] = (unit(len(ids), dim, seed=draw(st.integers(0, 99))), torch.tensor(ids, dtype=torch.long))
    return {
        "z_a": unit(num_rows, dim, seed=draw(st.integers(0, 999))),
        "z_b": unit(num_rows, dim, seed=draw(st.integers(0, 999))),
        "scale": draw(st.floats(1.0, 100.0)),
        "groups": None if groups is None else torch.tensor(groups),
        "same_group": draw(st.sampled_from(["ignore", "positive"])),
        "banks": banks,
    }


@settings(max_examples=80, deadline=None)
@given(cases())
def test_value_and_gradients_are_those_of_the_definition(case):
    bank_a, bank_b = case["banks"]
    leaves = [case["z_a"].clone().requires_grad_(), case["z_b"].clone().requires_grad_()]
    scale = torch.tensor([case["scale"]], requires_grad=True)
    loss = info_nce(*leaves, scale, groups=case["groups"], same_group=case["same_group"], bank_a=bank_a, bank_b=bank_b)
    got = torch.autograd.grad(loss, [*leaves, scale])

    exact = [x.detach().double().requires_grad_() for x in (*leaves, scale)]
    double = [None if bank is None else (bank[0].double(), bank[1]) for bank in (bank_a, bank_b)]
    expected = naive(exact[0], exact[1], exact[2].squeeze(), case["groups"], case["same_group"], *double)
    wanted = torch.autograd.grad(expected, exact)

    assert loss.dtype == torch.float32
    assert loss.shape == ()
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-4)
    for gradient, reference in zip(got, wanted, strict=True):
        torch.testing.assert_close(gradient.double(), reference, rtol=1e-4, atol=2e-4)


def test_closed_forms():
    eye = torch.eye(4)
    one_group = torch.zeros(4, dtype=torch.long)
    assert info_nce(eye[:1], eye[:1], 10.0).item() == 0.0
    assert info_nce(torch.ones(4, 1), torch.ones(4, 1), 10.0).item() == pytest.approx(math.log(4))
    assert info_nce(eye, eye, 2.0).item() == pytest.approx(math.log(1 + 3 * math.exp(-2)))
    assert info_nce(eye, eye, 2.0, groups=one_group).item() == pytest.approx(0.0, abs=1e-6)
    assert info_nce(eye, eye, 2.0, groups=one_group, same_group="positive").item() == pytest.approx(
        math.log(math.exp(2) + 3) - 2 / 4
    )


def test_a_bank_of_only_the_own_group_changes_nothing():
    z_a, z_b = unit(3, 4, seed=0).requires_grad_(), unit(3, 4, seed=1)
    groups = torch.zeros(3, dtype=torch.long)
    bank = (unit(2, 4, seed=2), torch.zeros(2, dtype=torch.long))
    with_bank = info_nce(z_a, z_b, 100.0, groups=groups, bank_a=bank, bank_b=bank, same_group="positive")
    without = info_nce(z_a, z_b, 100.0, groups=groups, same_group="positive")
    (gradient,) = torch.autograd.grad(with_bank, z_a)
    assert with_bank.item() == without.item()
    assert gradient.isfinite().all()


def test_half_precision_inputs_are_scored_in_fp32_under_autocast():
    z_a, z_b = unit(6, 8, seed=0).bfloat16(), unit(6, 8, seed=1).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = info_nce(z_a, z_b, torch.tensor([50.0]), groups=torch.arange(6))
    assert loss.dtype == torch.float32
    assert loss.item() == info_nce(z_a.float(), z_b.float(), 50.0, groups=torch.arange(6)).item()


def test_no_row_is_zero_with_zero_gradients():
    z_a = torch.zeros(0, 4, requires_grad=True)
    scale = torch.tensor([3.0], requires_grad=True)
    loss = info_nce(z_a, torch.zeros(0, 4), scale)
    loss.backward()
    assert loss.item() == 0.0
    assert z_a.grad.shape == (0, 4)
    assert scale.grad.item() == 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"z_b": torch.eye(3)[:2]}, "z_b"),
        ({"z_b": torch.ones(3)}, "z_b"),
        ({"same_group": "drop"}, "same_group='drop'"),
        ({"groups": torch.arange(2)}, "groups"),
        ({"bank_a": (torch.eye(3), torch.arange(3))}, "bank needs groups"),
    ],
)
def test_what_does_not_belong_together_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        info_nce(**{"z_a": torch.eye(3), "z_b": torch.eye(3), "scale": 1.0, **options})


def assert_mean_over_ranks_is(whole, per_rank, *, sides):
    """Values and the scale's gradient averaged; gradients of rows, which live on one rank, averaged with zeros."""
    for name in ("loss", "scale"):
        mean = torch.stack([result[name] for result in per_rank]).mean(dim=0)
        torch.testing.assert_close(mean, whole[name], rtol=1e-5, atol=1e-6)
    for side in sides:
        if whole[side] is None:
            assert all(result[side] is None for result in per_rank)
        else:
            mean = torch.cat([result[side] for result in per_rank]) / len(per_rank)
            torch.testing.assert_close(mean, whole[side], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", list(two_ranks.LOSS_CASES))
def test_two_processes_average_to_one(ranks, name):
    whole = two_ranks.run_loss(two_ranks.LOSS_CASES[name], slice(None))
    assert_mean_over_ranks_is(whole, [result[name] for result in ranks], sides=("a", "b"))


def test_two_processes_average_to_one_over_several_pairs_that_a_rank_lacks(ranks):
    step = two_ranks.Step()
    whole = two_ranks.run_step(step, 0, step.num_rows)
    assert whole["loss"] > 0
    assert ranks[1]["several pairs"]["audio"].shape == (0, two_ranks.DIM)
    assert_mean_over_ranks_is(whole, [result["several pairs"] for result in ranks], sides=("image", "audio", "imu"))
