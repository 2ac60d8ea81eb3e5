"""Anchor of EmbeddingGemma 2: pictures and texts through one text encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoTokenizer,
    EmbeddingGemma2Config,
    EmbeddingGemma2Model,
)

from bind.anchors.dual_encoder import account_for_weights, text_tokens
from bind.anchors.frozen import FrozenAnchor
from bind.anchors.model_files import WEIGHTS, enclose_folder, require_family
from bind.anchors.processors import ImageTransform, TextTransform
from bind.encoders.pretrained.sources import opened_source
from bind.types import Inputs, Modality

PICTURE_TOKENS = ("boi_token", "image_token", "eoi_token")


class EmbeddingGemmaAnchor(FrozenAnchor):
    """EmbeddingGemma 2 (`google/embeddinggemma-2`) with its image tower; its audio tower is not used.

    A vector is the mean of the encoder's last states over all that is no padding, as sentence-transformers takes it.

    Args:
        pretrained: a hub id or a local folder.
        dim: D; None: all numbers of the model, fewer: the first ones, as it was trained for (512, 256, 128).
        max_text_tokens: texts are cut and padded to this length; None: 77.

    Raises:
        ValueError: where no such model with an image tower can be loaded from `pretrained`.
    """

    def __init__(self, pretrained: str, *, dim: int | None = None, max_text_tokens: int | None = None) -> None:
        files = "config.json of an EmbeddingGemma2Model, model.safetensors, the files of tokenizer and processor"
        with opened_source("anchor.pretrained", pretrained, files=files) as options:
            require_family(pretrained, "embedding_gemma", options)
            image_processor = AutoImageProcessor.from_pretrained(pretrained, backend="pil", **options)
            tokenizer = AutoTokenizer.from_pretrained(pretrained, **options)
            config = AutoConfig.from_pretrained(pretrained, **options)
            if isinstance(config, EmbeddingGemma2Config):
                config.audio_config = None  # its tower's weights stay in the file
            options |= {"config": config, "dtype": torch.float32, **WEIGHTS}
            model, loading = AutoModel.from_pretrained(pretrained, **options)
        if not isinstance(model, EmbeddingGemma2Model) or model.vision_tower is None:
            raise ValueError(
                f"anchor.pretrained={pretrained} is a {type(model).__name__}, not an EmbeddingGemma2Model with an "
                "image tower"
            )
        account_for_weights(model, loading, pretrained)
        text_config: Any = model.config.text_config
        full_dim = int(text_config.embedding_dim)
        if dim is not None and not 1 <= dim <= full_dim:
            raise ValueError(f"anchor.dim={dim}: {pretrained} has {full_dim} numbers")
        if absent := [name for name in PICTURE_TOKENS if not getattr(tokenizer, name, None)]:
            raise ValueError(f"anchor.pretrained={pretrained}: its tokenizer lacks {', '.join(absent)}; copy it again")
        text_transform = TextTransform(tokenizer, max_text_tokens or text_tokens(model, tokenizer))
        picture_inputs = PictureInputs(image_processor, tokenizer)
        super().__init__(pretrained, dim or full_dim, {"image": ImageTransform(picture_inputs), "text": text_transform})
        self._pretrained = pretrained
        self.text_transform, self.picture_inputs = text_transform, picture_inputs
        self.model: Any = model
        self.requires_grad_(False)
        self.train()

    def compute_features(self, modality: Modality, inputs: Inputs) -> Tensor:
        """See `FrozenAnchor`; inputs are those of the model by name, of `image` with the places of its patches."""
        assert isinstance(inputs, dict)
        states_BLF = self.model(**inputs).last_hidden_state.float()
        mask_BL1 = inputs["attention_mask"][..., None].float()
        features: Tensor = (states_BLF * mask_BL1).sum(dim=1) / mask_BL1.sum(dim=1)
        return features[:, : self.dim]

    def describe_preprocessing(self) -> Sequence[str]:
        """The image processor, and the tokenizer with its length."""
        parts = self.text_transform.fingerprint_parts()
        return [f"dim {self.dim}", self.picture_inputs.image_processor.to_json_string(), repr(parts)]

    def towers(self) -> Sequence[torch.nn.Module]:
        """The model's parts."""
        return list(self.model.children())

    def enclose(self, folder: Path) -> dict[str, Any]:
        """The model's folder, where it was loaded from one."""
        return enclose_folder(self._pretrained, folder)


class PictureInputs:
    """Pictures → patches, and a prompt with a place for each of them, called as an image processor is."""

    def __init__(self, image_processor: Any, tokenizer: Any) -> None:
        self.image_processor, self.tokenizer = image_processor, tokenizer

    def __call__(self, images: Sequence[Image.Image], return_tensors: str = "pt") -> dict[str, Tensor]:
        processed = dict(self.image_processor(images=list(images), return_tensors="pt"))
        boi, token, eoi = (getattr(self.tokenizer, name) for name in PICTURE_TOKENS)
        counts = torch.as_tensor(processed.pop("num_soft_tokens_per_image")).tolist()
        prompts = [f"{boi}{token * count}{eoi}" for count in counts]
        tokens = self.tokenizer(prompts, padding=True, return_tensors="pt")
        return {**processed, "input_ids": tokens["input_ids"], "attention_mask": tokens["attention_mask"]}
