"""Choice of vectors for a modality of one's own, `+encoder/smell=vectors`, which no config of bind can know by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

SHARED = "any"
"""The group of configs/encoder and configs/transform whose `vectors` is for every name."""


def choose_vectors(overrides: Sequence[str], config_dir: Path) -> list[str]:
    """The overrides as Hydra takes them, where some choose vectors for a modality that has no configs.

    Examples:
        >>> configs = Path(__file__).parents[2] / "configs"
        >>> choose_vectors(["+transform/smell=vectors", "+encoder/smell=vectors", "seed=1"], configs)
        ['+transform/any@transform.smell=vectors', '+encoder/any@encoder.smell=vectors',
         'encoder.smell.width=${transform.smell.width}', 'seed=1']
        >>> choose_vectors(["encoder/audio=vectors"], configs)
        ['encoder/audio=vectors']
    """
    chosen = []
    for override in overrides:
        choice = re.fullmatch(r"\+?(encoder|transform)/([a-z][a-z0-9_]*)=vectors", override)
        if choice is None or (config_dir / choice[1] / choice[2]).is_dir():
            chosen.append(override)
            continue
        part, name = choice.groups()
        chosen.append(f"+{part}/{SHARED}@{part}.{name}=vectors")
        if part == "encoder":
            chosen.append(f"encoder.{name}.width=${{transform.{name}.width}}")
    return chosen
