"""Small dual encoders of every family, written to disk as their owners would, and a Binder over one of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as tf

from bind.anchors.scratch import byte_level_tokenizer

CORPUS = ["a red circle that rests", "a blue square that spins", "a green dog", "a handwritten seven"]
DIM = 8
IMAGE_SIZE_PX = 16
NUM_TEXT_TOKENS = 24

BLOCKS = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION = {**BLOCKS, "image_size": IMAGE_SIZE_PX, "patch_size": 8}
SIZE = {"height": IMAGE_SIZE_PX, "width": IMAGE_SIZE_PX}


def _text(tokenizer: Any, **more: Any) -> dict[str, Any]:
    return {
        **BLOCKS,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": NUM_TEXT_TOKENS,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **more,
    }


def clip(tokenizer: Any) -> Any:
    return tf.CLIPModel(tf.CLIPConfig(text_config=_text(tokenizer), vision_config=VISION, projection_dim=DIM))


def siglip(tokenizer: Any) -> Any:
    text = _text(tokenizer, projection_size=DIM)
    return tf.SiglipModel(tf.SiglipConfig(text_config=text, vision_config={**VISION, "hidden_size": DIM}))


def siglip2(tokenizer: Any) -> Any:
    """The variant for any resolution; those for one resolution are SigLIP models."""
    text = _text(tokenizer, projection_size=DIM)
    vision = {**BLOCKS, "hidden_size": DIM, "patch_size": 8, "num_patches": 4}
    return tf.Siglip2Model(tf.Siglip2Config(text_config=text, vision_config=vision))


def altclip(tokenizer: Any) -> Any:
    # XLM-R counts positions from the padding id upwards.
    positions = tokenizer.pad_token_id + 1 + NUM_TEXT_TOKENS
    text = _text(tokenizer, max_position_embeddings=positions, project_dim=12)
    return tf.AltCLIPModel(tf.AltCLIPConfig(text_config=text, vision_config=VISION, projection_dim=DIM))


def chinese_clip(tokenizer: Any) -> Any:
    config = tf.ChineseCLIPConfig(text_config=_text(tokenizer), vision_config=VISION, projection_dim=DIM)
    return tf.ChineseCLIPModel(config)


def vision_text_dual_encoder(tokenizer: Any) -> Any:
    config = tf.VisionTextDualEncoderConfig.from_vision_text_configs(
        tf.ViTConfig(**VISION), tf.BertConfig(**_text(tokenizer)), projection_dim=DIM
    )
    return tf.VisionTextDualEncoderModel(config)


FAMILIES: dict[str, tuple[Callable[[Any], Any], Callable[[], Any]]] = {
    "clip": (clip, lambda: tf.CLIPImageProcessorPil(size={"shortest_edge": IMAGE_SIZE_PX}, crop_size=SIZE)),
    "siglip": (siglip, lambda: tf.SiglipImageProcessorPil(size=SIZE)),
    "altclip": (altclip, lambda: tf.CLIPImageProcessorPil(size={"shortest_edge": IMAGE_SIZE_PX}, crop_size=SIZE)),
    "chinese_clip": (chinese_clip, lambda: tf.ChineseCLIPImageProcessorPil(size=SIZE, crop_size=SIZE)),
    "vision_text_dual_encoder": (vision_text_dual_encoder, lambda: tf.ViTImageProcessorPil(size=SIZE)),
}


def write_anchor(folder: Path, family: str = "clip", seed: int = 0) -> Path:
    """A random dual encoder with large enough weights that different inputs land in visibly different places."""
    make_model, make_processor = FAMILIES[family]
    tokenizer = byte_level_tokenizer(CORPUS, 300, NUM_TEXT_TOKENS)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = make_model(tokenizer)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.ndim >= 2 and "projection" not in name:
                    parameter.normal_(std=0.3)
    for part in (model, tokenizer, make_processor()):
        part.save_pretrained(folder)
    return folder


def binder_config(anchor: Path, **more: Any) -> dict[str, Any]:
    """Audio-free: IMU and depth encoders of a few hundred weights."""
    return {
        "anchor": {"_target_": "bind.anchors.dual_encoder.PretrainedAnchor", "pretrained": str(anchor)},
        "modalities": ["imu", "depth"],
        "encoder": {
            "imu": {"_target_": "bind.encoders.imu_cnn.ImuCNN", "width": 8, "num_layers": 2},
            "depth": {"_target_": "bind.encoders.map_cnn.MapCNN", "width": 8, "num_layers": 2},
        },
        "head": {"_target_": "bind.encoders.heads.ProjectionHead"},
        "transform": {
            "imu": {"_target_": "bind.data.transforms.imu.ImuTransform", "sample_rate_hz": 50, "window_seconds": 1.0},
            "depth": {"_target_": "bind.data.transforms.depth.DepthTransform"},
        },
        "fusion": None,
        **more,
    }
