"""What every fusion that makes an embedding promises."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from bind.fusion.attention import AttentionFusion
from bind.fusion.early import EarlyFusion

INPUTS = ["audio", "imu", "depth"]
DIM = 8


def trained_attention() -> AttentionFusion:
    fusion = AttentionFusion(inputs=INPUTS, dim=DIM)
    for parameter in fusion.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    return fusion.eval()


FUSIONS = {
    "early": EarlyFusion(inputs=INPUTS),
    "weighted": EarlyFusion(inputs=INPUTS, weights={"audio": 2.0, "depth": 0.5}),
    "attention": trained_attention(),
}

batches = st.lists(st.integers(1, 2 ** len(INPUTS) - 1), min_size=1, max_size=6)
"""Each row as a bit mask of the modalities that it has: never none."""


def make(rows: list[int], seed: int = 0) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    z = {m: normalize(torch.randn(len(rows), DIM, generator=generator), dim=-1) for m in INPUTS}
    return z, {m: torch.tensor([bool(row >> i & 1) for row in rows]) for i, m in enumerate(INPUTS)}


@pytest.fixture(params=FUSIONS, scope="module")
def fusion(request):
    return FUSIONS[request.param]


def test_the_name_joins_the_inputs(fusion):
    assert fusion.name == "audio_and_imu_and_depth"


@pytest.mark.slow
@settings(max_examples=20)
@given(rows=batches)
def test_the_result_has_unit_norm_and_is_the_input_where_there_is_one(fusion, rows):
    z, present = make(rows)
    fused = fusion(z, present)
    torch.testing.assert_close(fused.norm(dim=-1), torch.ones(len(rows)), atol=1e-5, rtol=0)
    for i, m in enumerate(INPUTS):
        alone = torch.tensor([row == 1 << i for row in rows])
        torch.testing.assert_close(fused[alone], z[m][alone], atol=1e-5, rtol=0)


@pytest.mark.slow
@settings(max_examples=20)
@given(rows=batches, garbage=st.sampled_from([float("nan"), float("inf"), -7.0]))
def test_what_missing_rows_hold_changes_nothing(fusion, rows, garbage):
    z, present = make(rows)
    spoiled = {m: z[m].masked_fill(~present[m][:, None], garbage) for m in INPUTS}
    assert torch.equal(fusion(spoiled, present), fusion(z, present))


@pytest.mark.slow
@settings(max_examples=20)
@given(rows=batches, data=st.data())
def test_rows_do_not_depend_on_each_other(fusion, rows, data):
    z, present = make(rows)
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=6))
    part = fusion({m: z[m][chosen] for m in INPUTS}, {m: present[m][chosen] for m in INPUTS})
    torch.testing.assert_close(part, fusion(z, present)[chosen], atol=1e-6, rtol=1e-5)
