"""Arguments of `bindspace timeline`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from bind.data.sources.rows import require_table
from bind.model.places import saved_modalities
from bind.runs.run_config import as_list, open_run
from bind.timeline.modalities import require_embedded
from bind.timeline.phrases import phrases_of
from bind.timeline.writers import WRITERS
from bind.types import Modality

KEYS = frozenset(
    [
        "run",
        "labels",
        "out",
        "player",
        "none",
        "hop_seconds",
        "look_ahead_seconds",
        "manifest",
        "annotations",
        "kind",
        "modality",
        "fit",
        "split",
        "trust",
    ]
)
"""Keys of the config; any other one is a modality and its file."""
ENDINGS = (*WRITERS, ".html", ".png")


@dataclass(frozen=True, slots=True)
class TimelineArguments:
    """What a time line is made of, or what is measured.

    Attributes:
        modality: of the recording; None where a split is measured.
        path: the recording.
        outs: what is written.
        player: a sound or video for the page.
    """

    run_dir: Path
    config: dict[str, Any]
    modality: Modality | None = None
    path: Path = Path()
    outs: Sequence[Path] = ()
    player: Path | None = None


def read_arguments(cfg: Any) -> TimelineArguments:
    """What the config says, checked as far as it can be before anything heavy is loaded.

    Raises:
        ValueError: for a run, a recording, labels, tables or a name to write to that can't be used.
    """
    options: Any = OmegaConf.to_container(cfg, resolve=True)
    files = {name: value for name, value in options.items() if name not in KEYS and value is not None}
    if (cfg.manifest is None) != (cfg.annotations is None):
        raise ValueError("manifest= and annotations= belong together: recordings, and what is known of them")
    if cfg.manifest is not None and (files or cfg.out is not None):
        raise ValueError("pass either a recording and out=, or manifest= and annotations= to measure and to fit")
    if cfg.manifest is None and cfg.fit:
        raise ValueError("fit=true learns from annotated recordings: add manifest=FILE annotations=FILE")
    if cfg.manifest is None and len(files) != 1:
        raise ValueError("name one recording, such as imu=day.csv; or manifest= and annotations= to measure and to fit")
    if not (isinstance(cfg.look_ahead_seconds, int | float) and cfg.look_ahead_seconds > 0):
        raise ValueError(f"look_ahead_seconds={cfg.look_ahead_seconds}: give seconds above 0")
    run_dir, config = open_run(cfg.run)
    if cfg.manifest is not None:
        require_table(Path(cfg.manifest))
        phrases_of(str(cfg.labels), _label_sets(config), str(cfg.modality or "the recordings"))
        return TimelineArguments(run_dir, config)
    [(modality, file)] = files.items()
    path = Path(str(file)).expanduser()
    outs = [Path(out).expanduser() for out in as_list(cfg.out)]
    if not outs:
        raise ValueError("out is missing: out=segments.csv, or several, out=[day.csv,day.eaf,day.html,day.png]")
    if wrong := [out for out in outs if out.suffix.lower() not in ENDINGS]:
        raise ValueError(f"out={wrong[0]}: choose names that end in {', '.join(ENDINGS)}")
    if path.resolve() in [out.resolve() for out in outs]:
        raise ValueError(f"out={path}: that is the recording; choose another name")
    if not path.is_file():
        raise ValueError(f"{modality}={path}: no such file. Paths count from {Path.cwd()}")
    player = path if modality in ("audio", "video") else None if cfg.player is None else Path(cfg.player).expanduser()
    if player is not None and not player.is_file():
        raise ValueError(f"player={player}: no such file; name the sound or video that starts with the recording")
    if (known := saved_modalities(run_dir)) is not None:
        require_embedded(modality, known)
    phrases_of(str(cfg.labels), _label_sets(config), modality)
    return TimelineArguments(run_dir, config, modality, path, outs, player)


def _label_sets(config: dict[str, Any]) -> Sequence[str]:
    """Names of the label sets of a run."""
    return list(config["data"].get("zero_shot") or {})
