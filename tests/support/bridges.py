"""Bridges for tests: a binder that is the toy anchor alone, and tiny language models of the known families."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
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
from bind.data.sources.toy.world import ToySource
from bind.model.binder import Binder
from bind.types import SensorRecording

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


def token_binder(seed: int = 0) -> Binder:
    """Embeds pictures, texts and, with an encoder that gives tokens and random weights, motion of the toy world."""
    torch.manual_seed(seed)
    encoder = {"_target_": "bind.encoders.imu_transformer.ImuTransformer", "num_steps": 200, "kernel": 20}
    sizes = {"width": 16, "num_layers": 1, "num_heads": 2, "drop_path": 0.0}
    return Binder.from_config(
        {
            "anchor": ANCHOR,
            "modalities": ["imu"],
            "encoder": {"imu": encoder | sizes},
            "head": {"_target_": "bind.encoders.heads.ProjectionHead"},
            "transform": {"imu": {"_target_": "bind.data.transforms.imu.ImuTransform"}},
        }
    ).eval()


def toy_values(split: str, num: int, *modalities: str) -> list[list[Any]]:
    """The values of each modality of the first samples of the toy world."""
    toy = ToySource(num_train=200, modalities=["image", "imu", "text"])
    fetched = toy.fetch(split, range(num), list(modalities), None)
    return [[values[m][0] for values in fetched] for m in modalities]


def write_motion(path: Path, motion: SensorRecording) -> Path:
    """A recording as `.npy` and the JSON beside it."""
    np.save(path, motion.values)
    about = {"channels": motion.channels, "units": motion.units, "sample_rate_hz": motion.sample_rate_hz}
    path.with_suffix(".json").write_text(json.dumps(about))
    return path


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
