import numpy as np
import pytest

from bind.data.sources.phrases import SIZE_PX, PhraseSource, print_phrase

CORPUS = ["a photo of a dog, or a cat", "walking upstairs and downstairs"]


def phrases(source, split):
    return [row["text"][0] for row in source.fetch(split, range(len(source.samples(split))), ["text"], None)]


def test_phrases_are_of_the_corpus_and_in_one_split_each():
    source = PhraseSource(CORPUS, num_train=40, num_held_out=10)
    splits = {split: phrases(source, split) for split in ("train", "val", "test")}
    assert [len(texts) for texts in splits.values()] == [40, 10, 10]
    everything = [text for texts in splits.values() for text in texts]
    assert len(set(everything)) == 60
    words = {word for line in CORPUS for word in line.replace(",", "").split()}
    assert {word for text in everything for word in text.split()} <= words
    assert splits["val"] == phrases(PhraseSource(CORPUS, num_train=40, num_held_out=10), "val")
    with pytest.raises(ValueError, match="not 'dev'"):
        source.samples("dev")


@pytest.mark.slow
def test_the_picture_holds_the_whole_phrase():
    assert print_phrase("walking upstairs", None).shape == (SIZE_PX, SIZE_PX, 3)
    for text in phrases(PhraseSource(CORPUS, num_train=40, num_held_out=10), "train"):
        ink = print_phrase(text, None).min(axis=2) < 128
        assert ink.any()
        assert not ink[-1].any(), f"{text!r} runs out of the picture"


def test_only_training_pictures_move():
    source = PhraseSource(CORPUS, num_train=4, num_held_out=2)
    seen = [source.fetch("train", [0], ["image"], [np.random.default_rng(s)])[0]["image"][0] for s in (0, 0, 1)]
    np.testing.assert_array_equal(seen[0], seen[1])
    assert (seen[0] != seen[2]).any()
    still = [source.fetch("val", [0], ["image"], None)[0]["image"][0] for _ in range(2)]
    np.testing.assert_array_equal(*still)
