"""Conversion of ImageBind's published weights into a binder: its CLIP as the anchor, and four encoders."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bind.anchors.clip_folder import NUM_CLIP_TOKENS, write_clip_folder
from bind.build import locate_class
from bind.files.writing import open_folder_atomically
from bind.model.binder import Binder
from bind.model.description import ANCHOR_FOLDER
from bind.model.licence import IMAGEBIND, write_licence
from bind.model.published import GET_IT_AGAIN, PublishedWeights, read_published_weights
from bind.model.saving import write_binder

IMAGEBIND_NUM_HEADS = {"audio": 12, "depth": 8, "thermal": 12, "imu": 8, "image": 16, "text": 16}
"""Heads of attention in the published model. Weights of any number of heads have the same shapes."""
ENCODERS = ("audio", "depth", "thermal", "imu")
STEMS = {"audio": "rgbt_stem", "depth": "depth_stem", "thermal": "rgbt_stem", "imu": "imu_stem"}
CLIP_EPS = 1e-6
LAYER = {
    "attn.in_proj_weight": "qkv.weight",
    "attn.in_proj_bias": "qkv.bias",
    "attn.out_proj.weight": "out.weight",
    "attn.out_proj.bias": "out.bias",
    "norm_1.weight": "norm_attention.weight",
    "norm_1.bias": "norm_attention.bias",
    "norm_2.weight": "norm_mlp.weight",
    "norm_2.bias": "norm_mlp.bias",
    "mlp.fc1.weight": "mlp.0.weight",
    "mlp.fc1.bias": "mlp.0.bias",
    "mlp.fc2.weight": "mlp.3.weight",
    "mlp.fc2.bias": "mlp.3.bias",
}
"""Names in a block of ImageBind → in a layer of `bind.layers.TransformerTrunk`."""


def convert_imagebind(
    file: Path | str,
    out: Path | str,
    parts: Mapping[str, Any],
    *,
    num_heads: Mapping[str, int] | None = None,
    half: bool = False,
    tokenizer: str | None = None,
) -> Binder:
    """Write ImageBind's weights as a binder, with the anchor in its folder `anchor`.

    All sizes but the numbers of heads are read from the weights. Source of the model: Girdhar et al. 2023.

    Args:
        file: `imagebind_huge.pth`, or the safetensors of a mirror with the same names.
        out: a folder that does not exist yet, or is empty.
        parts: `encoder`, `transform` and `head` of the four modalities, as the choices `imagebind_huge` of a config
            have them; sizes are replaced by those of the weights.
        num_heads: modality → heads of attention, where they are not the published ones.
        half: round the anchor's weights to 16 bits; it is then another anchor with another fingerprint.
        tokenizer: folder or hub id of CLIP's tokenizer; None: the vocabulary that open_clip carries.

    Returns:
        The binder as `Binder.load(out)` gives it.

    Raises:
        ValueError: for a file that is not ImageBind's, with what is wrong and what to do.
    """
    file, out = Path(file).expanduser(), Path(out).expanduser()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is there already: name a new folder, or delete it first")
    heads = {**IMAGEBIND_NUM_HEADS, **(num_heads or {})}
    if unknown := sorted(set(heads) - set(IMAGEBIND_NUM_HEADS)):
        raise ValueError(f"num_heads.{unknown[0]}: ImageBind has {', '.join(IMAGEBIND_NUM_HEADS)}")
    weights = PublishedWeights(read_published_weights(file), file, "ImageBind")
    if not any(name.startswith("modality_trunks.") for name in weights):
        raise ValueError(
            f"{file}: no weights of ImageBind, whose names begin with modality_trunks. Get imagebind_huge.pth"
        )
    clip_config, clip_state = map_clip(weights, heads)
    own: dict[str, Tensor] = {}
    encoders = {m: map_encoder(weights, m, heads[m], dict(parts["encoder"][m]), own) for m in ENCODERS}
    for modality in ENCODERS:
        require_shapes(encoders[modality], modality, clip_config["projection_dim"], own, file)
        weights.discard(f"modality_postprocessors.{modality}.1.log_logit_scale")
    weights.require_all_taken()
    with open_folder_atomically(out) as partial:
        write_clip_folder(partial / ANCHOR_FOLDER, clip_config, clip_state, tokenizer=tokenizer, half=half)
        # What is kept is copied, so that the file, mapped into memory, need not stay there beside the anchor.
        own = {name: x.clone() for name, x in own.items()}
        del weights, clip_state
        binder = Binder.from_config(
            {
                "anchor": {
                    "_target_": "bind.anchors.dual_encoder.PretrainedAnchor",
                    "pretrained": str(partial / ANCHOR_FOLDER),
                    "train": [],
                    "max_text_tokens": None,
                },
                "modalities": list(ENCODERS),
                "encoder": encoders,
                "transform": {m: fit_transform(parts["transform"][m], encoders[m]) for m in ENCODERS},
                "head": parts["head"],
                "fusion": None,
            }
        )
        binder.load_own_state_dict(own)
        del own
        binder.anchor.name = file.stem
        write_binder(binder, partial)
        write_licence(IMAGEBIND, partial, partial / ANCHOR_FOLDER)
    return binder.eval()


def map_clip(weights: PublishedWeights, num_heads: Mapping[str, int]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The config and the weights of transformers' `CLIPModel` for ImageBind's image and text towers."""
    state: dict[str, Tensor] = {}
    # A still is shown to ImageBind twice, so that the two steps of its stem in time add up.
    stem = weights.take("modality_preprocessors.vision.rgbt_stem.proj.1.weight", 5).sum(dim=2)
    embeddings = "vision_model.embeddings"
    state[f"{embeddings}.patch_embedding.weight"] = stem
    state[f"{embeddings}.class_embedding"] = weights.take("modality_preprocessors.vision.cls_token", 3)[0, 0]
    image_positions = weights.take("modality_preprocessors.vision.pos_embedding_helper.pos_embed", 3)[0]
    state[f"{embeddings}.position_embedding.weight"] = image_positions
    tokens = weights.take("modality_preprocessors.text.token_embedding.weight", 2)
    if len(tokens) != NUM_CLIP_TOKENS:
        raise ValueError(
            f"{weights.path}: its text tower knows {len(tokens)} tokens, ImageBind's {NUM_CLIP_TOKENS}; it is another "
            "model"
        )
    text_positions = weights.take("modality_preprocessors.text.pos_embed", 3)[0]
    state["text_model.embeddings.token_embedding.weight"] = tokens
    state["text_model.embeddings.position_embedding.weight"] = text_positions
    mask = weights.discard("modality_preprocessors.text.mask")
    if not torch.equal(mask, torch.full_like(mask, -torch.inf).triu(1)) or len(mask) != len(text_positions):
        raise ValueError(f"{weights.path}: its text tower is not causal, as ImageBind's is; it is another model")
    for name in ("weight", "bias"):
        pre_norm = weights.take(f"modality_trunks.vision.pre_transformer_layer.0.{name}")
        state[f"vision_model.pre_layrnorm.{name}"] = pre_norm
        state[f"vision_model.post_layernorm.{name}"] = weights.take(f"modality_heads.vision.0.{name}")
        state[f"text_model.final_layer_norm.{name}"] = weights.take(f"modality_heads.text.proj.0.{name}")
    state["visual_projection.weight"] = weights.take("modality_heads.vision.2.weight", 2)
    state["text_projection.weight"] = weights.take("modality_heads.text.proj.1.weight", 2)
    state["logit_scale"] = weights.take("modality_postprocessors.text.1.log_logit_scale", 0)
    vision = map_clip_tower(weights, "vision", "vision_model", num_heads["image"], state)
    text = map_clip_tower(weights, "text", "text_model", num_heads["text"], state)
    patch = stem.shape[-1]
    config = {
        "projection_dim": len(state["text_projection.weight"]),
        "vision_config": vision
        | {"patch_size": patch, "image_size": side_of(len(image_positions) - 1, weights.path) * patch},
        "text_config": text
        | {
            "vocab_size": NUM_CLIP_TOKENS,
            "max_position_embeddings": len(text_positions),
            "bos_token_id": NUM_CLIP_TOKENS - 2,
            "eos_token_id": NUM_CLIP_TOKENS - 1,
            "pad_token_id": NUM_CLIP_TOKENS - 1,
        },
    }
    return config, state


def map_clip_tower(
    weights: PublishedWeights, modality: str, tower: str, num_heads: int, state: dict[str, Tensor]
) -> dict[str, Any]:
    """Put the layers of a tower into `state`; its part of the config."""
    trunk = f"modality_trunks.{modality}.blocks."
    num_layers = weights.num_layers(trunk)
    for i in range(num_layers):
        layer = f"{tower}.encoder.layers.{i}"
        for name in ("weight", "bias"):
            packed = weights.take(f"{trunk}{i}.attn.in_proj_{name}")
            for projection, x in zip("qkv", packed.chunk(3), strict=True):
                state[f"{layer}.self_attn.{projection}_proj.{name}"] = x
            for source, target in (
                ("attn.out_proj", "self_attn.out_proj"),
                ("norm_1", "layer_norm1"),
                ("norm_2", "layer_norm2"),
                ("mlp.fc1", "mlp.fc1"),
                ("mlp.fc2", "mlp.fc2"),
            ):
                state[f"{layer}.{target}.{name}"] = weights.take(f"{trunk}{i}.{source}.{name}")
    mlp_width, width = state[f"{tower}.encoder.layers.0.mlp.fc1.weight"].shape
    require_heads(weights.path, "image" if modality == "vision" else modality, width, num_heads)
    return {
        "hidden_size": width,
        "intermediate_size": mlp_width,
        "num_hidden_layers": num_layers,
        "num_attention_heads": num_heads,
        "hidden_act": "gelu",
        "layer_norm_eps": CLIP_EPS,
    }


def map_encoder(
    weights: PublishedWeights, modality: str, num_heads: int, options: dict[str, Any], own: dict[str, Tensor]
) -> dict[str, Any]:
    """Put an encoder and its head into `own`, by the names of a Binder; the encoder's options, with their sizes."""
    preprocessor, trunk = f"modality_preprocessors.{modality}", f"modality_trunks.{modality}.blocks."
    stem, encoder, is_imu = f"{preprocessor}.{STEMS[modality]}", f"encoders.{modality}", modality == "imu"
    positions = weights.take(f"{preprocessor}.{'pos_embed' if is_imu else 'pos_embedding_helper.pos_embed'}", 3)[0]
    embedding = weights.take(f"{stem}.proj.weight", 2 if is_imu else 4)
    own[f"{encoder}.trunk.class_token"] = weights.take(f"{preprocessor}.cls_token", 3) + positions[:1]
    own[f"{encoder}.stem.{'embed' if is_imu else 'patches'}.weight"] = embedding
    sizes, grid = sizes_of_input(weights.path, modality, positions[1:], embedding, options)
    own[f"{encoder}.stem.positions_{'WMT' if modality == 'audio' else 'LW'}"] = grid
    num_layers = weights.num_layers(trunk)
    for i in range(num_layers):
        for source, target in LAYER.items():
            own[f"{encoder}.trunk.layers.{i}.{target}"] = weights.take(f"{trunk}{i}.{source}")
        keys_and_values = [weights.take(f"{trunk}{i}.attn.bias_{name}", 3)[0, 0] for name in "kv"]
        own[f"{encoder}.trunk.layers.{i}.kv_bias"] = torch.stack(keys_and_values)
    for name in ("weight", "bias"):
        own[f"{encoder}.stem.norm.{name}"] = weights.take(f"{stem}.norm_layer.{name}")
        own[f"{encoder}.trunk.norm.{name}"] = weights.take(f"modality_heads.{modality}.0.{name}")
    projection = weights.take(f"modality_heads.{modality}.{3 if is_imu else 2}.weight", 2)
    own[f"heads.{modality}.project.weight"] = projection
    hidden, width = own[f"{encoder}.trunk.layers.0.mlp.0.weight"].shape
    require_heads(weights.path, modality, width, num_heads)
    trunk_sizes = {"width": width, "num_layers": num_layers, "num_heads": num_heads, "mlp_ratio": hidden / width}
    return options | sizes | trunk_sizes


def require_shapes(options: Mapping[str, Any], modality: str, dim: int, own: Mapping[str, Tensor], path: Path) -> None:
    """Raise ValueError where the weights of an encoder do not have the shapes that its options and `dim` give."""
    encoder_class = locate_class(options["_target_"], "encoder")
    of_class = inspect.signature(encoder_class).parameters  # other keys are for the Binder
    with torch.device("meta"):
        encoder = encoder_class(**{name: value for name, value in options.items() if name in of_class})
    prefix = f"encoders.{modality}."
    shapes = {prefix + name: x.shape for name, x in encoder.state_dict().items()}
    shapes[f"heads.{modality}.project.weight"] = torch.Size([dim, options["width"]])
    for name, shape in shapes.items():
        if name not in own or own[name].shape != shape:
            raise ValueError(
                f"{path}: the sizes of its {modality} trunk do not belong together: {name} would have "
                f"{tuple(own[name].shape) if name in own else 'no weights'}, not {tuple(shape)}. {GET_IT_AGAIN}"
            )


def sizes_of_input(
    path: Path, modality: str, positions_LW: Tensor, embedding: Tensor, options: Mapping[str, Any]
) -> tuple[dict[str, Any], Tensor]:
    """The options of a stem that its weights decide, and its positions as the encoder holds them."""
    num_positions = len(positions_LW)
    if modality == "imu":
        kernel = embedding.shape[1] // options["num_channels"]
        if kernel * options["num_channels"] != embedding.shape[1]:
            raise ValueError(f"{path}: the IMU stem takes {embedding.shape[1]} values, not steps of six channels")
        return {"kernel": kernel, "num_steps": num_positions * kernel}, positions_LW
    patch = embedding.shape[-1]
    if modality != "audio":
        return {"patch": patch, "size_px": side_of(num_positions, path) * patch}, positions_LW
    # Neither the stride nor the bands are in the weights: the published ones decide how the positions are arranged.
    num_rows, num_columns = ((options[x] - patch) // options["stride"] + 1 for x in ("num_mels", "num_frames"))
    if num_positions % num_rows:
        raise ValueError(
            f"{path}: {num_positions} positions of sound are no {num_rows} rows of patches, as the "
            f"{options['num_mels']} bands of ImageBind have; it is another model"
        )
    num_frames = options["num_frames"] + (num_positions // num_rows - num_columns) * options["stride"]
    grid_WMT = positions_LW.T.unflatten(1, (num_rows, -1))
    return {"patch": patch, "num_frames": num_frames}, grid_WMT


def fit_transform(transform: Mapping[str, Any], encoder: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a transform, with the size that its encoder takes."""
    if "size_px" in encoder:
        return {**transform, "size_px": encoder["size_px"]}
    if "num_steps" in encoder:
        return {**transform, "window_seconds": encoder["num_steps"] / transform["sample_rate_hz"]}
    return dict(transform)


def side_of(num_positions: int, path: Path) -> int:
    """The side of a square of so many patches; ValueError where they are none."""
    side = math.isqrt(num_positions)
    if side * side != num_positions or not side:
        raise ValueError(f"{path}: {num_positions} positions are no square of patches; it is another model")
    return side


def require_heads(path: Path, modality: str, width: int, num_heads: int) -> None:
    """Raise ValueError where attention of this width can't have so many heads."""
    if not isinstance(num_heads, int) or num_heads < 1 or width % num_heads:
        raise ValueError(
            f"num_heads.{modality}={num_heads} does not divide the width {width} of the {modality} trunk in {path}: "
            f"pass num_heads.{modality}=N with the number that the model was trained with"
        )
