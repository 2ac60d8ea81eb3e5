"""What holds for every loss over pairs."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import loss_cases, two_ranks
from support.loss_cases import LOSS_CASES, LOSSES, LossCase, assert_close, unit
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import bind.losses
from bind.losses.grid import tile_rows
from bind.losses.pairs import loss_over_pairs

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 2**-8}

per_loss = pytest.mark.parametrize("name", LOSSES)
per_case = pytest.mark.parametrize("case_name", list(LOSS_CASES))


def call(name, z_a, z_b, scale=10.0, bias=-3.0, **options):
    scalars = (scale,) if name == "info_nce" else (scale, bias)
    return getattr(bind.losses, name)(z_a, z_b, *scalars, **options)


@per_loss
@per_case
def test_one_process_gives_the_value_and_gradients_of_the_definition(name, case_name):
    case = LOSS_CASES[case_name]
    exact = loss_cases.run(name, case, slice(None), naive=True)
    for rows_per_tile in (1, 3, 4, 100):
        with loss_cases.small_tiles(rows_per_tile):
            computed = loss_cases.run(name, case, slice(None))
        assert computed["loss"].dtype == (torch.float64 if case.dtype == torch.float64 else torch.float32)
        assert_close(computed, exact, TOLERANCE[case.dtype])


@per_loss
@per_case
@pytest.mark.parametrize("fixture", ["ranks", "four_ranks"])
@pytest.mark.ranks
def test_several_processes_average_to_the_definition(request, fixture, name, case_name):
    results = [result[f"{name}, {case_name}"] for result in request.getfixturevalue(fixture)]
    case = LOSS_CASES[case_name]
    mean = {}
    for key in results[0]:
        computed = [result[key] for result in results]
        if key in case.frozen:
            mean[key] = None
        elif key in ("a", "b"):  # a row lives on one rank, and the others add nothing to the mean
            mean[key] = torch.cat([x for x in computed if x is not None]).double() / len(computed)
        else:
            mean[key] = torch.stack(computed).double().mean(dim=0)
    assert_close(mean, loss_cases.run(name, case, slice(None), naive=True), TOLERANCE[case.dtype])


def test_two_processes_average_to_one_over_several_pairs_that_a_rank_lacks(ranks):
    step = two_ranks.Step()
    whole = two_ranks.run_step(step, 0, step.num_rows)
    results = [result["several pairs"] for result in ranks]
    assert whole["loss"] > 0
    assert results[1]["audio"].shape == (0, loss_cases.DIM)
    for key in ("loss", "scale"):
        torch.testing.assert_close(torch.stack([r[key] for r in results]).mean(dim=0), whole[key])
    for side in ("audio", "imu"):
        torch.testing.assert_close(torch.cat([r[side] for r in results]) / 2, whole[side], rtol=1e-5, atol=1e-7)
    assert whole["image"] is None


@st.composite
def cases(draw):
    num_rows = draw(st.integers(0, 7))
    groups = draw(st.none() | st.lists(st.integers(0, 3), min_size=num_rows, max_size=num_rows).map(tuple))
    return LossCase(
        counts=(num_rows, 0, 0, 0),
        groups=groups,
        same_group=draw(st.sampled_from(["ignore", "positive"])),
        frozen=draw(st.sampled_from(["", "a", "b", "ab"])),
        scale=draw(st.floats(1.0, 30.0)),
        dtype=torch.float64,
    )


@pytest.mark.slow
@per_loss
@settings(max_examples=60)
@given(case=cases(), rows_per_tile=st.integers(1, 8))
def test_any_batch_in_any_tiles_is_the_definition(name, case, rows_per_tile):
    with loss_cases.small_tiles(rows_per_tile):
        assert_close(
            loss_cases.run(name, case, slice(None)),
            loss_cases.run(name, case, slice(None), naive=True),
            tolerance=1e-9,
        )


@pytest.mark.slow
@per_loss
@settings(max_examples=40)
@given(case=cases(), random=st.randoms(use_true_random=False))
def test_neither_the_order_of_rows_nor_of_sides_nor_the_names_of_groups_matter(name, case, random):
    z_a, z_b, options = loss_cases.inputs(case)
    loss = call(name, z_a, z_b, **options)
    order = torch.tensor(random.sample(range(len(z_a)), len(z_a)), dtype=torch.long)
    shuffled = dict(options)
    if "groups" in options:
        shuffled["groups"] = 7 - options["groups"][order]
    torch.testing.assert_close(call(name, z_a[order], z_b[order], **shuffled), loss)
    torch.testing.assert_close(call(name, z_b, z_a, **options), loss)


@pytest.mark.slow
@per_loss
@pytest.mark.parametrize("same_group", ["ignore", "positive"])
def test_gradients_agree_with_finite_differences(name, same_group):
    groups = torch.tensor([0, 1, 1, 2])
    scalars = [torch.tensor([x], dtype=torch.float64, requires_grad=True) for x in (4.0, -1.0)]
    leaves = [unit(4, 5, seed=i).double().requires_grad_() for i in range(2)]

    def loss(*tensors):
        return call(name, *tensors, groups=groups, same_group=same_group)

    torch.autograd.gradcheck(loss, (*leaves, *scalars))


@pytest.mark.slow
@per_loss
@pytest.mark.parametrize("scale", [1.0, 14.0, 60.0, 100.0])
def test_hundreds_of_rows_are_as_exact_as_the_matrix_of_all_pairs(name, scale):
    case = LossCase((301, 0, 0, 0), groups=tuple(i % 290 for i in range(301)), scale=scale)
    for rows_per_tile in (64, 1000):
        with loss_cases.small_tiles(rows_per_tile):
            computed = loss_cases.run(name, case, slice(None))
        assert_close(computed, loss_cases.run(name, case, slice(None), naive=True))


LEFT_FACTOR = {"mm": 0, "addmm": 1, "addmm_": 1, "bmm": 0}


class Watch(TorchDispatchMode):
    """Counts multiply-adds of matrix products, and the bytes of the largest tensor."""

    def __init__(self):
        super().__init__()
        self.num_multiplications = 0
        self.num_bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if (left := LEFT_FACTOR.get(func.overloadpacket.__name__)) is not None:
            self.num_multiplications += args[left].numel() * args[left + 1].shape[-1]
        sizes = [x.untyped_storage().nbytes() for x in tree_leaves(out) if isinstance(x, torch.Tensor)]
        self.num_bytes = max(self.num_bytes, *sizes, 0)
        return out


@per_loss
@pytest.mark.parametrize(("frozen", "num_products"), [("", 3), ("a", 2), ("b", 2), ("ab", 1)])
def test_a_frozen_side_costs_no_product(name, frozen, num_products):
    num_rows, dim = 300, 8
    z_a, z_b = (unit(num_rows, dim, seed=i).requires_grad_("ab"[i] not in frozen) for i in range(2))
    with loss_cases.small_tiles(num_rows), Watch() as watch:
        loss = call(name, z_a, z_b)
        if frozen != "ab":
            loss.backward()
    assert watch.num_multiplications / (num_rows * num_rows * dim) == pytest.approx(num_products, abs=0.05)


@pytest.mark.slow
@per_loss
@pytest.mark.parametrize("same_group", ["ignore", "positive"])
def test_no_tensor_is_larger_than_a_tile_or_a_side(name, same_group):
    num_rows, dim, rows_per_tile = 600, 32, 24
    z_a, z_b = (unit(num_rows, dim, seed=i).requires_grad_() for i in range(2))
    options = {"groups": torch.arange(num_rows) // 2, "same_group": same_group}
    with loss_cases.small_tiles(rows_per_tile), Watch() as watch:
        call(name, z_a, z_b, **options).backward()
    assert 4 * num_rows * rows_per_tile < watch.num_bytes <= 4 * num_rows * dim


@pytest.mark.parametrize("num_columns", [0, 1, 1000, 2**14, 2**20])
def test_tiles_grow_with_the_rows_and_not_with_the_pairs(num_columns):
    for device in ("cpu", "cuda"):
        rows = tile_rows(num_columns, torch.device(device))
        assert rows >= 128
        assert rows * num_columns <= max(2**26, 128 * num_columns)


@per_loss
def test_half_precision_is_scored_in_fp32_under_autocast(name):
    z_a, z_b = (unit(6, 8, seed=i).bfloat16().requires_grad_() for i in range(2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = call(name, z_a, z_b, 50.0, groups=torch.arange(6))
        loss.backward()
    exact = [z.detach().float().requires_grad_() for z in (z_a, z_b)]
    expected = call(name, *exact, 50.0, groups=torch.arange(6))
    expected.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == expected.item()
    for z, reference in zip((z_a, z_b), exact, strict=True):
        assert z.grad.dtype == torch.bfloat16
        assert torch.equal(z.grad, reference.grad.bfloat16())


@per_loss
def test_backward_scales_and_can_be_repeated(name):
    z_a, z_b = unit(5, 4, seed=0).requires_grad_(), unit(5, 4, seed=1)
    loss = call(name, z_a, z_b)
    (once,) = torch.autograd.grad(loss, z_a, retain_graph=True)
    (thrice,) = torch.autograd.grad(3 * loss, z_a)
    torch.testing.assert_close(thrice, 3 * once)
    with torch.no_grad():
        assert not call(name, z_a, z_b).requires_grad


@pytest.mark.slow
@per_loss
def test_a_compiled_step_is_the_same_step(name):
    z_a, z_b = unit(5, 4, seed=0).requires_grad_(), unit(5, 4, seed=1)

    def step(x):
        return 2 * call(name, torch.nn.functional.normalize(x + 1, dim=1), z_b)

    compiled = torch.compile(step, backend="aot_eager")
    for computed, wanted in zip(*(torch.autograd.grad(f(z_a), z_a) for f in (compiled, step)), strict=True):
        torch.testing.assert_close(computed, wanted)


@per_loss
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"z_b": torch.eye(3)[:2]}, "z_b"),
        ({"z_b": torch.ones(3)}, "z_b"),
        ({"same_group": "drop"}, "same_group='drop'"),
        ({"groups": torch.arange(2)}, "groups"),
    ],
)
def test_what_does_not_belong_together_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        call(name, **{"z_a": torch.eye(3), "z_b": torch.eye(3), **options})


def test_products_are_whole_fp32_whatever_the_run_allows_its_encoders():
    seen = []

    def kernel(grid, scalars, gradients):
        seen.append(torch.get_float32_matmul_precision())
        return torch.zeros((), dtype=torch.float64)

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        loss_over_pairs(kernel, torch.eye(2), torch.eye(2), scalars=(1.0,), groups=None, same_group="ignore")
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)
    assert seen == ["highest"]
