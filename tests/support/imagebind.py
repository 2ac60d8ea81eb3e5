"""A tiny model with ImageBind's names, random weights, and its encoders computed by torch's own attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NUM_HEADS = {"audio": 2, "depth": 2, "thermal": 1, "imu": 4, "image": 2, "text": 2}
OPTIONS = [f"num_heads.{modality}={number}" for modality, number in NUM_HEADS.items()]
WIDTHS = {"audio": 8, "depth": 4, "thermal": 8, "imu": 8, "vision": 8, "text": 8}
NUM_LAYERS = {"audio": 2, "depth": 1, "thermal": 1, "imu": 2, "vision": 2, "text": 1}
DIM = 6
STEMS = {"audio": "rgbt_stem", "depth": "depth_stem", "thermal": "rgbt_stem", "imu": "imu_stem"}


def make_state(widths=WIDTHS, num_layers=NUM_LAYERS, dim=DIM, vision_grid=16, make=None) -> dict[str, Tensor]:
    """A state dict with every name of the published one; `make` makes a tensor of a shape, random by default."""
    generator = torch.Generator().manual_seed(0)
    make = make or (lambda *shape: torch.randn(*shape, generator=generator) * 0.5)
    state = {}

    def norm(name, width):
        state[f"{name}.weight"], state[f"{name}.bias"] = make(width), make(width)

    for m, width in widths.items():
        pre, is_clip = f"modality_preprocessors.{m}", m in ("vision", "text")
        if m == "text":
            state[f"{pre}.pos_embed"] = make(1, 77, width)
            state[f"{pre}.token_embedding.weight"] = make(49408, width)
            state[f"{pre}.mask"] = torch.full((77, 77), -math.inf).triu(1)
        else:
            positions = {"vision": vision_grid**2, "audio": 228, "imu": 250}.get(m, 196)
            state[f"{pre}.cls_token"] = make(1, 1, width)
            helper = "pos_embed" if m == "imu" else "pos_embedding_helper.pos_embed"
            state[f"{pre}.{helper}"] = make(1, 1 + positions, width)
        if m == "vision":
            state[f"{pre}.rgbt_stem.proj.1.weight"] = make(width, 3, 2, 14, 14)
            norm("modality_trunks.vision.pre_transformer_layer.0", width)
        if not is_clip:
            state[f"{pre}.{STEMS[m]}.proj.weight"] = make(width, 48) if m == "imu" else make(width, 1, 16, 16)
            norm(f"{pre}.{STEMS[m]}.norm_layer", width)
        for i in range(num_layers[m]):
            block = f"modality_trunks.{m}.blocks.{i}"
            state[f"{block}.attn.in_proj_weight"], state[f"{block}.attn.in_proj_bias"] = (
                make(3 * width, width),
                make(3 * width),
            )
            if not is_clip:
                state[f"{block}.attn.bias_k"], state[f"{block}.attn.bias_v"] = make(1, 1, width), make(1, 1, width)
            for name, shape in (
                ("attn.out_proj", (width, width)),
                ("mlp.fc1", (4 * width, width)),
                ("mlp.fc2", (width, 4 * width)),
            ):
                state[f"{block}.{name}.weight"], state[f"{block}.{name}.bias"] = make(*shape), make(shape[0])
            norm(f"{block}.norm_1", width)
            norm(f"{block}.norm_2", width)
        head = f"modality_heads.{m}"
        norm(f"{head}.proj.0" if m == "text" else f"{head}.0", width)
        state[f"{head}.{'proj.1' if m == 'text' else 3 if m == 'imu' else 2}.weight"] = make(dim, width)
        if m != "vision":
            state[f"modality_postprocessors.{m}.1.log_logit_scale"] = torch.tensor(3.0)
    return state


@torch.no_grad()
def embed_naively(state: dict[str, Tensor], modality: str, x: Tensor) -> Tensor:
    """Unit vectors of an encoder's inputs by `nn.MultiheadAttention` with `add_bias_kv`, layer after layer."""
    pre, head = f"modality_preprocessors.{modality}", f"modality_heads.{modality}"
    stem = f"{pre}.{STEMS[modality]}"
    if modality == "imu":
        tokens = x.unfold(-1, 8, 8).permute(0, 2, 1, 3).flatten(2) @ state[f"{stem}.proj.weight"].T
        positions = state[f"{pre}.pos_embed"]
    else:
        stride = 10 if modality == "audio" else 16
        tokens = F.conv2d(x, state[f"{stem}.proj.weight"], stride=stride).flatten(2).transpose(1, 2)
        positions = state[f"{pre}.pos_embedding_helper.pos_embed"]
    width = tokens.shape[-1]

    def norm(x, name, eps=1e-6):
        return F.layer_norm(x, (width,), state[f"{name}.weight"], state[f"{name}.bias"], eps)

    tokens = norm(tokens, f"{stem}.norm_layer", 1e-5)
    x = torch.cat([state[f"{pre}.cls_token"].expand(len(tokens), -1, -1), tokens], 1) + positions
    for i in range(NUM_LAYERS[modality]):
        block = f"modality_trunks.{modality}.blocks.{i}"
        attention = nn.MultiheadAttention(width, NUM_HEADS[modality], add_bias_kv=True, batch_first=True)
        names = attention.state_dict()
        attention.load_state_dict({name: state[f"{block}.attn.{name}"] for name in names})
        normed = norm(x, f"{block}.norm_1")
        x = x + attention(normed, normed, normed, need_weights=False)[0]
        hidden = F.gelu(
            F.linear(norm(x, f"{block}.norm_2"), state[f"{block}.mlp.fc1.weight"], state[f"{block}.mlp.fc1.bias"])
        )
        x = x + F.linear(hidden, state[f"{block}.mlp.fc2.weight"], state[f"{block}.mlp.fc2.bias"])
    features = norm(x[:, 0], f"{head}.0")
    return F.normalize(features @ state[f"{head}.{3 if modality == 'imu' else 2}.weight"].T, dim=-1)
