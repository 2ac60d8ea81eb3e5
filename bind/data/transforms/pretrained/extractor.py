"""Feature extractors of transformers: from a hub id or folder, or from settings alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from transformers import FeatureExtractionMixin

from bind.encoders.pretrained.sources import opened_source

FILES = "preprocessor_config.json"
NOT_SETTINGS = ("feature_extractor_type", "processor_class", "auto_map")


def load_extractor(
    extractor_class: type[FeatureExtractionMixin], pretrained: str | None, settings: Mapping[str, Any] | None
) -> Any:
    """A feature extractor with the settings of `pretrained`, with `settings`, or with those of its class.

    Raises:
        ValueError: where it can't be loaded, or is of another family.
    """
    if pretrained is None:
        return _build(extractor_class, dict(settings or {}), "extractor")
    if settings is not None:
        raise ValueError("a transform takes pretrained or extractor, not both: set one of them to null")
    with opened_source("pretrained", pretrained, files=FILES) as options:
        described, _ = extractor_class.get_feature_extractor_dict(pretrained, **options)
    kind = described.get("feature_extractor_type", extractor_class.__name__)
    if kind != extractor_class.__name__:
        raise ValueError(
            f"pretrained={pretrained} has a {kind}, and this transform is for a {extractor_class.__name__}: choose the "
            "encoder and transform of its family, see docs/pretrained.md"
        )
    return _build(extractor_class, described, f"pretrained={pretrained}")


def settings_of(extractor: FeatureExtractionMixin) -> dict[str, Any]:
    """The settings of an extractor as plain data; what it computes of them is left out."""
    return {name: value for name, value in _plain(extractor.to_dict()).items() if name not in NOT_SETTINGS}


def _plain(described: Mapping[str, Any]) -> dict[str, Any]:
    plain = {}
    for name, value in described.items():
        if not name.startswith("_"):
            try:
                plain[name] = json.loads(json.dumps(value))
            except TypeError:  # an array, made of the settings
                continue
    return plain


def _build(extractor_class: type[FeatureExtractionMixin], settings: dict[str, Any], where: str) -> Any:
    known = {name: value for name, value in settings.items() if name not in NOT_SETTINGS}
    try:
        return extractor_class(**known)
    except Exception as error:  # whatever an extractor makes of values that it was never given
        raise ValueError(f"{where}: its settings don't make a {extractor_class.__name__}: {error}") from error
