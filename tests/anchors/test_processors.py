import pytest

from bind.anchors.processors import TextTransform
from bind.anchors.scratch import byte_level_tokenizer


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
