import numpy as np
import pytest
import torch
import transformers as tf
from PIL import Image
from support import tiny

from bind.anchors.embedding_gemma import EmbeddingGemmaAnchor
from bind.model.binder import Binder

RNG = np.random.default_rng(0)
SIZES = ((40, 56), (64, 30), (48, 48))
PICTURES = [Image.fromarray(RNG.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in SIZES]
TEXTS = ["a red circle that rests", "a dog", "rain"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.write_embedding_gemma(tmp_path_factory.mktemp("gemma"))


def embed(anchor, modality, values):
    return anchor.embed(modality, anchor.transforms[modality].collate(values))


def pooled(model, inputs):
    with torch.no_grad():
        states = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"][..., None]
    return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)


@pytest.mark.slow
def test_vectors_are_those_of_the_library(folder):
    anchor = EmbeddingGemmaAnchor(str(folder))
    model = tf.EmbeddingGemma2Model.from_pretrained(folder).eval()
    tokenizer = tf.AutoTokenizer.from_pretrained(folder)
    image_processor = tf.AutoImageProcessor.from_pretrained(folder, backend="pil")
    of_texts = pooled(model, tokenizer(TEXTS, padding=True, return_tensors="pt"))
    torch.testing.assert_close(embed(anchor, "text", TEXTS), of_texts, atol=1e-5, rtol=0)
    one_by_one = []
    for picture in PICTURES:
        inputs = dict(image_processor(images=[picture], return_tensors="pt"))
        count = int(torch.as_tensor(inputs.pop("num_soft_tokens_per_image"))[0])
        prompt = f"{tokenizer.boi_token}{tokenizer.image_token * count}{tokenizer.eoi_token}"
        one_by_one.append(pooled(model, inputs | dict(tokenizer([prompt], return_tensors="pt"))))
    torch.testing.assert_close(embed(anchor, "image", PICTURES), torch.cat(one_by_one), atol=1e-5, rtol=0)
    assert torch.pdist(torch.cat(one_by_one)).min() > 1e-3


@pytest.mark.slow
def test_the_audio_tower_is_not_loaded_and_a_saved_binder_takes_the_folder_along(folder, tmp_path):
    anchor = {"_target_": "bind.anchors.embedding_gemma.EmbeddingGemmaAnchor", "pretrained": str(folder)}
    binder = Binder.from_config(tiny.binder_config(folder) | {"anchor": anchor}).eval()
    assert not any("audio" in name for name, _ in binder.anchor.named_parameters())
    loaded = Binder.load(binder.save(tmp_path / "saved").rename(tmp_path / "moved"))
    assert torch.equal(loaded.embed("text", TEXTS), binder.embed("text", TEXTS))


@pytest.mark.slow
def test_the_first_numbers_are_a_smaller_space(folder):
    whole, part = EmbeddingGemmaAnchor(str(folder)), EmbeddingGemmaAnchor(str(folder), dim=4)
    expected = torch.nn.functional.normalize(embed(whole, "text", TEXTS)[:, :4], dim=-1)
    torch.testing.assert_close(embed(part, "text", TEXTS), expected, atol=1e-6, rtol=0)
    assert part.fingerprint != whole.fingerprint
    with pytest.raises(ValueError, match=r"anchor\.dim=9"):
        EmbeddingGemmaAnchor(str(folder), dim=9)


@pytest.mark.slow
def test_another_family_is_refused(tmp_path):
    with pytest.raises(ValueError, match="family 'clip', and this is anchor=embedding_gemma: choose anchor=clip"):
        EmbeddingGemmaAnchor(str(tiny.write_anchor(tmp_path)))
