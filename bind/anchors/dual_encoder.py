"""The anchor: a frozen image tower and text tower that define the space, loaded from transformers' files."""

from __future__ import annotations

import contextlib
import copy
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from bind.anchors.processors import NUM_VIDEO_FRAMES, FramesTransform, ImageTransform, TextTransform
from bind.encoders.pretrained.sources import opened_source, silent_transformers
from bind.files.writing import open_folder_atomically
from bind.types import Inputs, Modality, Transform

TOY = "toy"
TOY_FOLDER = Path(__file__).parent / "toy"
TOWER_PREFIXES = {
    "image": ("vision_model.", "visual_projection."),
    "text": ("text_model.", "text_projection."),
}
MAX_TEXT_TOKENS = 77


class Anchor(nn.Module):
    """A dual encoder over images and text whose towers stay frozen and in eval mode unless opened.

    Attributes:
        name: hub id or folder name.
        dim: D, the size of the space.
        modalities: (`image`, `text`, `video`): a video is the mean of its frames in the image tower.
        transforms: modality → its processor as a `Transform`.
        trainable: the modalities whose embeddings training changes.
    """

    modalities: tuple[Modality, ...] = ("image", "text", "video")

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
        super().__init__()
        unknown = sorted(set(train) - set(TOWER_PREFIXES))
        if unknown:
            raise ValueError(f"anchor.train={list(train)}: {unknown} are not towers; choose from {(*TOWER_PREFIXES,)}")
        self.name = name
        self._fingerprint: tuple[Any, str] | None = None
        self.model: Any = model
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.trainable = (*train, *(["video"] if "image" in train else []))
        self.text_transform = TextTransform(tokenizer, max_text_tokens or _text_tokens(model, tokenizer))
        self.transforms: dict[Modality, Transform] = {
            "image": ImageTransform(image_processor),
            "text": self.text_transform,
            "video": FramesTransform(image_processor),
        }
        for parameter_name, parameter in model.named_parameters():
            parameter.requires_grad_(self._tower_of(parameter_name) in self.trainable)
        self.train(False)
        with torch.no_grad():
            self.dim = int(self._features("text", self.text_transform.collate(["a"])).shape[-1])
        self.train()

    @staticmethod
    def _tower_of(parameter_name: str) -> Modality | None:
        for modality, prefixes in TOWER_PREFIXES.items():
            if parameter_name.startswith(prefixes):
                return modality
        return None

    def train(self, mode: bool = True) -> Anchor:
        """Set the mode of opened towers; all others stay in eval mode."""
        super().train(False)
        for modality in self.trainable:
            for prefix in TOWER_PREFIXES.get(modality, ()):
                tower = getattr(self.model, prefix.rstrip("."), None)
                if tower is not None:
                    tower.train(mode)
        self.training = mode
        return self

    def _features(self, modality: Modality, inputs: Inputs) -> Tensor:
        assert isinstance(inputs, dict)
        features = (
            self.model.get_text_features(**inputs) if modality == "text" else self.model.get_image_features(**inputs)
        )
        # transformers 5 returns an object for some families and a tensor for others.
        return features if isinstance(features, Tensor) else features.pooler_output

    def embed(self, modality: Modality, inputs: Inputs) -> Tensor:
        """Unit embeddings (B_m, D) in fp32 of processed inputs; without a graph where the tower is frozen.

        Args:
            modality: one of `modalities`.
            inputs: by name; of `image` `pixel_values` (B_m, 3, H, W), of `video` one axis of frames more, (B_m, T, …),
                of `text` `input_ids` and `attention_mask` (B_m, L).
        """
        frozen = modality not in self.trainable
        with torch.no_grad() if frozen else contextlib.nullcontext():
            if modality == "video":
                return self._embed_frames(inputs)
            return nn.functional.normalize(self._features(modality, inputs).float(), dim=-1)

    def _embed_frames(self, inputs: Inputs) -> Tensor:
        """The mean of the unit embeddings of `{"pixel_values": (B, T, 3, H, W)}`, normalised once."""
        assert isinstance(inputs, dict)
        num_frames = inputs["pixel_values"].shape[1]
        frames = ({name: x[:, t] for name, x in inputs.items()} for t in range(num_frames))
        z_TBD = torch.stack([nn.functional.normalize(self._features("image", x).float(), dim=-1) for x in frames])
        return nn.functional.normalize(z_TBD.mean(dim=0), dim=-1)

    @property
    def fingerprint(self) -> str:
        """A hash of the weights and of the preprocessing: two anchors that share it give the same vectors.

        It is computed again only where a weight has been written since; moving them to a device writes none.
        """
        weights = [
            (name, id(p), p.dtype, 0 if p.is_inference() else p._version) for name, p in self.model.named_parameters()
        ]
        buffers = [(name, x.dtype, tuple(x.shape)) for name, x in self.model.named_buffers()]
        state = (weights, buffers, self.image_processor.to_json_string(), self.text_transform.fingerprint_parts())
        if self._fingerprint is None or self._fingerprint[0] != state:
            self._fingerprint = state, self._hash()
        return self._fingerprint[1]

    def _hash(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
        digest.update(self.image_processor.to_json_string().encode())
        digest.update(f"{NUM_VIDEO_FRAMES} frames of a video".encode())
        digest.update(repr(self.text_transform.fingerprint_parts()).encode())
        return digest.hexdigest()

    def save(self, folder: Path | str) -> None:
        """Write weights (safetensors, half precision), tokenizer and processor where `PretrainedAnchor` finds them."""
        with open_folder_atomically(Path(folder)) as partial, silent_transformers():
            copy.deepcopy(self.model).half().save_pretrained(partial)
            self.tokenizer.save_pretrained(partial)
            self.image_processor.save_pretrained(partial)


class PretrainedAnchor(Anchor):
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
            # The PIL backend gives the same pixels whether or not torchvision happens to be installed.
            image_processor = AutoImageProcessor.from_pretrained(source, backend="pil", **options)
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            model, loading = AutoModel.from_pretrained(
                source, dtype=torch.float32, output_loading_info=True, use_safetensors=True, **options
            )
        absent = sorted({*loading["missing_keys"], *(str(key) for key in loading["mismatched_keys"])})
        if absent:
            raise ValueError(
                f"anchor.pretrained={pretrained} lacks {len(absent)} of its {type(model).__name__}'s weights, which "
                f"would be random ({', '.join(absent[:3])}, …): its config.json and its weights don't belong together"
            )
        if not (hasattr(model, "get_image_features") and hasattr(model, "get_text_features")):
            raise ValueError(
                f"anchor.pretrained={pretrained} is a {type(model).__name__}, not a dual encoder with an image and a "
                "text tower; choose a CLIP, SigLIP, AltCLIP, Chinese-CLIP or VisionTextDualEncoder model"
            )
        super().__init__(pretrained, model, tokenizer, image_processor, train=train, max_text_tokens=max_text_tokens)


def _text_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    text_config = getattr(model.config, "text_config", model.config)
    positions = getattr(text_config, "max_position_embeddings", MAX_TEXT_TOKENS)
    return int(min(positions, tokenizer.model_max_length, MAX_TEXT_TOKENS))
