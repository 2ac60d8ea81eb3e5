"""Doors of training: the transforms that read the files of each modality, of a user's own too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bind.anchors.processors import ImageTransform
from bind.build import ANY_CLASS, build
from bind.data.transforms.audio import AudioTransform
from bind.data.transforms.depth import DepthTransform
from bind.data.transforms.imu import ImuTransform
from bind.data.transforms.thermal import ThermalTransform
from bind.types import Clip, Modality, Transform

PACKAGE = Path(__file__).parents[2]


def training_transforms(overrides: Sequence[str] = (), config_dir: Path | None = None) -> dict[Modality, Transform]:
    """Modality → the transform that a training with these overrides would read its files with.

    Args:
        overrides: as for a training: `transform.audio.sample_rate_hz=8000`, `+transform/pressure=default`.
        config_dir: configs of the user's own.

    Raises:
        ValueError: for an option that there is not.
    """
    configs = next(folder / "configs" for folder in (PACKAGE, PACKAGE.parent) if (folder / "configs").is_dir())
    search = [] if config_dir is None else [f"hydra.searchpath=[file://{config_dir.resolve()}]"]
    try:
        with initialize_config_dir(str(configs), version_base="1.3"):
            config = compose("train", overrides=[*overrides, *search])
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(f"{' '.join(overrides)}: {str(error).splitlines()[0]}") from error
    options = OmegaConf.to_container(config.transform, resolve=True)
    assert isinstance(options, dict)
    transforms: dict[Modality, Transform] = {str(m): build(o, trust=ANY_CLASS) for m, o in options.items() if o}
    # Its processor belongs to an anchor; what it opens does not depend on that.
    return {"image": ImageTransform(None), **transforms}


def file_sort(transform: Transform | None) -> str | None:
    """`picture`, `map`, `sound` or `sensor` by the transform that reads it; None for others, such as video."""
    sorts: dict[str, type | tuple[type, ...]] = {
        "picture": ImageTransform,
        "map": (DepthTransform, ThermalTransform),
        "sound": AudioTransform,
        "sensor": ImuTransform,
    }
    return next((sort for sort, kinds in sorts.items() if isinstance(transform, kinds)), None)


def refusal(transform: Transform, clip: Clip) -> Exception | None:
    """What a training raises where it reads a clip in evaluation; None where it reads it."""
    try:
        transform(clip, None)
    except Exception as error:  # decoders raise errors of any class on broken files
        return error
    return None
