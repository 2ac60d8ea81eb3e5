import pytest
import torch
from support.loss_cases import MASKED_CASES, masked_batch

from bind.losses.masked import choose_masked, masked_errors, mean_masked_error, standardise_patches


def naive_loss(predicted, patches, is_masked):
    """One patch after the other."""
    errors = []
    for b, place in is_masked.nonzero().tolist():
        patch = patches[b, place].double()
        target = (patch - patch.mean()) / (((patch - patch.mean()) ** 2).mean() + 1e-6).sqrt()
        errors.append(
            sum((p - t) ** 2 for p, t in zip(predicted[b, place].double(), target, strict=True)) / len(target)
        )
    return sum(errors) / len(errors) if errors else torch.zeros((), dtype=torch.float64)


@pytest.mark.parametrize("seed", range(8))
def test_the_loss_is_that_of_a_loop_over_masked_patches(seed):
    predicted, patches, is_masked = masked_batch(seed)
    errors = masked_errors(predicted, standardise_patches(patches), is_masked)
    assert errors.shape == (len(patches), 2)
    loss = mean_masked_error(errors)
    assert loss.item() == pytest.approx(naive_loss(predicted, patches, is_masked).item(), rel=1e-5)
    (grad,) = torch.autograd.grad(loss, predicted)
    assert bool((grad[~is_masked] == 0).all()), "what was seen costs nothing"


def test_no_masked_patch_is_no_loss_and_keeps_its_graph():
    predicted, patches, is_masked = masked_batch(0)
    loss = mean_masked_error(masked_errors(predicted, standardise_patches(patches), torch.zeros_like(is_masked)))
    assert loss.item() == 0.0
    assert loss.requires_grad


def test_a_patch_of_one_value_has_nothing_to_predict():
    target = standardise_patches(torch.full((1, 2, 4), 3.0))
    assert torch.equal(target, torch.zeros(1, 2, 4))


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.99])
def test_the_share_is_hidden_of_what_is_there_and_never_all(share):
    is_there = torch.rand(64, 9, generator=torch.Generator().manual_seed(0)) < 0.6
    is_there[:3] = torch.tensor([[False] * 9, [True] + [False] * 8, [True] * 9])
    noise = torch.rand(64, 9, generator=torch.Generator().manual_seed(1))
    is_masked = choose_masked(noise, is_there, share)
    assert not (is_masked & ~is_there).any()
    for of_row, there in zip(is_masked.sum(dim=1).tolist(), is_there.sum(dim=1).tolist(), strict=True):
        assert of_row == (min(max(1, round(share * there)), there - 1) if there > 1 else 0)
    other = choose_masked(noise.roll(1, dims=0), is_there, share)
    assert share == 0.99 or not torch.equal(other, is_masked), "the noise decides"


@pytest.mark.ranks
@pytest.mark.parametrize("name", MASKED_CASES)
def test_processes_agree_with_one_however_many_patches_each_has(name, four_ranks):
    predicted, patches, is_masked = masked_batch(3)
    if name == "nothing is hidden":
        is_masked = torch.zeros_like(is_masked)
    loss = mean_masked_error(masked_errors(predicted, standardise_patches(patches), is_masked))
    (grad,) = torch.autograd.grad(loss, predicted)
    results = [of_rank[f"masked {name}"] for of_rank in four_ranks]
    losses, grads = zip(*results, strict=True)
    torch.testing.assert_close(torch.stack(losses).mean(), loss.detach())
    torch.testing.assert_close(torch.cat(grads) / len(grads), grad)
