"""The frozen language model: the one that is shipped, the families of transformers, and what can't be read."""

import hashlib
import re

import pytest
import torch
from support.bridges import FAMILIES, save_language_model, tiny_language_model, tiny_model
from transformers import AutoTokenizer

from bind.bridge.dialogues import Dialogue, assemble, tokenise
from bind.bridge.language_model import TOY_FOLDER, LanguageModel
from bind.bridge.mappers import MLPMapper

MAX_SHIPPED_BYTES = 4 * 2**20


@pytest.fixture(scope="module")
def toy():
    return LanguageModel.load("toy")


def test_what_is_shipped_is_small_and_has_the_hash_beside_it():
    weights = (TOY_FOLDER / "model.safetensors").read_bytes()
    assert len(weights) <= MAX_SHIPPED_BYTES
    (digest,) = re.findall(r"`([0-9a-f]{64})`", (TOY_FOLDER / "README.md").read_text())
    assert hashlib.sha256(weights).hexdigest() == digest


@pytest.mark.slow
def test_the_shipped_one_knows_the_toy_world(toy):
    texts = {
        "red star metal.\n": "a red metal star",
        "small.\nQuestion: What size is it?\nAnswer:": "small",
        "small.\nQuestion: What shape is it?\nAnswer:": "unknown",
        "three.\nQuestion: Which digit is it?\nAnswer:": "three",
    }
    for text, expected in texts.items():
        ids_1L = torch.tensor([toy.encode(text)])
        assert toy.write(toy.embed(ids_1L), torch.ones_like(ids_1L)) == [expected]


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_prefix_is_read_and_only_answers_are_learned(family):
    lm = tiny_language_model(family).train()
    assert not any(p.requires_grad for p in lm.parameters())
    assert not any(module.training for module in lm.model.modules())
    mapper = MLPMapper(dim=8, hidden_size=lm.hidden_size, num_tokens=3, scale=lm.embedding_scale)
    z = torch.nn.functional.normalize(torch.randn(2, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    ready = [tokenise(lm, Dialogue((n,), (("", text),)), 3) for n, text in enumerate(["a red star", "a dog"])]
    embeds, mask, labels = assemble(lm, mapper, z, ready)
    logits = lm(embeds, mask)
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    # By hand, of the first dialogue and then of the second: the logits before each of its tokens.
    by_hand = [
        -logits[n, place - 1].log_softmax(-1)[token]
        for n, one in enumerate(ready)
        for place, token in enumerate(one.ids)
        if place >= 3
    ]
    assert loss.item() == pytest.approx(torch.stack(by_hand).mean().item(), abs=1e-5)
    loss.backward()
    assert all(bool(p.grad.abs().sum() > 0) for p in mapper.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_writes_what_each_writes_alone(family):
    lm = tiny_language_model(family)
    mapper = MLPMapper(dim=8, hidden_size=lm.hidden_size, num_tokens=3, scale=lm.embedding_scale)
    z = torch.nn.functional.normalize(torch.randn(3, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    dialogues = [
        Dialogue((0,), (("", None),)),
        Dialogue((1, 2), (("What is it?", None),)),
        Dialogue((2,), (("", None),)),
    ]
    ready = [tokenise(lm, one, 3) for one in dialogues]
    embeds, mask, _ = assemble(lm, mapper, z, ready, is_left_padded=True)
    together = lm.write(embeds, mask, max_tokens=6)
    for text, one in zip(together, ready, strict=True):
        embeds, mask, _ = assemble(lm, mapper, z, [one], is_left_padded=True)
        assert lm.write(embeds, mask, max_tokens=6) == [text]


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_writing_stops_at_the_end_token_and_at_the_limit(family):
    lm = tiny_language_model(family)
    ids, likeliest = torch.tensor([[5, 6, 7]]), []
    with torch.no_grad():
        for _ in range(4):
            read = torch.cat([ids, torch.tensor([likeliest], dtype=torch.long)], dim=1)
            likeliest.append(int(lm(lm.embed(read), torch.ones_like(read))[0, -1].argmax()))
    embeds, mask = lm.embed(ids), torch.ones_like(ids)
    assert lm.write(embeds, mask, max_tokens=4) == [" ".join(lm.tokenizer.decode(likeliest).split())]
    lm.end_id = likeliest[2]
    before_end = likeliest[: likeliest.index(lm.end_id) + 1]
    assert lm.write(embeds, mask, max_tokens=4) == [" ".join(lm.tokenizer.decode(before_end).split())]


@pytest.mark.slow
def test_a_tokenizer_that_does_not_fit_is_refused():
    tokenizer = AutoTokenizer.from_pretrained(TOY_FOLDER)
    tokenizer.add_tokens([f"<{n}>" for n in range(10)])
    with pytest.raises(ValueError, match="lm=mine: its tokenizer has 568 tokens and the model embeddings for 558"):
        LanguageModel("mine", tiny_model("llama"), tokenizer)
    tokenizer = AutoTokenizer.from_pretrained(TOY_FOLDER)
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="no token that ends a text"):
        LanguageModel("mine", tiny_model("llama"), tokenizer)


@pytest.mark.slow
def test_a_folder_is_loaded_and_one_without_weights_is_not(tmp_path):
    folder = save_language_model(tmp_path / "lm", "gpt2")
    lm = LanguageModel.load(str(folder))
    assert (lm.name, lm.hidden_size, lm.max_tokens) == (str(folder), 32, 128)
    assert lm.fingerprint == tiny_language_model("gpt2").fingerprint
    (folder / "model.safetensors").unlink()
    with pytest.raises(
        ValueError, match=r"lm=.*could not be loaded.*\n.*needs config.json, model.safetensors and the tok"
    ):
        LanguageModel.load(str(folder))


@pytest.mark.slow
def test_a_tokenizer_that_begins_texts_begins_dialogues(toy):
    tokenizer = AutoTokenizer.from_pretrained(TOY_FOLDER)
    from tokenizers.processors import TemplateProcessing

    tokenizer.bos_token = "<|pad|>"
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|pad|> $A", special_tokens=[("<|pad|>", 1)]
    )
    lm = LanguageModel("mine", tiny_model("llama"), tokenizer)
    assert lm.start_ids == [1]
    assert lm.encode("a red star") == toy.encode("a red star")
    assert tokenise(lm, Dialogue((0,), (("", "a star"),)), 2).ids[:3] == [1, -1, -1]


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapter_alone_trains_and_the_model_of_others_stays(family):
    pytest.importorskip("peft")
    lm = tiny_language_model(family)
    model = lm.model
    lm.add_adapter(2)
    assert lm.has_adapter
    assert lm.model is not model
    trained = [name for name, p in lm.named_parameters() if p.requires_grad]
    assert trained
    assert all(".lora_" in name for name in trained)
    assert not any(".lora_" in name for name, _ in model.named_parameters())
