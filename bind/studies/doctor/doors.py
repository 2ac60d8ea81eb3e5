"""Doors of training: the transforms that read the files of each modality, of a user's own too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bind.anchors.dual_encoder import TOY
from bind.anchors.processors import ImageTransform
from bind.build import ANY_CLASS, build
from bind.data.transforms.audio import AudioTransform
from bind.data.transforms.depth import DepthTransform
from bind.data.transforms.imagebind import ImageBindAudioTransform
from bind.data.transforms.thermal import ThermalTransform
from bind.runs.interpolations import resolved
from bind.runs.vector_choices import choose_vectors
from bind.types import Anchor, Clip, Modality, SensorTransform, Transform

PACKAGE = Path(__file__).parents[2]


def training_transforms(overrides: Sequence[str] = (), config_dir: Path | None = None) -> dict[Modality, Transform]:
    """Modality → the transform that a training with these overrides would read its files with.

    Args:
        overrides: as for a training: `transform.audio.sample_rate_hz=8000`, `+transform/pressure=default`.
        config_dir: configs of the user's own.

    Raises:
        ValueError: for an option that there is not.
    """
    config = _compose(overrides, config_dir)
    options = resolved(config.transform)
    transforms: dict[Modality, Transform] = {
        str(m): build(o, "transform", trust=ANY_CLASS) for m, o in options.items() if o
    }
    # Its processor belongs to an anchor; what it opens does not depend on that.
    return {"image": ImageTransform(None), **transforms}


def build_anchor(name: str, config_dir: Path | None = None) -> str | Anchor:
    """The anchor that `name` chooses, `none` aside.

    Args:
        name: as in `anchor.pretrained=` (`toy`, a hub id, a folder), which is left to whoever loads it; or a choice of
            `anchor=`, alone or with what its `pretrained` is to be: `clap:FOLDER`, `open_clip:local-dir:FOLDER`.
        config_dir: configs of the user's own, with anchors too.

    Raises:
        ValueError: for an anchor that can't be loaded.
    """
    choice, _, place = name.partition(":")
    folders = [folder / "anchor" for folder in (_configs(), *([config_dir] if config_dir else []))]
    is_choice = any((folder / f"{choice}.yaml").is_file() for folder in folders)
    if choice == TOY or not is_choice or Path(name).exists():
        return name
    options: Any = OmegaConf.to_container(_compose([f"anchor={choice}"], config_dir).anchor, resolve=not place)
    anchor: Anchor = build({**options, **({"pretrained": place} if place else {})}, "anchor", trust=ANY_CLASS)
    return anchor


def _configs() -> Path:
    return next(folder / "configs" for folder in (PACKAGE, PACKAGE.parent) if (folder / "configs").is_dir())


def _compose(overrides: Sequence[str], config_dir: Path | None) -> DictConfig:
    """The config of a training; ValueError for an option that there is not."""
    search = [] if config_dir is None else [f"hydra.searchpath=[file://{config_dir.resolve()}]"]
    try:
        with initialize_config_dir(str(_configs()), version_base="1.3"):
            return compose("train", overrides=[*choose_vectors(overrides, _configs()), *search])
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(f"{' '.join(overrides)}: {str(error).splitlines()[0]}") from error


def file_sort(transform: Transform | None) -> str | None:
    """`picture`, `map`, `sound` or `sensor` by the transform that reads it; None for others, such as video."""
    sorts: dict[str, type | tuple[type, ...]] = {
        "picture": ImageTransform,
        "map": (DepthTransform, ThermalTransform),
        "sound": (AudioTransform, ImageBindAudioTransform),
        "sensor": SensorTransform,
    }
    return next((sort for sort, kinds in sorts.items() if isinstance(transform, kinds)), None)


def refusal(transform: Transform, clip: Clip) -> Exception | None:
    """What a training raises where it reads a clip in evaluation; None where it reads it."""
    try:
        transform(clip, None)
    except Exception as error:  # decoders raise errors of any class on broken files
        return error
    return None
