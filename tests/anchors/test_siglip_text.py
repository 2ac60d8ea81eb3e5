"""SigLIP's texts: the padding is read unless the tokenizer makes a mask."""

import json

import pytest
import torch
import transformers as tf
from support import tiny

from bind.anchors.dual_encoder import PretrainedAnchor

TEXTS = ["a dog", "a red circle that rests"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.write_anchor(tmp_path_factory.mktemp("siglip"), "siglip")


def embed(folder):
    anchor = PretrainedAnchor(str(folder))
    return anchor.embed("text", anchor.transforms["text"].collate(TEXTS)), anchor.fingerprint


def direct(folder, with_mask):
    model = tf.SiglipModel.from_pretrained(folder).eval()
    tokenizer = tf.AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(TEXTS, padding="max_length", max_length=tiny.NUM_TEXT_TOKENS, return_tensors="pt")
    if not with_mask:
        tokens.pop("attention_mask", None)
    with torch.no_grad():
        return torch.nn.functional.normalize(model.get_text_features(**tokens).pooler_output, dim=-1)


@pytest.mark.slow
def test_the_tokenizer_says_whether_the_padding_is_masked(folder, tmp_path):
    masked, read = direct(folder, True), direct(folder, False)
    assert (masked * read).sum(dim=1).max() < 0.9, "it makes a difference"
    z, fingerprint = embed(folder)
    torch.testing.assert_close(z, masked, atol=1e-5, rtol=0)  # this folder's tokenizer makes a mask

    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    config["model_input_names"] = ["input_ids"]  # as the tokenizers of SigLIP's own folders
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    unmasked, other = embed(tmp_path)
    torch.testing.assert_close(unmasked, read, atol=1e-5, rtol=0)
    assert other != fingerprint, "vectors of one are never taken for those of the other"
