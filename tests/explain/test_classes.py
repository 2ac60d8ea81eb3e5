import torch

from bind.explain.classes import explain_classes, explain_confusions
from bind.explain.concepts import ConceptVocabulary

VOCABULARY = ConceptVocabulary(["dog", "cat", "rain"], torch.eye(3), torch.zeros(3))
DOG, CAT, WET_DOG = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, 0.8]


def confusions(z_QD, labels, predicted):
    classes = ["dog", "cat"]
    return explain_confusions("audio", z_QD, z_QD, VOCABULARY, labels_Q=labels, predicted_Q=predicted, classes=classes)


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
