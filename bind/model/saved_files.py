"""A saved binder's files: where they lie, and the weights in them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from bind.files.reading import require_regular_file
from bind.files.size import read_shapes
from bind.model.description import PATTERNS, WEIGHTS_NAME, About, read_description
from bind.model.places import CONFIG_NAME, find_folder
from bind.terminal import printable_errors


def locate(path_or_hub_id: Path | str) -> Path:
    """The folder that holds the binder's description, from a run directory, such a folder, or the hub.

    Raises:
        ValueError: where there is none.
    """
    if (there := find_folder(path_or_hub_id)) is not None:
        return there
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        folder = Path(snapshot_download(str(path_or_hub_id), allow_patterns=PATTERNS))
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise ValueError(f"{path_or_hub_id}: no such folder, and not reachable on the hub ({error})") from error
    if not (folder / CONFIG_NAME).is_file():
        raise ValueError(f"{path_or_hub_id}: this hub repository holds no {CONFIG_NAME}, so no binder")
    return folder


@printable_errors()
def read_saved_weights(path_or_hub_id: Path | str) -> tuple[dict[str, Tensor], str]:
    """The weights of a saved binder as `own_state_dict` names them, and its anchor's fingerprint; builds neither.

    Raises:
        ValueError: as `Binder.load`.
    """
    folder = locate(path_or_hub_id)
    _, about = read_description(folder, ("*",))  # no place that it names is opened
    require_regular_file(folder / WEIGHTS_NAME)
    read_shapes(folder / WEIGHTS_NAME)
    return read_weights(folder, about), about.anchor_fingerprint


def read_weights(folder: Path, about: About) -> dict[str, Tensor]:
    """The weights in the binder's folder.

    Raises:
        ValueError: naming the file, where it is not as it was saved, or holds values that are not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    about.require_as_saved(folder)
    try:
        state = load_file(folder / WEIGHTS_NAME)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{folder / WEIGHTS_NAME} can't be read ({error}): copy the folder again") from error
    if broken := [name for name, x in state.items() if not torch.isfinite(x).all()]:
        raise ValueError(f"{folder / WEIGHTS_NAME}: {broken[0]} holds NaN or infinite values: copy the folder again")
    return state
