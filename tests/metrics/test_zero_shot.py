import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from bind.metrics import class_embeddings, zero_shot
from bind.metrics.zero_shot import per_class, predicted_classes, rank_classes


def test_counts_the_nearest_class():
    z_class = torch.eye(3)
    z_query = normalize(torch.tensor([[1.0, 0.1, 0], [0.2, 1, 0], [0.9, 0, 1.0], [1, 0, 0.2]]), dim=-1)
    figures = zero_shot(z_query, torch.tensor([0, 1, 2, 2]), z_class)
    assert figures.pop("ci95_top1") == [0.0, 1.0]
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_classes_agree_with_scikit_learn_and_with_top1():
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    generator = torch.Generator().manual_seed(1)
    z_class = normalize(torch.randn(6, 8, generator=generator), dim=-1)
    labels = torch.randint(5, (300,), generator=generator)
    z_query = normalize(z_class[labels] + 0.5 * torch.randn(300, 8, generator=generator), dim=-1)
    ranking = rank_classes(z_query, labels, z_class)
    predicted = predicted_classes(ranking, z_query, labels, z_class)
    assert torch.equal(predicted, (z_query @ z_class.T).argmax(dim=1))
    names = list("abcdef")
    figures = per_class(labels, predicted, names)
    precision, recall, _, support = precision_recall_fscore_support(
        labels, predicted, labels=range(6), zero_division=np.nan
    )
    for k, name in enumerate(names[:5]):
        assert figures[name]["recall"] == pytest.approx(recall[k])
        assert figures[name]["precision"] == pytest.approx(precision[k])
        assert figures[name]["support"] == support[k]
    assert (figures["f"]["support"], figures["f"]["recall"], figures["f"]["taken_for"]) == (0, None, {})
    counts = [[figures[a]["taken_for"].get(b, 0) for b in names] for a in names]
    assert np.array_equal(counts, confusion_matrix(labels, predicted, labels=range(6)))
    assert np.trace(counts) / 300 == pytest.approx(zero_shot(z_query, labels, z_class)["top1"])


def test_a_tied_class_is_never_taken_for_the_true_one():
    z_query, labels, z_class = torch.eye(2)[:1], torch.tensor([0]), torch.eye(2)[[0, 0]]
    predicted = predicted_classes(rank_classes(z_query, labels, z_class), z_query, labels, z_class)
    assert predicted.tolist() == [1]
    assert per_class(labels, predicted, ["a", "b"])["a"]["precision"] is None
