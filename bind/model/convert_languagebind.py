"""Conversion of LanguageBind's published checkpoints into a binder: encoders that are CLIP towers of other pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bind.anchors.clip_folder import complete_tower_sizes
from bind.anchors.dual_encoder import PretrainedAnchor
from bind.files.reading import reading
from bind.files.writing import open_folder_atomically
from bind.model.adapter_weights import merge_lora
from bind.model.binder import Binder
from bind.model.licence import LANGUAGEBIND, write_licence
from bind.model.published import GET_IT_AGAIN, PublishedWeights, read_published_weights
from bind.model.saving import write_binder

LANGUAGEBIND_ANCHOR = "laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K"
"""The CLIP that LanguageBind's encoders were made from, with the text tower that they hold."""
MODEL_TYPES = {f"LanguageBind{m.capitalize()}": m for m in ("audio", "depth", "thermal", "video")}
WEIGHTS_FILES = ("model.safetensors", "pytorch_model.bin")
SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "patch_size",
    "hidden_act",
    "layer_norm_eps",
)
OF_TRANSFORMS = {
    "audio": {
        "audio_sample_rate": "sample_rate_hz",
        "num_mel_bins": "num_mels",
        "target_length": "num_frames",
        "audio_mean": "mean",
        "audio_std": "std",
    },
    "depth": {"image_size": "size_px", "max_depth": "max_metres"},
    "thermal": {"image_size": "size_px"},
    "video": {"image_size": "size_px", "num_frames": "num_frames"},
}
"""Modality → keys of a checkpoint's `vision_config`, and the arguments of our transforms that they are."""
NOT_USED = ("logit_scale", "vision_model.embeddings.position_ids", "text_model.embeddings.position_ids")
"""The temperature of its training, and the numbers of positions, 0, 1, 2, …, in older files."""
STEM = {"class_embedding": "class_token_W", "patch_embedding.weight": "patches.weight"} | {
    "position_embedding.weight": "positions_LW"
}
"""Names in CLIP's embeddings → in the stem of an `AnchorTower`."""
ROUNDING = 2.0**-10
"""By how much rounding to 16 bits changes a weight, as a share of it."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder of LanguageBind's.

    Attributes:
        modality: whose encoder it holds.
        settings: `vision_config` of its config.json.
        weights: with adapters merged.
        num_merged: weights that had an adapter.
    """

    modality: str
    settings: Mapping[str, Any]
    weights: PublishedWeights
    num_merged: int


def convert_languagebind(
    folder: Path | str, out: Path | str, parts: Mapping[str, Any], *, anchor: str = LANGUAGEBIND_ANCHOR
) -> tuple[Binder, list[str]]:
    """Write LanguageBind's encoders as a binder, over the CLIP that they were made from.

    Adapters are added to the weights that they belong to. Source of the model: Zhu et al. 2023.

    Args:
        folder: of a checkpoint, with config.json and its weights, or with such folders in it, one per modality.
        out: a folder that does not exist yet, or is empty.
        parts: `encoder`, `transform` and `head` of the modalities, as the choices `languagebind` of a config have them;
            sizes are replaced by those of the checkpoint.
        anchor: hub id or local folder of the CLIP; its text tower must be that of the checkpoints.

    Returns:
        The binder as `Binder.load(out)` gives it, and sentences on what was merged and not used.

    Raises:
        ValueError: for a folder that is not LanguageBind's, with what is wrong and what to do.
    """
    folder, out = Path(folder).expanduser(), Path(out).expanduser()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is there already: name a new folder, or delete it first")
    checkpoints = [read_checkpoint(place) for place in find_checkpoints(folder)]
    modalities = [checkpoint.modality for checkpoint in checkpoints]
    if twice := [m for m in set(modalities) if modalities.count(m) > 1]:
        raise ValueError(f"{folder}: holds several checkpoints of {twice[0]}: leave one of them there")
    transforms = {c.modality: fit_transform(parts["transform"][c.modality], c) for c in checkpoints}
    own: dict[str, Tensor] = {}
    encoders = {
        c.modality: map_encoder(c, parts["encoder"][c.modality], transforms[c.modality], own) for c in checkpoints
    }
    binder = Binder.from_config(
        {
            "anchor": {
                "_target_": "bind.anchors.dual_encoder.PretrainedAnchor",
                "pretrained": anchor,
                "train": [],
                "max_text_tokens": None,
            },
            "modalities": modalities,
            "encoder": encoders,
            "transform": transforms,
            "head": parts["head"],
            "fusion": None,
        }
    )
    assert isinstance(binder.anchor, PretrainedAnchor)
    notes = []
    for checkpoint in checkpoints:
        weights = checkpoint.weights
        require_text_tower(weights, binder.anchor, anchor)
        unused = [name for name in NOT_USED if name in list(weights)]
        for name in unused:
            weights.discard(name)
        weights.require_all_taken()
        notes.append(
            f"{checkpoint.modality}: {checkpoint.num_merged} adapters merged; its text tower is the anchor's; "
            f"not used: {', '.join(unused) or 'nothing'}"
        )
    require_shapes(binder, own, folder)
    binder.load_own_state_dict(own)
    with open_folder_atomically(out) as partial:
        write_binder(binder, partial)
        write_licence(LANGUAGEBIND, partial)
    return binder.eval(), notes


def find_checkpoints(folder: Path) -> list[Path]:
    """`folder` where it holds a config.json, else the folders in it that do; ValueError where there are none."""
    if (folder / "config.json").exists():
        return [folder]
    places = sorted(path.parent for path in folder.glob("*/config.json"))
    if not places:
        raise ValueError(
            f"{folder}: no folder with config.json, nor with folders that have one. Get a checkpoint: "
            "hf download LanguageBind/LanguageBind_Audio_FT --local-dir FOLDER"
        )
    return places


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read a folder of LanguageBind's and merge its adapters.

    Raises:
        ValueError: where it is of another family, lacks a file, or its config and its weights contradict each other.
    """
    path = folder / "config.json"
    with reading(path, "not readable as JSON", GET_IT_AGAIN):
        config = json.loads(path.read_text(encoding="utf-8"))
    model_type = config.get("model_type") if isinstance(config, dict) else None
    settings = config.get("vision_config") if isinstance(config, dict) else None
    if model_type not in MODEL_TYPES or not isinstance(settings, dict):
        raise ValueError(
            f"{path}: of the family {model_type!r}; bindspace converts {', '.join(MODEL_TYPES)}, whose config.json has "
            "a vision_config"
        )
    is_video, in_time = MODEL_TYPES[model_type] == "video", settings.get("add_time_attn", False)
    if in_time is not is_video:
        raise ValueError(
            f"{path}: vision_config.add_time_attn is {in_time!r}, and {model_type} has attention in time exactly where "
            f"it is for videos. {GET_IT_AGAIN}"
        )
    if settings.get("tube_size", 1) != 1:
        raise ValueError(f"{path}: vision_config.tube_size is {settings['tube_size']!r}; patches of one frame are read")
    files = [folder / name for name in WEIGHTS_FILES if (folder / name).exists()]
    if not files:
        raise ValueError(f"{folder}: has neither {' nor '.join(WEIGHTS_FILES)}. {GET_IT_AGAIN}")
    state = read_published_weights(files[0])
    rank, alpha = read_size(settings, "lora_r", path, 0), settings.get("lora_alpha", 16)
    if not isinstance(alpha, int | float) or isinstance(alpha, bool) or alpha <= 0:
        raise ValueError(f"{path}: lora_alpha is {alpha!r}, not a number above 0. {GET_IT_AGAIN}")
    ranks = {len(x) for name, x in state.items() if ".lora_A." in name}
    if ranks != ({rank} if rank else set()):
        raise ValueError(
            f"{path}: lora_r is {rank}, and {files[0].name} holds adapters of rank "
            f"{', '.join(map(str, sorted(ranks))) or 'none'}. {GET_IT_AGAIN}, "
            "or, of weights that are merged, set lora_r to 0"
        )
    num_merged = merge_lora(state, float(alpha), files[0])
    weights = PublishedWeights(state, files[0], "LanguageBind")
    return Checkpoint(MODEL_TYPES[model_type], settings, weights, num_merged)


def read_size(settings: Mapping[str, Any], key: str, path: Path, default: int | None = None) -> int:
    """A whole number of a config; ValueError where it is none."""
    value = settings.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{path}: vision_config.{key} is {value!r}, not a whole number. {GET_IT_AGAIN}")
    return value


def require_text_tower(weights: PublishedWeights, anchor: PretrainedAnchor, name: str) -> None:
    """Take the text tower; ValueError where it is not, but for rounding to 16 bits, that of the anchor."""
    for key, x in anchor.model.state_dict().items():
        if not key.startswith(("text_model.", "text_projection.")) or key.endswith("position_ids"):
            continue
        of_checkpoint = weights.take(key)
        if of_checkpoint.shape != x.shape or not torch.allclose(of_checkpoint, x, rtol=ROUNDING, atol=1e-6):
            raise ValueError(
                f"{weights.path}: its text tower is not that of anchor={name} ({key} differs), so its encoder belongs "
                f"to another space. Pass anchor=FOLDER of the CLIP that it was made from, such as {LANGUAGEBIND_ANCHOR}"
            )


def map_encoder(
    checkpoint: Checkpoint, options: Mapping[str, Any], transform: Mapping[str, Any], own: dict[str, Tensor]
) -> dict[str, Any]:
    """Put an encoder and its head into `own`, by the names of a Binder; the encoder's options, completed."""
    weights, modality = checkpoint.weights, checkpoint.modality
    given = {key: checkpoint.settings[key] for key in SIZES if key in checkpoint.settings}
    try:
        # The stem has positions of its own: those of the tower are resized, and then replaced.
        given["image_size"] = 16 * int(given.get("patch_size", 32))
        architecture = complete_tower_sizes(given, (*SIZES, "image_size"))
    except Exception as error:  # whatever a config class makes of values that it was never given
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{weights.path.parent / 'config.json'}: its sizes make no CLIP tower ({reason}). {GET_IT_AGAIN}"
        ) from error
    names = {f"stem.{new}": f"vision_model.embeddings.{old}" for old, new in STEM.items()}
    of_tower = [name for name in weights if name.startswith("vision_model.") and ".embeddings." not in name]
    names |= {f"trunk.{name.removeprefix('vision_model.')}": name for name in of_tower}
    for new, old in names.items():
        own[f"encoders.{modality}.{new}"] = weights.take(old)
    own[f"heads.{modality}.project.weight"] = weights.take("visual_projection.weight", 2)
    options = {**options, "architecture": {"model_type": "clip_vision_model", **architecture}}
    if modality == "video":
        patches, class_token = (f"encoders.video.stem.{name}" for name in ("patches.weight", "class_token_W"))
        if own[patches].ndim == 5:  # V1.5: a convolution over time too, one frame long
            own[patches] = own[patches].squeeze(2)
        sizes = {"num_frames": transform["num_frames"], "size_px": transform["size_px"]}
        return {**options, **sizes, "class_token_per_frame": own[class_token].ndim == 2}
    sides = [transform["num_mels"], transform["num_frames"]] if modality == "audio" else [transform["size_px"]] * 2
    return {**options, "sides": sides}


def fit_transform(transform: Mapping[str, Any], checkpoint: Checkpoint) -> dict[str, Any]:
    """The options of a transform, with what a checkpoint's config says; ValueError where that is no number."""
    given = {}
    for theirs, ours in OF_TRANSFORMS[checkpoint.modality].items():
        if theirs in checkpoint.settings:
            value, usual = checkpoint.settings[theirs], transform[ours]
            is_number = isinstance(value, int if isinstance(usual, int) else (int, float)) and not isinstance(
                value, bool
            )
            if not is_number or not math.isfinite(value) or (value <= 0 < usual):
                raise ValueError(
                    f"{checkpoint.weights.path.parent / 'config.json'}: vision_config.{theirs} is {value!r}, where "
                    f"LanguageBind has a number such as {usual}. {GET_IT_AGAIN}"
                )
            given[ours] = value
    return {**transform, **given}


def require_shapes(binder: Binder, own: Mapping[str, Tensor], folder: Path) -> None:
    """Raise ValueError where the weights are not those that the config of a checkpoint describes."""
    expected = {name: tuple(x.shape) for name, x in binder.own_state_dict().items()}
    wrong = sorted({n for n in {*expected, *own} if n not in own or expected.get(n) != tuple(own[n].shape)})
    if wrong:
        name = wrong[0]
        raise ValueError(
            f"{folder}: config.json and weights don't belong together: {len(wrong)} weights are missing, unknown or of "
            f"another shape, {name} is {tuple(own[name].shape) if name in own else 'missing'}, and the config makes it "
            f"{expected.get(name, 'unknown')}. {GET_IT_AGAIN}"
        )
