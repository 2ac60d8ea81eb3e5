"""Remedies for the gap between modalities, by name: which there are, and which are chosen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bind.types import Modality

REMEDIES = ("noise", "mean", "captions", "memory")
NO_REMEDY = "noise"
"""The one of training, which does nothing to a vector."""
GapChoice = str | Mapping[Modality, str] | None
"""A remedy for all modalities, or modality → remedy for some; None: those of the bridge."""


def require_remedy(remedy: str, key: str = "gap") -> None:
    """Raise ValueError, with the `key` of the config, unless there is such a remedy."""
    if remedy not in REMEDIES:
        raise ValueError(f"{key}={remedy}: choose {', '.join(REMEDIES)}")


def require_choice(choice: GapChoice, modalities: Iterable[Modality]) -> None:
    """Raise ValueError for a remedy that there is not, or one of a modality that is not among `modalities`.

    Examples:
        >>> require_choice({"sound": "mean"}, ["audio", "imu"])
        Traceback (most recent call last):
        ValueError: gap.sound=mean: this run embeds audio, imu
    """
    if isinstance(choice, str):
        require_remedy(choice)
    known = list(modalities)
    for modality, remedy in choice.items() if isinstance(choice, Mapping) else ():
        if modality not in known:
            raise ValueError(f"gap.{modality}={remedy}: this run embeds {', '.join(known)}")
        require_remedy(remedy, f"gap.{modality}")


def read_remedies(values: Any) -> tuple[str | None, dict[Modality, str]]:
    """The remedy for all modalities, and those for some, of a config's `gap`: a word, or `default` and modalities.

    Raises:
        ValueError: for a remedy that there is not.

    Examples:
        >>> read_remedies("mean"), read_remedies({"default": "noise", "image": "mean", "audio": None})
        (('mean', {}), ('noise', {'image': 'mean'}))
    """
    named = values if isinstance(values, Mapping) else {"default": values}
    chosen = {str(name): str(remedy) for name, remedy in named.items() if remedy is not None}
    for name, remedy in chosen.items():
        require_remedy(remedy, "gap" if name == "default" else f"gap.{name}")
    default = chosen.pop("default", None)
    return default, chosen
