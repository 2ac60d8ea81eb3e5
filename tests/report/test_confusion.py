import numpy as np
import pytest
import torch
from PIL import Image

from bind.metrics.zero_shot import per_class
from bind.report.confusion import MAX_CLASSES, confusions, plot_confusion


def figures(num_classes, num_queries=2000):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(num_classes, (num_queries,), generator=generator)
    other = torch.randint(num_classes, (num_queries,), generator=generator)
    is_right = torch.rand(num_queries, generator=generator) < torch.linspace(0, 1, num_classes)[labels]
    return per_class(labels, torch.where(is_right, labels, other), [f"class {k}" for k in range(num_classes)])


@pytest.mark.slow
@pytest.mark.parametrize("num_classes", [2, 50])
def test_draws_few_classes_and_many(num_classes, tmp_path):
    entry = {"per_class": figures(num_classes), "label_set": "esc50"}
    png = plot_confusion("audio/esc50", entry, "test", tmp_path / "confusion.png")
    width, height = Image.open(png).size
    assert 500 < width < 2000
    assert 400 < height < 2000


def test_of_many_classes_the_worst_are_drawn_and_nothing_is_lost():
    many = figures(100)
    names, counts = confusions(many)
    assert len(names) == MAX_CLASSES
    assert max(many[name]["recall"] for name in names) <= min(
        entry["recall"] for name, entry in many.items() if name not in names
    )
    assert counts.sum(axis=1).tolist() == [many[name]["support"] for name in names]
    assert np.diag(counts).tolist() == [many[name]["taken_for"].get(name, 0) for name in names]


def test_classes_without_queries_have_no_row():
    names, counts = confusions(per_class(torch.tensor([0, 0]), torch.tensor([0, 2]), ["a", "b", "c"]))
    assert names == ["a"]
    assert counts.tolist() == [[1, 1]]
