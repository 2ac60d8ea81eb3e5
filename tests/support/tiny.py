"""Small dual encoders of every family, written to disk as their owners would, and a Binder over one of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as tf

from bind.anchors.open_clip_files import text_model_of
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


OPEN_CLIP_TEXT = {"context_length": 12, "width": 16, "heads": 2, "layers": 2}
OPEN_CLIP: dict[str, dict[str, Any]] = {
    "clip": {
        "vision_cfg": {"image_size": IMAGE_SIZE_PX, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {**OPEN_CLIP_TEXT, "vocab_size": 49408},
    },
    # SigLIP's text tower: a tokenizer of transformers, no causal mask, the last place is the text's.
    "siglip": {
        "custom_text": True,
        "init_logit_bias": -10,
        "vision_cfg": {"image_size": IMAGE_SIZE_PX, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {
            **OPEN_CLIP_TEXT,
            "vocab_size": 310,
            "hf_tokenizer_name": "someone/siglip",
            "tokenizer_kwargs": {"clean": "canonicalize"},
            "no_causal_mask": True,
            "pool_type": "last",
            "proj_bias": True,
        },
    },
    "timm": {
        "custom_text": True,
        "vision_cfg": {"timm_model_name": "test_convnext", "timm_pool": "avg", "timm_proj": "linear", "image_size": 32},
        "text_cfg": {**OPEN_CLIP_TEXT, "vocab_size": 49408, "no_causal_mask": True},
    },
    # Text towers that are models of transformers, by name; one of them the encoder of a pair.
    "roberta": {
        "vision_cfg": {"image_size": IMAGE_SIZE_PX, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {
            "context_length": 12,
            "hf_model_name": "someone/roberta",
            "hf_tokenizer_name": "someone/roberta",
            "hf_proj_type": "mlp",
            "hf_pooler_type": "mean_pooler",
        },
    },
    "nllb": {
        "vision_cfg": {"image_size": IMAGE_SIZE_PX, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {
            "context_length": 12,
            "hf_model_name": "someone/nllb",
            "hf_tokenizer_name": "someone/nllb",
            "hf_proj_type": "linear",
            "hf_pooler_type": "cls_pooler",
        },
    },
}
"""Name → `model_cfg` of small models of open_clip."""
OPEN_CLIP_PICTURES = {
    "clip": {},
    "siglip": {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"},
    "timm": {"mean": [0.0] * 3, "std": [1.0] * 3, "interpolation": "bilinear"},
    "roberta": {},
    "nllb": {},
}
M2M = {"d_model": 16, "encoder_ffn_dim": 32, "encoder_attention_heads": 2, "encoder_layers": 2} | {
    "decoder_ffn_dim": 32,
    "decoder_attention_heads": 2,
    "decoder_layers": 1,
}


def _open_clip_text_config(family: str, tokenizer: Any) -> tf.PreTrainedConfig | None:
    """Of a text tower of transformers."""
    if family == "roberta":
        return tf.XLMRobertaConfig(**_text(tokenizer, max_position_embeddings=tokenizer.pad_token_id + 1 + 12))
    return tf.M2M100Config(**{**_text(tokenizer, max_position_embeddings=400), **M2M}) if family == "nllb" else None


def write_open_clip(folder: Path, family: str = "clip", seed: int = 0) -> Path:
    """A random model of open_clip, as its library lays it out, with the sizes of a text tower of transformers."""
    import open_clip
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": {"embed_dim": DIM, **OPEN_CLIP[family]}, "preprocess_cfg": OPEN_CLIP_PICTURES[family]}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    tokenizer = byte_level_tokenizer(CORPUS, 300, 12)
    if "hf_tokenizer_name" in OPEN_CLIP[family]["text_cfg"]:
        tokenizer.save_pretrained(folder)
    text_config = _open_clip_text_config(family, tokenizer)
    with torch.random.fork_rng(), text_model_of(text_config, OPEN_CLIP[family]["text_cfg"]) as of_text_model:
        torch.manual_seed(seed)
        source = f"local-dir:{folder}"
        model = open_clip.create_model(source, load_weights=False, pretrained_text=False, **of_text_model)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim >= 2:
                    parameter.normal_(std=0.3)
    save_file({name: x.contiguous() for name, x in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    if text_config is not None:
        (folder / "text_model_config.json").write_text(text_config.to_json_string(use_diff=False))
    return folder


def write_clap(folder: Path, seed: int = 0, truncation: str = "rand_trunc") -> Path:
    """A random CLAP whose windows are one second at 8 kHz; `fusion` is the variant with four pictures of a sound."""
    tokenizer = byte_level_tokenizer(CORPUS, 300, NUM_TEXT_TOKENS)
    is_fusion = truncation == "fusion"
    audio = {
        "spec_size": 64,
        "num_mel_bins": 16,
        "patch_size": 4,
        "patch_stride": [4, 4],
        "window_size": 4,
        "depths": [1, 1],
        "num_attention_heads": [1, 2],
        "patch_embeds_hidden_size": 8,
        "hidden_size": 16,
        "enable_fusion": is_fusion,
        "enable_patch_fusion": is_fusion,
        "aff_block_r": 1,
    }
    positions = tokenizer.pad_token_id + 1 + NUM_TEXT_TOKENS
    config = tf.ClapConfig(
        text_config=_text(tokenizer, max_position_embeddings=positions), audio_config=audio, projection_dim=DIM
    )
    extractor = tf.ClapFeatureExtractor(
        feature_size=16, sampling_rate=8000, max_length_s=1, frequency_max=4000, truncation=truncation
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = tf.ClapModel(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim >= 2:
                    parameter.normal_(std=0.3)
    for part in (model, tokenizer, extractor):
        part.save_pretrained(folder)
    return folder


def write_embedding_gemma(folder: Path, seed: int = 0) -> Path:
    """A random EmbeddingGemma 2 of text and pictures of a few patches."""
    tokenizer = byte_level_tokenizer(CORPUS, 300, NUM_TEXT_TOKENS)
    names = ("boi_token", "image_token", "eoi_token", "audio_token", "boa_token", "eoa_token")
    special = {name: f"<{name}>" for name in names}
    tokenizer.add_special_tokens({"extra_special_tokens": list(special.values())})
    tokenizer = tf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer,
        pad_token="<pad>",
        bos_token="<start>",
        eos_token="<end>",
        model_max_length=NUM_TEXT_TOKENS,
        extra_special_tokens=special,
    )
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in special.items()}
    text = {
        "vocab_size": len(tokenizer) + 1,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "global_head_dim": 8,
        "num_global_key_value_heads": 1,
        "hidden_size_per_layer_input": 8,
        "embedding_dim": DIM,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        "model_type": "gemma4_vision",
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "patch_size": 4,
        "pooling_kernel_size": 2,
        "position_embedding_size": 64,
    }
    config = tf.EmbeddingGemma2Config(
        text_config=text,
        vision_config=vision,
        audio_config={
            "model_type": "gemma4_audio",
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "subsampling_conv_channels": [4, 4],
            "output_proj_dims": 16,
        },
        boi_token_id=ids["boi_token"],
        eoi_token_id=ids["eoi_token"],
        image_token_id=ids["image_token"],
        audio_token_id=ids["audio_token"],
        video_token_id=len(tokenizer),
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = tf.EmbeddingGemma2Model(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim >= 2:
                    parameter.normal_(std=0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    tf.Gemma4ImageProcessorPil(patch_size=4, max_soft_tokens=70, pooling_kernel_size=2).save_pretrained(folder)
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
