import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from bind.metrics import usable_information as module
from bind.metrics.usable_information import SCALES, usable_information


def unit(generator, num, dim=6):
    return normalize(torch.randn(num, dim, generator=generator), dim=-1)


def naive_bits(z_query, z_pool, query_groups, pool_groups, scale):
    """The whole matrix, as the definition says."""
    p_QN = (scale * (z_query.double() @ z_pool.double().T)).softmax(dim=1)
    relevant_QN = (query_groups[:, None] == pool_groups).double()
    return (p_QN * relevant_QN).sum(1).log2() - (relevant_QN.sum(1) / len(z_pool)).log2()


@pytest.mark.slow
@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**31), num_queries=st.integers(4, 30), num_items=st.integers(3, 20), groups=st.integers(2, 6)
)
def test_bits_are_those_of_the_definition_at_the_scale_of_the_other_half(seed, num_queries, num_items, groups):
    generator = torch.Generator().manual_seed(seed)
    z_query, z_pool = unit(generator, num_queries), unit(generator, num_items)
    query_groups = torch.randint(groups + 1, (num_queries,), generator=generator)  # one group may have no item
    pool_groups = torch.randint(groups, (num_items,), generator=generator)
    has_answer = torch.isin(query_groups, pool_groups)
    if len(query_groups[has_answer].unique()) < 2:
        with pytest.raises(ValueError, match="two groups"):
            usable_information(z_query, z_pool, query_groups, pool_groups)
        return
    information = usable_information(z_query, z_pool, query_groups, pool_groups)
    assert torch.equal(information.queries_Q, has_answer.nonzero().flatten())
    at_scale = torch.stack(
        [naive_bits(z_query[has_answer], z_pool, query_groups[has_answer], pool_groups, scale) for scale in SCALES]
    )
    half = query_groups[has_answer].unique(return_inverse=True)[1] % 2
    for which in (0, 1):
        chosen = SCALES.index(information.scales[which])
        assert at_scale[chosen, half != which].mean() == pytest.approx(float(at_scale[:, half != which].mean(1).max()))
        torch.testing.assert_close(
            information.bits_Q[half == which], at_scale[chosen, half == which], atol=1e-5, rtol=1e-5
        )
    assert information.bits == pytest.approx(float(information.bits_Q.mean()))


@pytest.mark.slow
def test_tiles_of_any_size_give_the_same(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    arguments = unit(generator, 50), unit(generator, 20), torch.arange(50) % 20, torch.arange(20)
    whole = usable_information(*arguments)
    monkeypatch.setattr(module, "_LOGITS_AT_ONCE", 60)
    tiled = usable_information(*arguments)
    torch.testing.assert_close(tiled.bits_Q, whole.bits_Q)


def test_full_information_is_the_logarithm_of_the_pool_and_noise_has_none():
    pool, groups = torch.eye(16), torch.arange(16)
    assert usable_information(pool, pool, groups, groups).bits == pytest.approx(4.0, abs=1e-4)
    twins = groups // 4  # four relevant items each: log2(16 / 4)
    of_groups = torch.eye(4)[twins]
    assert usable_information(of_groups, of_groups, twins, twins).bits == pytest.approx(2.0, abs=1e-4)
    generator = torch.Generator().manual_seed(0)
    assert abs(usable_information(unit(generator, 800, 16), pool, torch.arange(800) % 16, groups).bits) < 0.02


def test_half_of_the_bits_are_half_of_the_bits():
    # 16 items of 4 factors' words: queries that tell which four items it may be, and no more.
    pool = normalize(torch.cat([torch.eye(4).repeat_interleave(4, 0), torch.eye(4).repeat(4, 1)], dim=1), dim=1)
    query = normalize(torch.cat([torch.eye(4).repeat_interleave(4, 0), torch.zeros(16, 4)], dim=1), dim=1)
    assert usable_information(query, pool, torch.arange(16), torch.arange(16)).bits == pytest.approx(2.0, abs=1e-3)


def test_what_does_not_fit_is_refused():
    z, groups = torch.eye(4), torch.arange(4)
    with pytest.raises(ValueError, match="unit length"):
        usable_information(2 * z, z, groups, groups)
    with pytest.raises(ValueError, match="one integer per row"):
        usable_information(z, z, groups[:2], groups)
    with pytest.raises(ValueError, match="0 of 4 queries have one, of 0 groups"):
        usable_information(z, z, groups + 10, groups)
