import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bind.evaluation.caption_wording import find_caption_wording, find_templates
from bind.types import Sample

CLASSES = ("dog", "door_knock", "rain")


@pytest.mark.parametrize(
    ("captions", "templates"),
    [
        (["a {}", "a {}", "a {}"], ("a {}",)),
        (["{}", "{}", "{}"], ("{}",)),
        (["A {} at night.", "A {} at night.", "the {}"], ("A {} at night.",)),  # one label says nothing of a template
        (["a {} one", "the {} two", "some {} three"], ()),
        (["a noise", "a noise", "a {}"], ()),
        (["{} {{}}", "{} {{}}", "{} {{}}"], ()),  # braces of its own
    ],
)
def test_templates_are_what_several_labels_share(captions, templates):
    said = [(label, caption.format(label.replace("_", " "))) for label, caption in zip(CLASSES, captions, strict=True)]
    assert find_templates(said) == templates


def test_a_label_is_a_word_in_any_capitals_or_underscores():
    assert find_templates([("cat", "Cat heard"), ("door_knock", "door_knock heard")]) == ("{} heard",)
    assert find_templates([("cat", "concatenate"), ("dog", "dogma")]) == ()


WORD = st.text(string.ascii_lowercase, min_size=3, max_size=8)


@pytest.mark.slow
@given(st.lists(WORD, min_size=2, max_size=5, unique=True), WORD, WORD)
def test_prompts_of_the_templates_are_the_captions(labels, before, after):
    captions = [(label, f"{before} {label} {after}") for label in labels]
    for template in find_templates(captions):
        assert sum(caption == template.replace("{}", label) for label, caption in captions) >= 2
    if before not in labels:
        assert find_templates(captions) == (f"{before} {{}} {after}",)


class Captioned:
    name = "captioned"

    def __init__(self, **samples):
        self.of_split = samples

    def modalities(self):
        return ("text",)

    def samples(self, split):
        return [Sample(f"{split}{i}", split, {"text": [t]}, label=c) for i, (c, t) in enumerate(self.of_split[split])]

    def fetch(self, split, indices, modalities, rngs):
        return [{"text": self.samples(split)[i].values["text"]} for i in indices]


def test_the_first_split_with_labelled_captions_counts():
    test = [("dog", "hear a dog"), ("cat", "hear a cat")]
    train = [("dog", "one dog"), ("cat", "one cat"), (None, "rain"), ("cat|dog", "both")]
    splits = ("train", "test")
    wording = find_caption_wording([Captioned(train=train, test=test)], splits)
    assert (wording.templates, wording.example) == (("one {}",), "one dog")
    assert find_caption_wording([Captioned(train=train[2:], test=test)], splits).templates == ("hear a {}",)
    assert find_caption_wording([Captioned(train=[], test=[])], splits) is None
