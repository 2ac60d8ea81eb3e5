"""Arguments of `bindspace embed` and `bindspace index`: what is embedded, of which run or binder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bind.commands.arguments.run import place_of_binder
from bind.commands.files import match_files, modality_of
from bind.data.sources.rows import require_table
from bind.model.places import saved_modalities
from bind.runs.run_config import as_list


@dataclass(frozen=True, slots=True)
class EmbedArguments:
    """What is embedded.

    Attributes:
        place: run directory, folder of a binder, or its name on the hub.
        files: that match; none where the samples of a table are embedded.
    """

    place: Path | str
    files: Sequence[str]


def read_inputs(cfg: Any) -> EmbedArguments:
    """Run or binder, and files or table, checked as far as they can be before anything heavy is loaded.

    Raises:
        ValueError: for a run, a table, files or a modality that can't be used.
    """
    if (cfg.manifest is None) == (cfg.files is None):
        raise ValueError("pass either manifest=FILE or files='sounds/**/*.wav', a pattern or a list of paths")
    place = place_of_binder(cfg)
    files = [] if cfg.files is None else match_files(as_list(cfg.files))
    if cfg.manifest is not None:
        require_table(Path(cfg.manifest))
    if (known := saved_modalities(place)) is not None:
        for file in files:
            modality_of(file, known, as_list(cfg.modalities))
    return EmbedArguments(place, files)


def read_arguments(cfg: Any) -> EmbedArguments:
    """As `read_inputs`, for `bindspace embed`.

    Raises:
        ValueError: also for the name of a file that can't be written.
    """
    if Path(cfg.out).suffix != ".parquet":
        raise ValueError(f"out={cfg.out}: choose a name that ends in .parquet")
    return read_inputs(cfg)
