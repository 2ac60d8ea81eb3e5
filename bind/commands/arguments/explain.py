"""Arguments of `bindspace explain`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bind.commands.files import require_file
from bind.model.places import saved_modalities
from bind.runs.run_config import open_run
from bind.search.listing import read_listing
from bind.timeline.phrases import read_phrases
from bind.types import Modality

JSON, PAGE, CLASSES_JSON = "explanation.json", "explanation.html", "classes.json"
MIN_SAMPLES = 10


@dataclass(frozen=True, slots=True)
class ExplainArguments:
    """What is explained.

    Attributes:
        words: the concepts; None: those of the run's own labels and texts.
    """

    run_dir: Path
    config: dict[str, Any]
    out: Path
    words: Sequence[str] | None


def read_arguments(cfg: Any) -> ExplainArguments:
    """What the config says, checked as far as it can be before anything heavy is loaded.

    Raises:
        ValueError: for a run, a side, an index, concepts or a folder that can't be used.
    """
    out = Path(cfg.out).expanduser()
    if out.is_file() or (
        out.is_dir() and any(out.iterdir()) and not any((out / n).is_file() for n in (JSON, CLASSES_JSON))
    ):
        raise ValueError(f"out={out}: holds something else; name a new folder")
    for name, least in (("num_samples", MIN_SAMPLES), ("l1", 0)):
        if isinstance(cfg[name], bool) or not isinstance(cfg[name], int | float) or not least <= cfg[name] < 1e6:
            raise ValueError(f"{name}={cfg[name]}: give a number of {least} or more")
    if cfg.a is None and (cfg.b is not None or cfg["in"] is not None):
        raise ValueError(
            "name the first side too, a=MODALITY:VALUE; without any side the classes of split= are explained"
        )
    if cfg.a is not None and cfg["in"] is None and cfg.b is None:
        raise ValueError("name the other side, b=MODALITY:VALUE, or an index, in=INDEX, whose nearest it is to be")
    words = None if cfg.concepts is None else read_phrases(require_file("concepts", cfg.concepts))
    run_dir, config = open_run(cfg.run)
    if (known := saved_modalities(run_dir)) is not None:
        sides = {"a": cfg.a} | ({} if cfg["in"] is not None else {"b": cfg.b})
        for name, side in sides.items():
            if side is not None:
                split_side(name, str(side), known)
    if cfg["in"] is not None:
        read_listing(Path(cfg["in"]).expanduser())
    return ExplainArguments(run_dir, config, out, words)


def split_side(name: str, side: str, modalities: Sequence[Modality]) -> tuple[Modality, str]:
    """Modality and value of a side.

    Raises:
        ValueError: naming the side, for one without a value, or of a modality that is not among `modalities`.

    Examples:
        >>> split_side("b", "text:a dog", ["image", "text"])
        ('text', 'a dog')
    """
    modality, colon, value = side.partition(":")
    if not colon or modality not in modalities:
        raise ValueError(
            f"{name}={side}: write MODALITY:VALUE, such as audio:x.wav; this run embeds {', '.join(modalities)}"
        )
    if not value.strip():
        raise ValueError(f"{name}={side}: name a file, the key of a sample, or of text the words")
    return modality, value
