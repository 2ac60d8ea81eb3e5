import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from bind.metrics import class_embeddings, zero_shot


def test_counts_the_nearest_class():
    z_class = torch.eye(3)
    z_query = normalize(torch.tensor([[1.0, 0.1, 0], [0.2, 1, 0], [0.9, 0, 1.0], [1, 0, 0.2]]), dim=-1)
    figures = zero_shot(z_query, torch.tensor([0, 1, 2, 2]), z_class)
    assert figures.pop("ci95_top1") == [0.25, 1.0]
    assert (figures.pop("resampled"), figures.pop("clusters")) == ("queries", 4)
    assert {figures.pop(name) for name in ("top5", "chance_top5")} == {1.0}  # of three classes
    assert figures.pop("ci95_top5") == [1.0, 1.0]
    assert figures == {"top1": 0.75, "num_classes": 3, "chance": 1 / 3, "queries": 4}


def test_the_true_class_among_five_and_clusters_of_queries():
    z_class = torch.eye(8)
    z_query = normalize(torch.tensor([[8.0, 7, 6, 5, 4, 3, 2, 1]] * 4), dim=-1)
    figures = zero_shot(z_query, torch.tensor([0, 4, 4, 5]), z_class, clusters=np.array(["a", "b", "b", "b"]))
    assert (figures["top1"], figures["top5"], figures["chance_top5"]) == (0.25, 0.75, pytest.approx(5 / 8))
    assert (figures["resampled"], figures["clusters"]) == ("clusters", 2)
    assert figures["ci95_top1"] == [0, 1]


def test_agrees_with_argmax():
    generator = torch.Generator().manual_seed(0)
    z_class = normalize(torch.randn(10, 32, generator=generator), dim=-1)
    labels = torch.randint(10, (500,), generator=generator)
    z_query = normalize(z_class[labels] + 0.4 * torch.randn(500, 32, generator=generator), dim=-1)
    expected = ((z_query @ z_class.T).argmax(1) == labels).double().mean()
    assert 0.2 < expected < 0.95
    assert zero_shot(z_query, labels, z_class)["top1"] == pytest.approx(float(expected))


def test_a_tie_counts_as_wrong():
    assert zero_shot(torch.eye(2)[:1], torch.tensor([0]), torch.eye(2)[[0, 0]])["top1"] == 0.0


def test_class_embedding_is_the_normalised_mean_of_its_prompts():
    z = class_embeddings([torch.eye(2), torch.eye(2)[1:]])
    torch.testing.assert_close(z, torch.tensor([[0.5**0.5, 0.5**0.5], [0.0, 1.0]]))


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], "at least one class"),
        ([torch.eye(2), torch.empty(0, 2)], r"z_prompts\[1\]"),
        ([3 * torch.eye(2)], r"z_prompts\[0\]"),
        ([torch.tensor([[1.0, 0], [-1.0, 0]])], "class 0 cancel out"),
    ],
)
def test_refuses_classes_without_a_direction(prompts, message):
    with pytest.raises(ValueError, match=message):
        class_embeddings(prompts)


@pytest.mark.parametrize("label", [-1, 2])
def test_refuses_a_label_without_a_class(label):
    with pytest.raises(ValueError, match="labels must lie in 0 … 1"):
        zero_shot(torch.eye(2), torch.tensor([0, label]), torch.eye(2))
