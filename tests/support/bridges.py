"""Bridges for tests: a binder that is the toy anchor alone, and tiny language models of the known families."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    AutoTokenizer,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GemmaConfig,
    GemmaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from bind.bridge.language_model import TOY_FOLDER, LanguageModel
from bind.model.binder import Binder

ANCHOR = {"_target_": "bind.anchors.dual_encoder.PretrainedAnchor", "pretrained": "toy"}
VOCABULARY, END, PAD = 558, 0, 1
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
}
COMMON = {"vocab_size": VOCABULARY, "eos_token_id": END, "pad_token_id": PAD, "bos_token_id": None}
FAMILIES = ("gpt2", "qwen3", "llama", "gemma", "gemma3")


def anchor_binder() -> Binder:
    """Embeds pictures and texts of the toy world."""
    return Binder.from_config({"anchor": ANCHOR, "modalities": [], "encoder": {}, "head": {}, "transform": {}}).eval()


def tiny_model(family: str) -> PreTrainedModel:
    """A language model of random weights with the toy tokenizer's vocabulary."""
    torch.manual_seed(0)
    if family == "gpt2":
        return GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=128, **COMMON))
    if family == "qwen3":
        return Qwen3ForCausalLM(Qwen3Config(**SIZES, **COMMON))
    if family == "llama":
        return LlamaForCausalLM(LlamaConfig(**SIZES, **COMMON))
    if family == "gemma":
        return GemmaForCausalLM(GemmaConfig(**SIZES, **COMMON))
    return Gemma3ForCausalLM(Gemma3TextConfig(**SIZES, **COMMON, sliding_window=16))


def tiny_language_model(family: str) -> LanguageModel:
    """As `tiny_model`, ready for a bridge."""
    return LanguageModel(family, tiny_model(family), AutoTokenizer.from_pretrained(TOY_FOLDER))


def save_language_model(folder: Path, family: str = "llama") -> Path:
    """A folder with a tiny language model and its tokenizer."""
    tiny_model(family).save_pretrained(folder)
    AutoTokenizer.from_pretrained(TOY_FOLDER).save_pretrained(folder)
    return folder
