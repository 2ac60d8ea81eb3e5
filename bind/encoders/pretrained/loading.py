"""Trunks of transformers: from a hub id or folder with every weight accounted for, or from an architecture alone."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import CONFIG_MAPPING, MODEL_MAPPING, PreTrainedConfig, PreTrainedModel

from bind.encoders.pretrained.sources import opened_source

log = logging.getLogger("bind")

FILES = "config.json and model.safetensors"
NOT_OF_AN_ARCHITECTURE = frozenset(
    [
        "architectures",
        "attn_implementation",
        "auto_map",
        "dtype",
        "experts_implementation",
        "id2label",
        "kernel_config",
        "label2id",
        "num_labels",
        "quantization_config",
        "torch_dtype",
        "transformers_version",
    ]
)
"""Keys of a config that say where weights, labels or code come from. An attention may name code on the hub."""
WITHOUT_CHANCE = {
    "apply_spec_augment": False,
    "encoder_layerdrop": 0.0,
    "layerdrop": 0.0,
    "mask_feature_prob": 0.0,
    "mask_time_prob": 0.0,
}
"""Settings of speech models under which no input is masked and no layer left out by generators that a resumed run would
not find again; a layer that is left out also has no gradient, which several processes wait for."""


def load_trunk(
    pretrained: str | None,
    architecture: Mapping[str, Any] | None,
    *,
    parts: Mapping[str, str | None] | None,
    trunk_class: type[PreTrainedModel] | None = None,
    key_mapping: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
    without_pooler: Sequence[str] = (),
) -> PreTrainedModel:
    """A model of transformers in fp32 and eval mode, with the weights of `pretrained` or random ones.

    Args:
        pretrained: hub id or local folder.
        architecture: the config of the trunk as a dict with its `model_type`, in place of `pretrained`.
        parts: `model_type` of a config → the key under which it has the trunk's own, None where it is the trunk's. None
            in place of it all takes any type, and its `vision_config` where it has one.
        trunk_class: of the trunk; None: that of its config among the base models.
        key_mapping: pattern → replacement in the names of weights.
        options: values for keys of the config.
        without_pooler: types that are built without their pooling layer.

    Raises:
        ValueError: where it can't be loaded, is of another family, lacks weights, or has some that fit nowhere.
    """
    if (pretrained is None) == (architecture is None):
        raise ValueError(
            "an encoder needs weights or an architecture: set pretrained to a hub id or local folder; or "
            "pretrained=null and architecture to the dict of its config, for random weights"
        )
    if pretrained is None:
        assert architecture is not None
        config = make_config(_own_part({**architecture}, parts, "architecture"), options, "architecture")
        try:
            return (trunk_class or _base_model(config, "architecture"))(
                config, **_pooler_option(config, without_pooler)
            )
        except (TypeError, ValueError, KeyError, AttributeError, RuntimeError) as error:
            raise ValueError(f"architecture can't be built as a {config.model_type}: {error}") from error
    key = f"pretrained={pretrained}"
    with opened_source("pretrained", pretrained, files=FILES) as source_options:
        described, _ = PreTrainedConfig.get_config_dict(pretrained, **source_options)
    config = make_config(_own_part(described, parts, key), options, key)
    cls = trunk_class or _base_model(config, key)
    with opened_source("pretrained", pretrained, files=FILES) as source_options:
        options_of_source: dict[str, Any] = {**_pooler_option(config, without_pooler), **source_options}
        loader: Any = cls
        trunk, loading = loader.from_pretrained(
            pretrained,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # an error below, in our words
            key_mapping=dict(key_mapping) if key_mapping else None,
            **options_of_source,
        )
    _require_all_used(trunk, loading, pretrained)
    loaded: PreTrainedModel = trunk
    return loaded


def describe_config(config: PreTrainedConfig) -> dict[str, Any]:
    """The config of a trunk as plain data from which `load_trunk` builds one of the same sizes."""
    return _sizes_only(json.loads(config.to_json_string(use_diff=False)))


def _sizes_only(described: Mapping[str, Any]) -> dict[str, Any]:
    """What is left of a config without `NOT_OF_AN_ARCHITECTURE` and what is private."""
    return {
        key: _sizes_only(value) if isinstance(value, Mapping) else value
        for key, value in described.items()
        if key not in NOT_OF_AN_ARCHITECTURE and not key.startswith("_")
    }


def _own_part(described: dict[str, Any], parts: Mapping[str, str | None] | None, where: str) -> dict[str, Any]:
    """The trunk's own config within that of a model, with its `model_type`."""
    model_type = str(described.get("model_type"))
    if parts is None:
        part: str | None = "vision_config" if "vision_config" in described else None
    elif model_type in parts:
        part = parts[model_type]
    else:
        raise ValueError(
            f"{where} is of the family {model_type!r}, and this encoder is for {' and '.join(sorted(parts))}: choose "
            "the encoder of its family, see docs/pretrained.md"
        )
    if part is None:
        return described
    whole = CONFIG_MAPPING[model_type](**_sizes_only(described)) if model_type in CONFIG_MAPPING else None
    own = getattr(whole, part, None)
    if not isinstance(own, PreTrainedConfig):
        raise ValueError(f"{where}: its config has no {part}; copy the folder again")
    return {**json.loads(own.to_json_string(use_diff=False)), "model_type": own.model_type}


def make_config(described: Mapping[str, Any], options: Mapping[str, Any] | None, where: str) -> PreTrainedConfig:
    """A config of transformers from plain data; `where` that stands, for messages.

    Raises:
        ValueError: for a family that is not known, and values that its class does not take.
    """
    model_type = str(described.get("model_type"))
    if model_type not in CONFIG_MAPPING:
        raise ValueError(f"{where} is of the family {model_type!r}, which this transformers does not know")
    try:
        config = CONFIG_MAPPING[model_type].from_dict(_sizes_only(described))
        for name, value in {**WITHOUT_CHANCE, **(options or {})}.items():
            if hasattr(config, name):
                setattr(config, name, value)
    except Exception as error:  # whatever a config class makes of values that it was never given
        raise ValueError(f"{where}: its config can't be read as that of a {model_type}: {error}") from error
    return config


def _base_model(config: PreTrainedConfig, where: str) -> type[PreTrainedModel]:
    if type(config) not in MODEL_MAPPING:
        raise ValueError(f"{where} is of the family {config.model_type!r}, of which transformers has no base model")
    model_class: Any = MODEL_MAPPING[type(config)]
    cls: type[PreTrainedModel] = model_class
    return cls


def _pooler_option(config: PreTrainedConfig, without_pooler: Sequence[str]) -> dict[str, bool]:
    return {"add_pooling_layer": False} if config.model_type in without_pooler else {}


def _require_all_used(trunk: nn.Module, loading: Mapping[str, Any], pretrained: str) -> None:
    """Raise ValueError for weights that are missing or fit nowhere; name those of other parts of the model."""
    name = type(trunk).__name__
    absent = sorted({*loading["missing_keys"], *(str(key[0]) for key in loading["mismatched_keys"])})
    if absent:
        raise ValueError(
            f"pretrained={pretrained} lacks {len(absent)} of the weights of its {name}, which would be random "
            f"({_first(absent)}): its config.json and its weights don't belong together, or another tool wrote them"
        )
    own = {child for child, _ in trunk.named_children()}
    prefix = f"{getattr(trunk, 'base_model_prefix', '')}."
    places = {key: key.removeprefix(prefix).split(".")[0] for key in loading["unexpected_keys"]}
    extra = sorted(key for key, place in places.items() if place in own)
    if extra:
        raise ValueError(
            f"pretrained={pretrained} holds {len(extra)} weights for which its {name} has no place ({_first(extra)}): "
            "its config.json and its weights don't belong together, or an adapter was not merged into them"
        )
    if places:
        counts = Counter(places.values())
        parts = ", ".join(f"{place} ({counts[place]})" for place in sorted(counts))
        log.info("%s: the encoder is its %s; weights that belong to others are left out: %s", pretrained, name, parts)


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
