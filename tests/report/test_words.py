import pytest
import torch
from torch.nn.functional import normalize

from bind.evaluation.embedded import EmbeddedSplit
from bind.report.words import NUM_GALLERIES, word_galleries

LABELS = ["dog", "cat", None, "rain", "dog", "bird"]
CLASSES = ["dog", "cat", "rain"]


def embed_text(texts):
    """The class that a text names, as a direction of its own."""
    names = [text.split()[-1] for text in texts]
    return torch.eye(4)[[CLASSES.index(name) if name in CLASSES else 3 for name in names]]


def split_with(*modalities):
    directions = [0, 1, 2, 0, 0, 3]  # the rain sounds like a dog
    z = normalize(torch.eye(4)[directions] + 0.1, dim=1)
    rows = torch.arange(len(LABELS))
    return EmbeddedSplit([*"abcdef"], torch.arange(6), dict.fromkeys(modalities, z), dict.fromkeys(modalities, rows))


def galleries(split, label_sets, num_queries=9, encoded=("audio", "imu", "depth")):
    return word_galleries(split, encoded, LABELS, label_sets, embed_text=embed_text, num_queries=num_queries)


SOUNDS = {"modalities": ["image", "audio"], "templates": ["the sound of {}", "{}"], "classes": CLASSES}


def test_a_sound_has_the_words_of_its_class_first():
    [gallery] = galleries(split_with("image", "audio"), {"sounds": SOUNDS})
    assert (gallery.query, gallery.words) == ("audio", ["the sound of dog", "the sound of cat", "the sound of rain"])
    assert [row.position for row in gallery.rows] == [0, 1, 3, 4], "samples without a class have no right answer"
    assert [gallery.words[row.hits[0].position] for row in gallery.rows] == [
        "the sound of dog", "the sound of cat", "the sound of dog", "the sound of dog",
    ]  # fmt: skip
    assert [row.hits[0].relevant for row in gallery.rows] == [True, True, False, True]
    assert [[hit.relevant for hit in row.hits].count(True) for row in gallery.rows] == [1, 1, 1, 1]
    for row in gallery.rows:
        assert [hit.score for hit in row.hits] == sorted((hit.score for hit in row.hits), reverse=True)


@pytest.mark.parametrize(
    ("modalities", "label_sets", "num"),
    [
        (("audio", "text"), {"sounds": SOUNDS}, 0),  # captions are better words
        (("audio",), None, 0),
        (("audio",), {}, 1),  # the labels are the classes
        (("audio", "imu", "depth"), {}, NUM_GALLERIES),
        (("image",), {"sounds": SOUNDS}, 0),  # the anchor's own
        (("audio",), {"sounds": SOUNDS, "other": SOUNDS}, 1),
    ],
)
def test_who_has_a_gallery_of_words(modalities, label_sets, num):
    assert len(galleries(split_with(*modalities), label_sets)) == num
    assert galleries(split_with(*modalities), label_sets, num_queries=0) == []


def test_sentences_of_other_samples_are_no_captions():
    split = split_with("audio")
    sentences = EmbeddedSplit(
        [*"abcdefg"],
        torch.arange(7),
        {**split.z, "text": split.z["audio"][:1]},
        {**split.rows, "text": torch.tensor([6])},
    )
    labels = [*LABELS, None]
    [gallery] = word_galleries(sentences, ["audio"], labels, {"s": SOUNDS}, embed_text=embed_text, num_queries=2)
    assert gallery.words[0] == "the sound of dog"


def test_labels_are_in_the_words_that_the_figures_have():
    split = split_with("audio")
    templates = {"audio": ["i hear a {}", "a {}"]}
    [gallery] = word_galleries(split, ["audio"], LABELS, {}, embed_text=embed_text, num_queries=2, templates=templates)
    assert gallery.words == ["i hear a bird", "i hear a cat", "i hear a dog", "i hear a rain"]
