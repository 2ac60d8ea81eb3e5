"""Chunks of a batch: the same step with the activations of one chunk at a time."""

import weakref

import pytest
import torch
from support import tiny
from support.batches import make_batch
from torch import nn

from bind.losses import info_nce
from bind.model.binder import Binder
from bind.model.chunks import encode_in_chunks, refuse_batch_statistics
from bind.training.module import BindingModule
from bind.types import Pair

NUM_ROWS, WIDTH = 10, 6


def encoder(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(WIDTH, 32), nn.GELU(), nn.Dropout(dropout), nn.Linear(32, 4)).double()


def candidates() -> torch.Tensor:
    return nn.functional.normalize(torch.randn(NUM_ROWS, 4, generator=torch.Generator().manual_seed(3)).double(), dim=1)


def step(net: nn.Module, chunk_size: int | None, inputs) -> tuple[torch.Tensor, list[torch.Tensor]]:
    def encode(part):
        x = part["x"] * part["gain"] if isinstance(part, dict) else part
        return nn.functional.normalize(net(x), dim=-1)

    z = encode_in_chunks(encode, inputs, chunk_size)
    other = nn.functional.normalize(
        torch.randn(NUM_ROWS, 4, generator=torch.Generator().manual_seed(3)).double(), dim=1
    )
    loss = info_nce(z, other, 8.0)
    return loss, list(torch.autograd.grad(loss, list(net.parameters())))


@pytest.mark.parametrize("chunk_size", [1, 3, 5, 9, 10, 64])
@pytest.mark.parametrize("named", [False, True])
def test_value_and_gradients_are_those_of_the_whole_batch(chunk_size, named):
    x = torch.randn(NUM_ROWS, WIDTH, generator=torch.Generator().manual_seed(1)).double()
    inputs = {"x": x, "gain": torch.linspace(1, 2, NUM_ROWS).double()[:, None]} if named else x
    whole, gradients = step(encoder(), None, inputs)
    chunked, gradients_of_chunks = step(encoder(), chunk_size, inputs)
    torch.testing.assert_close(chunked, whole)
    for ours, theirs in zip(gradients_of_chunks, gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_dropout_is_the_same_in_both_passes():
    """With other masks in the replay the gradient would not be that of the value."""
    net, x = encoder(dropout=0.5), torch.randn(NUM_ROWS, WIDTH).double()
    torch.manual_seed(7)
    _, gradients = step(net, 4, x)
    torch.manual_seed(7)
    parts = [nn.functional.normalize(net(part), dim=-1) for part in x.split(4)]
    other = nn.functional.normalize(
        torch.randn(NUM_ROWS, 4, generator=torch.Generator().manual_seed(3)).double(), dim=1
    )
    expected = torch.autograd.grad(info_nce(torch.cat(parts), other, 8.0), list(net.parameters()))
    for ours, theirs in zip(gradients, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_activations_of_one_chunk_at_a_time():
    """Counted where they are made, in both passes: hidden activations (2, 32) of earlier chunks are gone by then."""
    net, outputs, most_alive = encoder(), [], []

    def count(_module, _inputs, output):
        most_alive.append(sum(ref() is not None for ref in outputs))
        outputs.append(weakref.ref(output))

    net[1].register_forward_hook(count)
    x = torch.randn(NUM_ROWS, WIDTH).double()
    encode_in_chunks(net, x, 2).sum().backward()
    assert len(outputs) == 2 * NUM_ROWS / 2
    assert max(most_alive) <= 1


@pytest.mark.slow
def test_a_modules_step_is_the_same(tmp_path):
    binder = Binder.from_config(tiny.binder_config(tiny.write_anchor(tmp_path)))
    batch, pairs = make_batch(binder), [Pair("imu", "image"), Pair("depth", "image")]
    results = []
    for chunk_size in (None, 1):
        module = BindingModule(binder.eval(), pairs, chunk_size=chunk_size)
        module.log = lambda *_, **__: None
        module.zero_grad()
        loss = module.training_step(batch, 0)
        loss.backward()
        results.append([loss.detach(), *(p.grad for p in module.parameters() if p.grad is not None)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.slow
def test_layers_that_mix_rows_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"data\.chunk_size: 1 would see .*GroupNorm"):
        refuse_batch_statistics(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    binder = Binder.from_config(tiny.binder_config(tiny.write_anchor(tmp_path)))
    with pytest.raises(ValueError, match=r"data\.chunk_size=0: give a number of rows"):
        BindingModule(binder, [Pair("imu", "image")], chunk_size=0)
    binder.encoders["imu"].norm = nn.BatchNorm1d(3)
    BindingModule(binder, [Pair("imu", "image")])
    with pytest.raises(ValueError, match=r"encoder\.imu\.norm"):
        BindingModule(binder, [Pair("imu", "image")], chunk_size=2)
