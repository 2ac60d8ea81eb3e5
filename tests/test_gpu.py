"""What a GPU computes is what the CPU computes. `BIND_TEST_DEVICE=cpu` runs the same tests without one."""

import os

import pytest
import torch
from support import tiny
from support.batches import make_batch
from torch.nn.functional import normalize

from bind.evaluation.embedded import EmbeddedSplit
from bind.fusion.late import LateFusion
from bind.losses import info_nce, sigmoid_loss
from bind.metrics import rank_by_cosine
from bind.metrics.zero_shot import predicted_classes, rank_classes
from bind.model.binder import Binder
from bind.training.module import BindingModule
from bind.types import Pair

pytestmark = pytest.mark.gpu
PAIRS = [Pair("imu", "image", temperature=0.1), Pair("depth", "image", weight=2.0)]


@pytest.fixture(scope="module")
def device():
    """The GPU, or what `BIND_TEST_DEVICE` names."""
    name = os.environ.get("BIND_TEST_DEVICE", "cuda")
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    return torch.device(name)


@pytest.fixture
def binder(tmp_path):
    return Binder.from_config(tiny.binder_config(tiny.write_anchor(tmp_path / "anchor")))


def unit(*shape, seed=0):
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def biased_sigmoid_loss(z_a, z_b, scale, groups):
    return sigmoid_loss(z_a, z_b, scale, -5.0, groups=groups)


@pytest.mark.parametrize("scale", [10.0, 100.0])
@pytest.mark.parametrize("loss", [info_nce, biased_sigmoid_loss])
def test_a_loss_and_its_gradients_are_those_of_the_cpu(loss, scale, device):
    groups = torch.arange(700) // 2
    values = []
    for place in ("cpu", device):
        z_a, z_b = (unit(700, 32, seed=seed).to(place).requires_grad_() for seed in (0, 1))
        value = loss(z_a, z_b, torch.tensor(scale, device=place), groups=groups.to(place))
        value.backward()
        values.append([x.detach().cpu() for x in (value, z_a.grad, z_b.grad)])
    for ours, theirs in zip(*values, strict=True):
        torch.testing.assert_close(theirs, ours, rtol=1e-3, atol=1e-6)


def test_a_ranking_is_that_of_the_cpu(device):
    z_pool, groups = unit(5000, 32), torch.arange(5000) // 3
    z_query = normalize(z_pool[:400] + 0.5 * unit(400, 32, seed=1), dim=-1)
    here = rank_by_cosine(z_query, z_pool, groups[:400], groups)
    there = rank_by_cosine(z_query.to(device), z_pool.to(device), groups[:400], groups).cpu()
    assert torch.equal(here.ranks_Q, there.ranks_Q)
    assert torch.equal(here.num_found_QK, there.num_found_QK)


def test_classes_are_ranked_on_the_device(device):
    z_class, labels = unit(7, 8), torch.arange(300) % 7
    z_query = normalize(z_class[labels] + unit(300, 8, seed=1), dim=-1)
    predicted = []
    for place in ("cpu", device):
        z, classes = z_query.to(place), z_class.to(place)
        ranking = rank_classes(z, labels, classes).cpu()
        predicted.append(predicted_classes(ranking, z, labels, classes))
    assert torch.equal(*predicted)


def test_scores_of_a_late_fusion_are_those_of_the_cpu(device):
    fusion = LateFusion(inputs=["imu", "depth"], method="rrf")
    query, pool = {m: unit(9, 8, seed=i) for i, m in enumerate(("imu", "depth"))}, {"image": unit(50, 8, seed=2)}
    scores = []
    for place in ("cpu", device):
        z_q, z_p = ({m: z.to(place) for m, z in side.items()} for side in (query, pool))
        present_q, present_p = (
            {m: torch.ones(len(z), dtype=torch.bool, device=place) for m, z in side.items()} for side in (z_q, z_p)
        )
        scores.append(fusion.scores(z_q, z_p, present_q, present_p).cpu())
    torch.testing.assert_close(scores[1], scores[0], rtol=1e-4, atol=1e-5)


def test_a_split_is_ranked_on_the_device(device):
    vectors, rows = {"a": unit(60, 8), "b": unit(60, 8, seed=1)}, {m: torch.arange(60) for m in "ab"}
    keys, groups = [str(i) for i in range(60)], torch.arange(60)
    figures = [
        EmbeddedSplit(keys, groups, vectors, rows, place).retrieval("a", "b", one_per_group=False)
        for place in ("cpu", device)
    ]
    assert figures[0] == figures[1]


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_is_that_of_the_cpu(fused, device, tmp_path):
    options = {"fusion": {"_target_": "bind.fusion.early.EarlyFusion", "inputs": ["imu", "depth"]}} if fused else {}
    config = tiny.binder_config(tiny.write_anchor(tmp_path / "anchor"), **options)
    pairs = [*PAIRS, Pair("imu_and_depth", "image")] if fused else PAIRS
    losses = []
    for place in ("cpu", device):
        torch.manual_seed(0)
        binder = Binder.from_config(config)
        module = BindingModule(binder, pairs).eval().to(place)
        batch = make_batch(binder)
        if torch.cuda.is_available():
            batch = batch.pin_memory()
        batch = batch.to(place, non_blocking=True)
        losses.append({name: x.item() for name, x in module.losses(batch, module(batch)).items()})
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_the_loss_of_a_step_waits_for_the_device_once(device, binder):
    module = BindingModule(binder, PAIRS).to(device)
    batch = make_batch(binder).to(device)
    embeddings = module(batch)
    kinds = torch.profiler.ProfilerActivity
    activities = [kinds.CPU, *([kinds.CUDA] if device.type == "cuda" else [])]
    with torch.profiler.profile(activities=activities) as profile:
        torch.stack([*module.losses(batch, embeddings).values()]).sum().backward()
    waits = [event.name for event in profile.events() if event.name == "cudaStreamSynchronize"]
    reads = [event.name for event in profile.events() if event.name in ("aten::_local_scalar_dense", "aten::nonzero")]
    assert (len(waits) <= 1, reads) == (True, [])
