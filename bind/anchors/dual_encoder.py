"""The anchor: a frozen image tower and text tower that define the space, loaded from transformers' files."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from bind.anchors.frozen import FrozenAnchor
from bind.anchors.model_files import WEIGHTS, enclose_folder, require_family
from bind.anchors.processors import NUM_VIDEO_FRAMES, FramesTransform, ImageTransform, TextTransform
from bind.encoders.pretrained.sources import opened_source, silent_transformers
from bind.files.writing import open_folder_atomically
from bind.types import Inputs, Modality, Transform

log = logging.getLogger("bind")

TOY = "toy"
TOY_FOLDER = Path(__file__).parent / "toy"
TOWER_PREFIXES = {
    "image": ("vision_model.", "visual_projection."),
    "text": ("text_model.", "text_projection."),
}
MAX_TEXT_TOKENS = 77


class DualEncoder(FrozenAnchor):
    """A dual encoder over images and text whose towers stay frozen and in eval mode unless opened.

    Attributes:
        name: hub id or folder name.
        dim: D, the size of the space.
        modalities: (`image`, `text`, `video`): a video is the mean of its frames in the image tower.
        transforms: modality → its processor as a `Transform`.
        trainable: the modalities whose embeddings training changes.
    """

    def __init__(
        self,
        name: str,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: Any,
        *,
        train: Sequence[Modality] = (),
        max_text_tokens: int | None = None,
    ) -> None:
        unknown = sorted(set(train) - set(TOWER_PREFIXES))
        if unknown:
            raise ValueError(f"anchor.train={list(train)}: {unknown} are not towers; choose from {(*TOWER_PREFIXES,)}")
        text_transform = TextTransform(tokenizer, max_text_tokens or text_tokens(model, tokenizer))
        transforms: dict[Modality, Transform] = {
            "image": ImageTransform(image_processor),
            "text": text_transform,
            "video": FramesTransform(image_processor),
        }
        super().__init__(name, 0, transforms)
        self.text_transform = text_transform
        self.model: Any = model
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.trainable = (*train, *(["video"] if "image" in train else []))
        for parameter_name, parameter in model.named_parameters():
            parameter.requires_grad_(self._tower_of(parameter_name) in self.trainable)
        self.train(False)
        with torch.no_grad():
            self.dim = int(self.compute_features("text", self.text_transform.collate(["a"])).shape[-1])
        self.train()

    @staticmethod
    def _tower_of(parameter_name: str) -> Modality | None:
        for modality, prefixes in TOWER_PREFIXES.items():
            if parameter_name.startswith(prefixes):
                return modality
        return None

    def train(self, mode: bool = True) -> DualEncoder:
        """Set the mode of opened towers; all others stay in eval mode."""
        super().train(False)
        for modality in self.trainable:
            for prefix in TOWER_PREFIXES.get(modality, ()):
                tower = getattr(self.model, prefix.rstrip("."), None)
                if tower is not None:
                    tower.train(mode)
        self.training = mode
        return self

    def compute_features(self, modality: Modality, inputs: Inputs) -> Tensor:
        """See `FrozenAnchor`; of `image` `pixel_values`, of `text` `input_ids` and `attention_mask` (B_m, L)."""
        assert isinstance(inputs, dict)
        features = (
            self.model.get_text_features(**inputs) if modality == "text" else self.model.get_image_features(**inputs)
        )
        # transformers 5 returns an object for some families and a tensor for others.
        return features if isinstance(features, Tensor) else features.pooler_output

    def describe_preprocessing(self) -> Sequence[str]:
        """The image processor, the frames of a video, and the tokenizer with its length."""
        frames = f"{NUM_VIDEO_FRAMES} frames of a video"
        parts = [self.image_processor.to_json_string(), frames, repr(self.text_transform.fingerprint_parts())]
        # SigLIP's tower reads the padding, all others are given a mask; a tokenizer may say otherwise.
        reads_padding = "attention_mask" not in self.tokenizer.model_input_names
        if reads_padding != str(self.model.config.model_type).startswith("siglip"):
            parts.append("padding is read" if reads_padding else "padding is masked")
        return parts

    def image_tower(self) -> tuple[nn.Module, nn.Module | None]:
        """See `TowerOwner.image_tower`."""
        return self.model.vision_model, getattr(self.model, "visual_projection", None)

    def towers(self) -> Sequence[nn.Module]:
        """The model's parts: towers, projections."""
        return list(self.model.children())

    def _weights(self) -> Mapping[str, Tensor]:
        weights: Mapping[str, Tensor] = self.model.state_dict()
        return weights

    def save(self, folder: Path | str, *, half: bool = False) -> None:
        """Write weights (safetensors), tokenizer and processor where `PretrainedAnchor` finds them.

        With `half` the weights are rounded to 16 bits: half the size, another anchor with another fingerprint.
        """
        with open_folder_atomically(Path(folder)) as partial, silent_transformers():
            (copy.deepcopy(self.model).half() if half else self.model).save_pretrained(partial)
            self.tokenizer.save_pretrained(partial)
            self.image_processor.save_pretrained(partial)


class PretrainedAnchor(DualEncoder):
    """Any transformers dual encoder (CLIP, SigLIP, SigLIP2, AltCLIP, Chinese-CLIP, VisionTextDualEncoder).

    Args:
        pretrained: a hub id (`openai/clip-vit-base-patch32`), a local folder, or `toy` for the one that is shipped.
        train: towers to open (`image`, `text`); making an anchor rather than binding to one.
        max_text_tokens: texts are cut and padded to this length; None: that for which the towers were made.

    Raises:
        ValueError: where nothing can be loaded from `pretrained`.

    Examples:
        >>> anchor = PretrainedAnchor("toy")
        >>> anchor.dim, anchor.modalities, anchor.trainable
        (64, ('image', 'text', 'video'), ())
        >>> texts = ["a large red circle", "a small blue square"]
        >>> z_BD = anchor.embed("text", anchor.transforms["text"].collate(texts))
        >>> z_BD.shape, z_BD.requires_grad
        (torch.Size([2, 64]), False)
    """

    def __init__(self, pretrained: str, *, train: Sequence[Modality] = (), max_text_tokens: int | None = None) -> None:
        source = str(TOY_FOLDER if pretrained == TOY else pretrained)
        files = "config.json, model.safetensors, the tokenizer's files and preprocessor_config.json"
        with opened_source("anchor.pretrained", source, files=files) as options:
            require_family(source, "clip", options)
            # The PIL backend gives the same pixels whether or not torchvision happens to be installed.
            image_processor = AutoImageProcessor.from_pretrained(source, backend="pil", **options)
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            model, loading = AutoModel.from_pretrained(source, dtype=torch.float32, **WEIGHTS, **options)
        account_for_weights(model, loading, pretrained)
        super().__init__(pretrained, model, tokenizer, image_processor, train=train, max_text_tokens=max_text_tokens)
        self._pretrained = pretrained

    def enclose(self, folder: Path) -> dict[str, Any]:
        """The model's folder, where it was loaded from one."""
        return {} if self._pretrained == TOY else enclose_folder(self._pretrained, folder)


def account_for_weights(model: PreTrainedModel, loading: Mapping[str, Any], pretrained: str) -> None:
    """Name the weights that a model has no use for, and raise ValueError where some of its own were in no file.

    Args:
        loading: what transformers says of the loading.
    """
    absent = sorted(
        {*loading["missing_keys"], *(f"{name} of another shape" for name, *_ in loading["mismatched_keys"])}
    )
    if absent:
        raise ValueError(
            f"anchor.pretrained={pretrained} lacks {len(absent)} of its {type(model).__name__}'s weights, which "
            f"would be random ({', '.join(absent[:3])}, …): its config.json and its weights don't belong together"
        )
    # Older files hold the numbers of the positions, 0, 1, 2, …
    if unused := sorted(key for key in loading["unexpected_keys"] if not key.endswith("position_ids")):
        log.warning(
            "anchor.pretrained=%s holds %d weights that its %s has no use for: %s",
            pretrained,
            len(unused),
            type(model).__name__,
            ", ".join(unused[:5]),
        )


def text_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """The length that texts are cut and padded to: what tower and tokenizer take, at most 77."""
    text_config = getattr(model.config, "text_config", model.config)
    positions = getattr(text_config, "max_position_embeddings", MAX_TEXT_TOKENS)
    return int(min(positions, tokenizer.model_max_length, MAX_TEXT_TOKENS))
