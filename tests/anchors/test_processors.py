import logging

import pytest
import torch
from transformers import CLIPTokenizer

from bind.anchors.dual_encoder import PretrainedAnchor
from bind.anchors.processors import TextTransform
from bind.anchors.scratch import byte_level_tokenizer
from bind.media import notices


def test_texts_are_padded_to_one_length_and_cut_before_the_end_token():
    tokenizer = byte_level_tokenizer(["a red circle"], 300, 16)
    transform = TextTransform(tokenizer, 8)
    tokens = transform.collate(["a", "a red circle " * 9, ""])
    assert tokens["input_ids"].shape == tokens["attention_mask"].shape == (3, 8)
    assert tokens["input_ids"][1, -1] == tokenizer.eos_token_id
    assert tokens["attention_mask"].sum(dim=1).tolist()[1:] == [8, 2]
    assert transform("text") == "text"
    with pytest.raises(ValueError, match="text must be a string, got float"):
        transform(float("nan"))


CAPTIONS = [
    "a large red circle",
    "A dog barks, twice!",
    "it’s naïve & “quoted”",
    "日本語，全角",
    "x < y",
    "R&D; 100 %",
    "👍",
]


@pytest.fixture(scope="module")
def transform():
    return PretrainedAnchor("toy").text_transform


@pytest.mark.slow
@pytest.mark.parametrize("caption", CAPTIONS)
def test_clean_text_keeps_its_token_ids(transform, caption):
    as_it_is = transform.tokenizer([caption], padding="max_length", truncation=True, max_length=transform.max_tokens)
    assert transform.collate([caption])["input_ids"].tolist() == as_it_is["input_ids"]


def test_broken_text_has_the_token_ids_of_the_whole_one(transform):
    tokens = transform.collate(["a café", "a caf&eacute;", "a cafÃ©", " a  café\n", "\ufeffa café"])["input_ids"]
    assert (tokens == tokens[0]).all()


def test_a_tokenizer_of_clip_gets_texts_as_clip_did():
    pieces = ["<|startoftext|>", "<|endoftext|>", *(letter + end for letter in "its'" for end in ("", "</w>"))]
    tokenizer = CLIPTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[])
    curly, straight = TextTransform(tokenizer, 16).collate(["it’s", "it's"])["input_ids"]
    assert torch.equal(curly, straight)


@pytest.fixture
def nothing_said(monkeypatch):
    monkeypatch.setattr(notices, "_warned", set())


def test_texts_that_are_cut_are_said_once(transform, nothing_said, caplog):
    long = "a long caption of a street with many cars and people talking while the wind blows "
    with caplog.at_level(logging.WARNING, "bind.data"):
        transform.collate(["a red circle"])
        assert not caplog.records
        transform.collate(["a red circle", long + "a dog barks", long + "rain falls"])
        transform.collate([long])
    (record,) = caplog.records
    assert "longer than the 24 tokens" in record.getMessage()
    assert "a long caption" in record.getMessage()


@pytest.mark.parametrize("num_over", [-1, 0, 1])
def test_a_text_is_cut_from_one_token_too_many_on(transform, num_over):
    text = "red"
    while len(transform.tokenizer(text)["input_ids"]) < transform.max_tokens + num_over:
        text += " red"
    assert transform.find_cut([text, "a"]) == ([text] if num_over > 0 else [])
