"""Arguments of `bindspace bridge`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from bind.bridge.options import BridgeTraining
from bind.bridge.places import require_free
from bind.bridge.remedies import NO_REMEDY, read_remedies, require_choice
from bind.bridge.texts import read_texts
from bind.commands.arguments.run import place_of_binder
from bind.model.places import saved_modalities
from bind.runs.run_config import run_or_binder
from bind.types import Modality

OF_TRAINING = ("num_steps", "batch_size", "lr", "weight_decay", "noise", "seed", "save_every_steps")
MIN_TEXT_TOKENS = 2
LEAST_NUMBERS = {"max_text_tokens": MIN_TEXT_TOKENS, "num_held_out": 0, "num_samples": 0, "num_compared": 0}
OF_SAMPLES = {"mean", "captions"}
"""Remedies that are measured on training samples."""


@dataclass(frozen=True, slots=True)
class BridgeArguments:
    """What a bridge is trained on, and how.

    Attributes:
        place: run directory, folder of a binder, or its name on the hub.
        options: of the training.
        remedy: for the gap of all modalities but those of `of_modality`.
        mapper: class and options.
        texts: of `texts=`, None without it.
        needs_captions: whether the captions of the run's training samples are learned.
    """

    out: Path
    place: Path | str
    options: BridgeTraining
    remedy: str
    of_modality: Mapping[Modality, str]
    mapper: Mapping[str, Any]
    texts: Sequence[str] | None
    needs_captions: bool


def read_arguments(cfg: Any) -> BridgeArguments:
    """What the config says, checked as far as it can be before anything heavy is loaded.

    Raises:
        ValueError: for a run, texts, options or a folder that can't be used.
    """
    out = Path(cfg.out).expanduser()
    require_free(out, overwrite=bool(cfg.overwrite))
    options = BridgeTraining(**{name: cfg[name] for name in OF_TRAINING})
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    default, of_modality = read_remedies(plain["gap"])
    remedy = default or NO_REMEDY
    for name, least in LEAST_NUMBERS.items():
        if not isinstance(cfg[name], int) or isinstance(cfg[name], bool) or cfg[name] < least:
            raise ValueError(f"{name}={cfg[name]}: give a whole number of at least {least}")
    if isinstance(cfg.keep_gb, bool) or not isinstance(cfg.keep_gb, int | float) or not 0 <= cfg.keep_gb < 1e6:
        raise ValueError(f"keep_gb={cfg.keep_gb}: give a number of 0 or more")
    mapper = plain["mapper"]
    reads_tokens = "modality" in mapper
    if reads_tokens and cfg.texts is not None:
        raise ValueError("texts=: a mapper of tokens learns of the run's training samples with captions; leave it out")
    texts = None if cfg.texts is None else read_texts(Path(str(cfg.texts)).expanduser())
    needs_captions = texts is None and (cfg.instructions is None or (reads_tokens and cfg.run is not None))
    if run_or_binder(cfg) == "binder":
        if needs_captions:
            raise ValueError("binder= has no data of its own: add texts=FILE, one text a line")
        if remedies := sorted({remedy, *of_modality.values()} & OF_SAMPLES):
            raise ValueError(
                f"gap={remedies[0]} needs training samples, which a binder has not: pass run=PATH, or another gap="
            )
    place = place_of_binder(cfg)
    if (known := saved_modalities(place)) is not None:
        require_choice(of_modality, known)
    return BridgeArguments(out, place, options, remedy, of_modality, mapper, texts, needs_captions)
