"""Tiny checkpoints in LanguageBind's published layout, and what transformers' own CLIP tower makes of their weights."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import transformers as tf
from torch import Tensor

SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 8}
SIDES = {"audio": (24, 48), "depth": (32, 32), "thermal": (32, 32)}
TYPES = {"audio": "LanguageBindAudio", "depth": "LanguageBindDepth", "thermal": "LanguageBindThermal"}
ALPHA = 6.0


def settings(modality: str, rank: int) -> dict:
    """The `vision_config` of a config.json."""
    own = {
        "audio": {"num_mel_bins": 24, "target_length": 48, "audio_sample_rate": 16000, "audio_mean": -4.0},
        "depth": {"max_depth": 8, "image_size": 32},
        "thermal": {"image_size": 32},
    }[modality]
    common = {"hidden_act": "gelu", "add_time_attn": False, "num_frames": 1, "lora_r": rank, "lora_alpha": ALPHA}
    return {**SIZES, **common, **own}


def make_state(modality: str, anchor: tf.CLIPModel, rank: int, seed: int = 0) -> dict[str, Tensor]:
    """Random weights by the published names; with a rank, those of an encoder that the peft of 2023 wrapped."""
    generator = torch.Generator().manual_seed(seed)
    tower = tf.CLIPVisionModel(tf.CLIPVisionConfig(**SIZES, image_size=32, hidden_act="gelu"))
    state = {
        f"vision_model.{name}": torch.randn(x.shape, generator=generator) * 0.3
        for name, x in tower.state_dict().items()
    }
    height, width = (side // SIZES["patch_size"] for side in SIDES[modality])
    state = {name: x for name, x in state.items() if not name.endswith("position_ids")}
    state["vision_model.embeddings.position_embedding.weight"] = torch.randn(
        1 + height * width, 16, generator=generator
    )
    state["visual_projection.weight"] = torch.randn(anchor.config.projection_dim, 16, generator=generator)
    if rank:
        for name in [name for name in state if ".encoder." in name]:
            wrapped = name.replace(".encoder.", ".encoder.base_model.model.")
            state[wrapped] = state.pop(name)
            module = wrapped.removesuffix(".weight")
            if module != wrapped and ".self_attn." in module:
                state[f"{module}.lora_A.default.weight"] = torch.randn(rank, 16, generator=generator) * 0.3
                state[f"{module}.lora_B.default.weight"] = torch.randn(16, rank, generator=generator) * 0.3
    state |= {n: x.clone() for n, x in anchor.state_dict().items() if n.startswith(("text_model.", "text_projection."))}
    state["logit_scale"] = torch.tensor(2.6592)
    state["text_model.embeddings.position_ids"] = torch.arange(4)[None]
    return state


def write_checkpoint(folder: Path, modality: str, state: dict[str, Tensor], rank: int, **changed: object) -> Path:
    """A folder as the hub has it."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "model_type": TYPES[modality],
        "projection_dim": 8,
        "vision_config": {**settings(modality, rank), **changed},
    }
    (folder / "config.json").write_text(json.dumps(config))
    torch.save(state, folder / "pytorch_model.bin")
    return folder


@torch.no_grad()
def embed_by_transformers(state: dict[str, Tensor], x_BCHW: Tensor) -> Tensor:
    """Unit vectors by `CLIPVisionModel` with merged weights; its positions are those of the checkpoint's own grid."""
    patches = SIZES["patch_size"]
    tower = tf.CLIPVisionModel(
        tf.CLIPVisionConfig(**SIZES, image_size=32, hidden_act="gelu", attn_implementation="eager")
    )
    own = {}
    for name, x in state.items():
        if not name.startswith("vision_model.") or ".lora_" in name:
            continue
        factors = [state.get(name.removesuffix("weight") + f"lora_{f}.default.weight") for f in "AB"]
        if factors[0] is not None:
            a, b = factors
            x = x + torch.einsum("or,ri->oi", b, a) * ALPHA / a.shape[0]
        own[name.removeprefix("vision_model.").replace("base_model.model.", "")] = x
    positions = own.pop("embeddings.position_embedding.weight")
    missing, unexpected = tower.load_state_dict(own, strict=False)
    assert [name for name in missing if "position" not in name] == []
    assert not unexpected
    embeddings = tower.embeddings
    kernel = embeddings.patch_embedding.weight
    tokens = torch.nn.functional.conv2d(x_BCHW, kernel, stride=patches).flatten(2).transpose(1, 2)
    tokens = torch.cat([embeddings.class_embedding.expand(len(x_BCHW), 1, -1), tokens], dim=1) + positions
    if x_BCHW.shape[-2:] == (32, 32):
        embeddings.position_embedding.weight.copy_(positions)
        pooled = tower(pixel_values=x_BCHW).pooler_output
    else:  # its embeddings refuse pictures that are no squares
        embeddings.forward = lambda *args, **kwargs: tokens
        pooled = tower(pixel_values=x_BCHW).pooler_output
    return torch.nn.functional.normalize(pooled @ state["visual_projection.weight"].T, dim=-1)
