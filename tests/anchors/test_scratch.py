import pytest
import torch

from bind.anchors.dual_encoder import PretrainedAnchor
from bind.anchors.scratch import ScratchAnchor, byte_level_tokenizer

SMALL = {
    "dim": 6,
    "image_size_px": 32,
    "image_widths": (8, 8, 8, 8),
    "image_num_layers": (1, 1, 1, 1),
    "text_width": 16,
    "text_num_layers": 1,
    "text_num_heads": 2,
    "vocab_size": 300,
    "max_text_tokens": 16,
}


@pytest.mark.parametrize("text", ["a red circle", "Ünïcödé 漢字 🙂", "\t odd \n spaces"])
def test_the_tokenizer_encodes_any_text(text):
    tokenizer = byte_level_tokenizer(["a red circle"], 300, 64)
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert ids[0] == tokenizer.bos_token_id
    assert ids[-1] == tokenizer.eos_token_id == max(tokenizer.get_vocab().values())
    assert tokenizer("A RED CIRCLE")["input_ids"] == tokenizer("a red circle")["input_ids"]


@pytest.mark.slow
def test_weights_are_a_function_of_the_seed_alone():
    state = torch.get_rng_state()
    fingerprints = [ScratchAnchor(["a red circle"], seed=seed, **SMALL).fingerprint for seed in (0, 0, 1)]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.slow
def test_both_towers_are_open_and_what_is_saved_loads_frozen(tmp_path):
    anchor = ScratchAnchor(["a red circle", "a blue square"], **SMALL)
    tokens = anchor.transforms["text"].collate(["a red circle", "a red square"])
    assert anchor.trainable == ("image", "text", "video")
    assert anchor.dim == 6
    assert anchor.embed("text", tokens).requires_grad
    anchor.save(tmp_path)
    loaded = PretrainedAnchor(str(tmp_path))
    assert loaded.trainable == ()
    torch.testing.assert_close(loaded.embed("text", tokens), anchor.eval().embed("text", tokens), atol=0.01, rtol=0)
    z = loaded.embed("text", tokens)
    assert (z[0] - z[1]).abs().max() > 1e-5
