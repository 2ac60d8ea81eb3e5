import pytest
import torch

from bind.evaluation.label_sets import LabelSet

OPTIONS = {
    "modalities": ["audio"],
    "templates": ["a {}", "the {}"],
    "classes": {"dog": ["dog", "puppy"], "cat": ["cat"]},
}


def label_set(labels=(), **changes):
    return LabelSet.of("pets", OPTIONS | changes, labels)


def test_every_template_meets_every_phrase():
    assert label_set().prompts == [["a dog", "a puppy", "the dog", "the puppy"], ["a cat", "the cat"]]


def test_a_list_of_labels_is_its_own_phrases_and_none_means_all_labels_there_are():
    assert label_set(classes=["cat", "dog"]).classes == {"cat": ("cat",), "dog": ("dog",)}
    assert list(label_set(["dog", None, "cat", "dog"], classes=None).classes) == ["cat", "dog"]
    assert list(label_set(["dog|cat", "cat|bird"], classes=None, multi_label=True).classes) == ["bird", "cat", "dog"]


def test_members():
    labels = ["cat", None, "bird", "dog|cat"]
    assert label_set().members(labels).int().tolist() == [[0, 1], [0, 0], [0, 0], [0, 0]]
    assert label_set(multi_label=True).members(labels).int().tolist() == [[0, 1], [0, 0], [0, 0], [1, 1]]


def test_a_class_is_the_label_of_the_data_in_whatever_unicode_form():
    assert label_set(classes=["cafe\u0301"]).members(["caf\u00e9"]).tolist() == [[True]]


def test_prompts_are_averaged_after_each_is_a_unit_vector():
    z = {"a cat": [1.0, 0.0], "the cat": [0.0, 1.0]}
    embedded = label_set(classes=["cat"]).embed(lambda texts: torch.tensor([z[text] for text in texts]))
    torch.testing.assert_close(embedded, torch.full((1, 2), 0.5**0.5))


def test_the_fingerprint_follows_the_prompts():
    assert label_set().fingerprint == label_set().fingerprint != label_set(templates=["a {}"]).fingerprint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"template": ["{}"]}, "template unknown or missing"),
        ({"templates": ["a dog"]}, "'a dog' has no {} for the class"),
        ({"classes": {"dog": []}}, "dog needs a list of phrases"),
        ({"classes": {"dog": "dog"}}, "dog needs a list of phrases"),
    ],
)
def test_refuses_what_is_not_right(changes, message):
    with pytest.raises(ValueError, match=message):
        label_set(**changes)


def test_refuses_labels_of_another_set_and_names_the_way_out():
    with pytest.raises(ValueError, match=r"data.zero_shot.pets: no sample .* prompts=NAME"):
        label_set().members(["bird", None])
