import numpy as np
import pytest
from PIL import Image

from bind.anchors.processors import TextTransform
from bind.anchors.scratch import byte_level_tokenizer
from bind.media.pictures import open_image
from bind.types import Clip

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def test_a_picture_is_the_same_from_a_file_a_clip_or_memory(tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(PIXELS).save(path)
    for value in (path, str(path), Clip(path), Image.fromarray(PIXELS), PIXELS):
        image = open_image(value)
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), PIXELS)
    Image.fromarray(PIXELS[..., 0]).save(path)
    assert np.array_equal(np.asarray(open_image(path)), np.repeat(PIXELS[..., :1], 3, axis=2))


def test_bad_pictures_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.png: no such image"):
        open_image(Clip(tmp_path / "nowhere.png"))
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"broken\.png: not a readable picture"):
        open_image(broken)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(broken)
    broken.write_bytes(broken.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"broken\.png: not a readable picture"):
        open_image(broken)
    for array in (PIXELS.astype(np.float32), PIXELS[..., 0], np.zeros((4, 4, 4), np.uint8)):
        with pytest.raises(ValueError, match="must be uint8"):
            open_image(array)


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
