"""Small folders of every family of pretrained encoders, with random weights, written by transformers itself."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as t
from torch import nn

from bind.data.transforms.pretrained.ast import AstTransform
from bind.data.transforms.pretrained.clap import ClapTransform
from bind.data.transforms.pretrained.pe_av import PeAvTransform
from bind.data.transforms.pretrained.vision import VisionDepthTransform, VisionThermalTransform
from bind.data.transforms.pretrained.wav2vec2 import Wav2Vec2Transform
from bind.data.transforms.pretrained.whisper import WhisperTransform
from bind.encoders.pretrained.ast import AstAudioEncoder
from bind.encoders.pretrained.clap import ClapAudioEncoder
from bind.encoders.pretrained.patchtst import PatchTstEncoder
from bind.encoders.pretrained.pe_av import PeAvAudioEncoder
from bind.encoders.pretrained.video import VideoEncoder
from bind.encoders.pretrained.vision import VisionEncoder
from bind.encoders.pretrained.wav2vec2 import Wav2Vec2AudioEncoder
from bind.encoders.pretrained.whisper import WhisperAudioEncoder
from bind.types import Waveform

WIDTH = 16
LAYERS = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
TOKENS = {"vocab_size": 30, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SQUARE = {"image_size": 32, "patch_size": 16}
SIDES = {"size": {"height": 32, "width": 32}}
CROP = {"size": {"shortest_edge": 32}, "crop_size": SIDES["size"]}
NUM_FRAMES = 4


def whisper():
    config = t.WhisperConfig(
        d_model=WIDTH,
        num_mel_bins=8,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=32,
        max_source_positions=50,
        decoder_start_token_id=3,
        begin_suppress_tokens=None,
        **TOKENS,
    )
    return t.WhisperForConditionalGeneration(config), t.WhisperFeatureExtractor(feature_size=8, chunk_length=1)


def clap(truncation="rand_trunc"):
    audio = {
        "window_size": 4,
        "spec_size": 64,
        "patch_embeds_hidden_size": WIDTH,
        "hidden_size": 2 * WIDTH,
        "depths": [2, 1],
        "num_attention_heads": [2, 2],
        "patch_size": 4,
        "patch_stride": [4, 4],
        "projection_dim": WIDTH,
        "enable_fusion": truncation == "fusion",
    }
    text = {**LAYERS, **TOKENS, "num_hidden_layers": 1, "projection_dim": WIDTH, "max_position_embeddings": 20}
    config = t.ClapConfig(audio_config=audio, text_config=text, projection_dim=WIDTH)
    return t.ClapModel(config), t.ClapFeatureExtractor(max_length_s=1, hop_length=800, truncation=truncation)


def ast():
    config = t.ASTConfig(**LAYERS, max_length=64, num_mel_bins=32)
    return t.ASTForAudioClassification(config), t.ASTFeatureExtractor(max_length=64, num_mel_bins=32)


def speech(model_class, norm="layer", **options):
    options |= {"conv_dim": (8, 8, 8), "conv_kernel": (10, 3, 2), "conv_stride": (5, 4, 2), "feat_extract_norm": norm}
    options |= {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, **TOKENS}
    model = model_class(model_class.config_class(**LAYERS, **options))
    return model, t.Wav2Vec2FeatureExtractor(return_attention_mask=norm == "layer")


PE_TEXT = {**LAYERS, **TOKENS, "num_hidden_layers": 1, "cls_token_id": 1, "sep_token_id": 2}
PE_AUDIO = {**LAYERS, "hidden_size": 24, "head_dim": 12, "dac_config": {"encoder_hidden_size": 4, "codebook_dim": 8}}


def pe_audio():
    config = t.PeAudioConfig(text_config=PE_TEXT, audio_config=PE_AUDIO)
    return t.PeAudioModel(config), t.PeAudioFeatureExtractor()


def patchtst(model_class=t.PatchTSTForPretraining, **options):
    sizes = {"num_input_channels": 6, "context_length": 40, "patch_length": 8, "patch_stride": 8, "ffn_dim": 32}
    sizes |= {"d_model": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "num_targets": 3}
    return (model_class(t.PatchTSTConfig(**sizes, **options)),)


def dinov2():
    sizes = {"image_size": 28, "patch_size": 14}
    model = t.Dinov2Model(t.Dinov2Config(**LAYERS, **sizes))
    return model, t.BitImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28})


def vit():
    return t.ViTForImageClassification(t.ViTConfig(**LAYERS, **SQUARE)), t.ViTImageProcessor(**SIDES)


def beit():
    processor = t.BeitImageProcessor(**SIDES, do_center_crop=False)
    return t.BeitForImageClassification(t.BeitConfig(**LAYERS, **SQUARE)), processor


def clip():
    text = {**LAYERS, **TOKENS, "num_hidden_layers": 1}
    config = t.CLIPConfig(vision_config={**LAYERS, **SQUARE}, text_config=text, projection_dim=8)
    return t.CLIPModel(config), t.CLIPImageProcessor(**CROP)


def siglip():
    text = {**LAYERS, **TOKENS, "num_hidden_layers": 1}
    config = t.SiglipConfig(vision_config={**LAYERS, **SQUARE}, text_config=text)
    return t.SiglipModel(config), t.SiglipImageProcessor(**SIDES)


def convnext():
    config = t.ConvNextConfig(hidden_sizes=[8, WIDTH], depths=[1, 1], num_stages=2, image_size=32)
    return t.ConvNextForImageClassification(config), t.ConvNextImageProcessor(size={"shortest_edge": 32})


def resnet():
    config = t.ResNetConfig(embedding_size=8, hidden_sizes=[8, WIDTH], depths=[1, 1], layer_type="basic")
    return t.ResNetForImageClassification(config), t.ConvNextImageProcessor(size={"shortest_edge": 32})


def videomae(model_class=t.VideoMAEForVideoClassification):
    decoder = {f"decoder_{name}": value for name, value in LAYERS.items()}
    config = t.VideoMAEConfig(**LAYERS, **SQUARE, **decoder, num_frames=NUM_FRAMES)
    return model_class(config), t.VideoMAEImageProcessor(**CROP)


def timesformer():
    config = t.TimesformerConfig(**LAYERS, **SQUARE, num_frames=NUM_FRAMES)
    return t.TimesformerForVideoClassification(config), t.VideoMAEImageProcessor(**CROP)


def vivit():
    config = t.VivitConfig(**LAYERS, image_size=32, num_frames=NUM_FRAMES)
    return t.VivitForVideoClassification(config), t.VivitImageProcessor(**CROP)


def write(family: Callable[[], Any], folder: Path, seed: int = 0) -> str:
    """Save a model of the family and its processors into `folder`; the folder as text.

    What is constant in a fresh model, as statistics and biases are, is disturbed: it has to be loaded too.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model, *processors = family()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.min() == parameter.max():
                    parameter.add_(0.1 * torch.randn(parameter.shape))
            for name, buffer in model.named_buffers():
                if name.endswith(("running_mean", "running_var")):
                    buffer.add_(torch.rand(buffer.shape))
    model.save_pretrained(folder)
    for processor in processors:
        processor.save_pretrained(folder)
    return str(folder)


def write_speech(folder: Path) -> str:
    """See `write`: of a model of speech with a head that bind leaves out."""
    return write(partial(speech, t.Wav2Vec2ForCTC), folder)


def sounds(*seconds: float, rate_hz: int = 16_000) -> list[Waveform]:
    """A waveform of noise of each length."""
    rng = np.random.default_rng(0)
    return [Waveform((0.1 * rng.standard_normal(round(rate_hz * s))).astype(np.float32), rate_hz) for s in seconds]


def two_sounds() -> list[Waveform]:
    return sounds(0.3, 0.5)


def depth_maps() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.uniform(0.5, 4.0, (40, 50)).astype(np.float32) for _ in range(2)]


def heat_maps() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (40, 50), dtype=np.uint8) for _ in range(2)]


def collated(transform: Any, values: list[Any]) -> Any:
    return transform.collate([transform(value, None) for value in values])


@dataclass(frozen=True)
class Case:
    """One family: the folder's model, bind's encoder and transform of it, and values or ready inputs."""

    modality: str
    family: Callable[[], Any]
    encoder: type[nn.Module]
    transform: Callable[..., Any] | None = None
    values: Callable[[], Any] = two_sounds
    options: dict[str, Any] = field(default_factory=dict)

    def inputs(self, folder: str) -> Any:
        """What the encoder takes."""
        return self.values() if self.transform is None else collated(self.transform(pretrained=folder), self.values())


SHORT = {"window_seconds": 0.6}
CASES = {
    "whisper": Case("audio", whisper, WhisperAudioEncoder, WhisperTransform),
    "clap": Case("audio", clap, ClapAudioEncoder, ClapTransform, partial(sounds, 0.3, 1.5)),
    "ast": Case("audio", ast, AstAudioEncoder, AstTransform),
    "wav2vec2": Case(
        "audio", partial(speech, t.Wav2Vec2ForCTC), Wav2Vec2AudioEncoder, partial(Wav2Vec2Transform, **SHORT)
    ),
    "pe_av": Case("audio", pe_audio, PeAvAudioEncoder, partial(PeAvTransform, **SHORT)),
    "depth": Case("depth", dinov2, VisionEncoder, VisionDepthTransform, depth_maps),
    "thermal": Case("thermal", siglip, VisionEncoder, VisionThermalTransform, heat_maps),
    "video": Case(
        "video",
        videomae,
        VideoEncoder,
        values=partial(torch.rand, 2, NUM_FRAMES, 3, 32, 32),
        options={"num_frames": NUM_FRAMES},
    ),
    "patchtst": Case("imu", patchtst, PatchTstEncoder, values=partial(torch.rand, 2, 6, 40)),
}
"""Name → one family of each kind of encoder."""
