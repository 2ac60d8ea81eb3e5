import torch

from bind.explain.class_tables import class_cells, confusion_cells
from bind.explain.classes import explain_classes, explain_confusions
from bind.explain.classes_page import write_classes_page
from bind.explain.concepts import ConceptVocabulary

VOCABULARY = ConceptVocabulary(["dog", "cat", "rain"], torch.eye(3), torch.zeros(3))
DOG, CAT, WET_DOG = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, 0.8]


def confusions(z_QD, labels, predicted, **options):
    classes = ["dog", "cat"]
    options |= {"labels_Q": labels, "predicted_Q": predicted, "classes": classes}
    return explain_confusions("audio", z_QD, z_QD, VOCABULARY, **options)


def test_a_confusion_has_the_words_that_the_confused_samples_have_more_of():
    z_QD = torch.tensor([DOG] * 5 + [WET_DOG] * 3 + [CAT] * 4)
    labels = [0] * 8 + [1] * 4
    predicted = [0] * 5 + [1] * 3 + [1] * 4
    (confusion,) = confusions(z_QD, labels, predicted)
    assert (confusion.label, confusion.taken_for) == ("dog", "cat")
    assert (confusion.num_samples, confusion.num_of_label) == (3, 8)
    assert confusion.more[0][0] == "rain"
    assert confusion.less[0][0] == "dog"


def test_a_confusion_of_few_samples_or_of_a_class_that_is_never_right_is_left_out():
    z_QD = torch.tensor([DOG, WET_DOG, WET_DOG, CAT])
    assert confusions(z_QD, [0, 0, 0, 1], [0, 1, 1, 1]) == []
    assert confusions(z_QD, [0, 0, 0, 1], [1, 1, 1, 1]) == []


def test_samples_without_a_label_are_no_class_but_count_in_the_mean():
    z_ND = torch.tensor([DOG, DOG, CAT, CAT])
    (only,) = explain_classes("audio", z_ND, ["dog", "dog", None, None], VOCABULARY)
    assert (only.label, only.num_samples, only.concepts[0][0]) == ("dog", 2, "dog")


def test_classes_stand_in_the_order_of_their_label_set_and_others_behind():
    z_ND = torch.tensor([DOG, DOG, CAT, CAT, WET_DOG])
    labels = ["dog", "ant", "cat", "bee", None]
    classes = explain_classes("audio", z_ND, labels, VOCABULARY, order=["dog", "gnu", "cat", "dog"])
    assert [each.label for each in classes] == ["dog", "cat", "ant", "bee"]


def test_a_confusion_says_its_label_set_where_there_are_several(tmp_path):
    z_QD = torch.tensor([DOG] * 5 + [WET_DOG] * 3 + [CAT] * 4)
    labels, predicted = [0] * 8 + [1] * 4, [0] * 5 + [1] * 7
    both = [each for name in ("pets", "all") for each in confusions(z_QD, labels, predicted, label_set=name)]
    cells = confusion_cells(both, "test", ["pets", "all"])
    assert cells.headers == ("taken", "label set", "samples", "more of", "less of")
    assert [row[:3] for row in cells.sections["audio"]] == [
        ("dog for cat", "pets", "3 of 8"), ("dog for cat", "all", "3 of 8"),
    ]  # fmt: skip
    alone = confusion_cells(both[:1], "test", ["pets"])
    assert "label set" not in alone.headers
    assert alone.sections["audio"][0][:2] == ("dog for cat", "3 of 8")

    classes = class_cells(explain_classes("audio", z_QD, [None] * 8 + ["cat"] * 4, VOCABULARY), "test")
    write_classes_page(tmp_path / "classes.html", classes, cells, [], ["dog", "rain & wind"])
    page = (tmp_path / "classes.html").read_text()
    assert '<td>pets</td><td class="number">3 of 8</td>' in page
    assert '<td>cat</td><td class="number">4</td>' in page
