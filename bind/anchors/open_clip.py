"""Anchor of an open_clip model: MobileCLIP2, PE-Core, DFN, ConvNeXt, EVA, and more without a class in transformers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from bind.anchors.frozen import FrozenAnchor
from bind.anchors.model_files import enclose_folder, first_line, locate_model
from bind.anchors.open_clip_files import (
    FILES,
    TEXT_CONFIG_NAME,
    find_hub_id,
    find_weights,
    read_config,
    read_text_config,
    text_model_of,
)
from bind.anchors.processors import (
    NUM_VIDEO_FRAMES,
    FramesTransform,
    ImageTransform,
    TextTransform,
    describe_tokenizer,
)
from bind.encoders.pretrained.loading import describe_config
from bind.files.size import limited_by_file
from bind.files.writing import write_text
from bind.types import Inputs, Modality, Transform


class OpenClipAnchor(FrozenAnchor):
    """Any image and text model of open_clip, with its own preprocessing and tokenizer.

    Texts are embedded as open_clip does it: the padding is not masked, a tower that needs a mask makes its own.

    Args:
        pretrained: a hub id (`timm/PE-Core-B-16`, also as `hf-hub:…`), an architecture and a tag of open_clip's table
            (`ViT-B-32+laion2b_s34b_b79k`), or a folder with `open_clip_config.json` and safetensors (also as
            `local-dir:…`).

    Raises:
        ValueError: where the library is not installed, or nothing can be loaded from `pretrained`.
    """

    def __init__(self, pretrained: str) -> None:
        try:
            import open_clip
        except ImportError as error:
            raise ValueError("anchor=open_clip needs its extra: pip install 'bindspace[open_clip]'") from error
        place = pretrained.removeprefix("local-dir:").removeprefix("hf-hub:")
        if pretrained.startswith("local-dir:") and not Path(place).is_dir():
            raise ValueError(f"anchor.pretrained={pretrained}: there is no such folder")
        if not Path(place).is_dir():
            place = find_hub_id(place)
        folder = locate_model(place, files=FILES)
        text = read_config(folder, pretrained)["text_cfg"]
        source = f"local-dir:{folder}"
        options = {"trust_remote_code": False} if text.get("hf_tokenizer_name") else {}
        text_model = text.get("hf_model_name")
        text_config = read_text_config(folder, text_model, pretrained) if text_model else None
        try:
            with (
                limited_by_file(find_weights(folder, pretrained)),
                text_model_of(text_config, text) as of_text_model,
            ):
                model = open_clip.create_model(source, require_pretrained=True, **of_text_model)
            tokenizer = open_clip.get_tokenizer(source, **options)
        except (
            Exception
        ) as error:  # of open_clip, timm, transformers and safetensors, whatever a folder makes them raise
            raise ValueError(
                f"anchor.pretrained={pretrained} could not be loaded: {first_line(error)}\nThe folder needs "
                f"{FILES} where the config names one, as on the hub."
            ) from error
        preprocessing = open_clip.get_model_preprocess_cfg(model)
        image_processor = OpenClipImageProcessor(preprocessing)
        text_transform = OpenClipTextTransform(tokenizer, int(tokenizer.context_length))
        transforms: dict[Modality, Transform] = {
            "image": ImageTransform(image_processor),
            "text": text_transform,
            "video": FramesTransform(image_processor),
        }
        super().__init__(pretrained, 0, transforms)
        self._place, self._text_config = place, text_config
        self.text_transform = text_transform
        self.image_processor = image_processor
        self.model: Any = model
        self.requires_grad_(False)
        self.train()
        with torch.no_grad():
            self.dim = int(self.compute_features("text", self.text_transform.collate(["a"])).shape[-1])

    def compute_features(self, modality: Modality, inputs: Inputs) -> Tensor:
        """See `FrozenAnchor`; of `image` `pixel_values` (B_m, 3, H, W), of `text` `input_ids` (B_m, L)."""
        assert isinstance(inputs, dict)
        features: Tensor = (
            self.model.encode_text(inputs["input_ids"])
            if modality == "text"
            else self.model.encode_image(inputs["pixel_values"])
        )
        return features

    def describe_preprocessing(self) -> Sequence[str]:
        """The preprocessing of pictures, the frames of a video, and the tokenizer with its length."""
        frames = f"{NUM_VIDEO_FRAMES} frames of a video"
        return [
            "open_clip",
            self.image_processor.to_json_string(),
            frames,
            repr(self.text_transform.fingerprint_parts()),
        ]

    def towers(self) -> Sequence[torch.nn.Module]:
        """The model's parts."""
        return list(self.model.children())

    def enclose(self, folder: Path) -> dict[str, Any]:
        """The model's folder, where it was loaded from one, with the sizes of its text tower; else its hub id."""
        enclosed = enclose_folder(self._place, folder)
        if enclosed and self._text_config is not None:
            write_text(folder / TEXT_CONFIG_NAME, json.dumps(describe_config(self._text_config), indent=2) + "\n")
        return enclosed or {"pretrained": self._place}


class OpenClipImageProcessor:
    """open_clip's preprocessing in evaluation, called as a processor of transformers is.

    Args:
        preprocessing: size, mean, std, interpolation and so on, as `open_clip.get_model_preprocess_cfg` gives them.
    """

    def __init__(self, preprocessing: Mapping[str, Any]) -> None:
        from open_clip.transform import PreprocessCfg, image_transform_v2

        self.preprocessing = dict(preprocessing)
        self._transform = image_transform_v2(PreprocessCfg(**preprocessing), is_train=False)

    def __call__(self, images: Sequence[Image.Image], return_tensors: str = "pt") -> dict[str, Tensor]:
        return {"pixel_values": torch.stack([self._transform(image) for image in images])}

    def to_json_string(self) -> str:
        """The preprocessing as text."""
        return json.dumps(self.preprocessing, sort_keys=True, default=list)


class OpenClipTextTransform(TextTransform):
    """A string → itself; a list of strings → `input_ids` (B, `max_tokens`), by a tokenizer of open_clip.

    That cleans texts itself. What is longer than it takes is cut, and the log says so once.
    """

    def __init__(self, tokenizer: Any, max_tokens: int) -> None:
        self.tokenizer, self.max_tokens = tokenizer, max_tokens
        self._num_special = 3
        inner = getattr(tokenizer, "tokenizer", None)
        described = repr(sorted(tokenizer.encoder.items())) if inner is None else describe_tokenizer(inner)
        self._vocabulary = hashlib.blake2b(described.encode(), digest_size=16).hexdigest()

    def tokenize(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """See `TextTransform.tokenize`."""
        return {"input_ids": self.tokenizer(list(texts), context_length=self.max_tokens)}

    def find_cut(self, texts: Sequence[str]) -> list[str]:
        """See `TextTransform.find_cut`; a text is cut where a longer context has other tokens."""
        long = [text for text in texts if len(text.encode()) + self._num_special > self.max_tokens]
        if not long:
            return []
        fitting_BL = self.tokenizer(long, context_length=self.max_tokens)
        longer_BL = self.tokenizer(long, context_length=self.max_tokens + 1)
        padding = getattr(getattr(self.tokenizer, "tokenizer", None), "pad_token_id", 0)
        is_cut_B = (longer_BL[:, :-1] != fitting_BL).any(dim=1) | (longer_BL[:, -1] != padding)
        return [text for text, is_cut in zip(long, is_cut_B.tolist(), strict=True) if is_cut]

    def fingerprint_parts(self) -> tuple[str, Any]:
        """What decides the token ids: the tokenizer's class, vocabulary and options, and the length."""
        cleaning = getattr(self.tokenizer, "clean_fn", None)
        is_stripped = getattr(self.tokenizer, "strip_sep_token", False)
        described = (type(self.tokenizer).__name__, getattr(cleaning, "__name__", ""), is_stripped, self.max_tokens)
        return self._vocabulary, described
