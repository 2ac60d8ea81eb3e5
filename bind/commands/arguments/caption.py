"""Arguments of `bindspace caption`, and what `bindspace ask` has in common with them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bind.bridge.places import require_bridge
from bind.bridge.remedies import GapChoice, require_choice
from bind.commands.named_inputs import find_files, read_named_inputs, require_modalities
from bind.commands.values import read_flag, read_number
from bind.data.sources.rows import require_table
from bind.model.places import saved_modalities
from bind.runs.run_config import open_run
from bind.types import Modality

DESCRIPTION = """\
Say in words what files, texts or samples are, by a bridge that bindspace bridge made.

bindspace caption run=PATH bridge=FOLDER MODALITY=FILE ... [KEY=VALUE ...]
bindspace caption run=PATH bridge=FOLDER split=val [manifest=FILE] [modalities=audio,imu] [KEY=VALUE ...]

  run=PATH               a run directory; or binder=PATH, a folder from Binder.save, or NAME/REPOSITORY on the hub
  bridge=FOLDER          the folder of a bridge
  audio=FILE             or image=, imu=, … any modality of the binder: a file, or a pattern such as 'sounds/**/*.wav';
                         text=WORDS
  split=val              in place of files: the samples of a split of the run's data
  manifest=FILE          with split=: of another table (CSV, JSONL or Parquet)
  modalities=audio,imu   of these samples (default: all but text that both have)
  gap=mean               noise, mean, captions or memory, in place of the bridge's own; gap.image=mean for one modality
  max_tokens=40          a caption that does not end is cut there
  beams=1                captions that are followed at a time
  out=FILE.jsonl         write all: key, modality, caption
  json=true              print JSON in place of a table
  trust=PACKAGE          packages besides bind whose classes the config may name, and folders it may read

Examples:
  bindspace caption run=runs/mine bridge=runs/mine_bridge audio=bark.wav
  bindspace caption run=runs/mine bridge=runs/mine_bridge split=val modalities=imu out=captions.jsonl
"""
OPTIONS = (
    "run", "binder", "bridge", "split", "manifest", "modalities", "gap", "max_tokens", "beams", "out", "json", "trust",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CaptionArguments:
    """What is to be captioned, by what.

    Attributes:
        options: key → value, as they stand there.
        inputs: modality and file or text of each; none where samples of a split are captioned.
        place: run directory, folder of a binder, or its name on the hub.
        bridge: its folder.
        out: the file that is written, None without one.
        writing: options of `Bridge.caption`.
        is_json: whether JSON is printed in place of a table.
    """

    options: Mapping[str, str]
    inputs: Sequence[tuple[Modality, str]]
    place: str
    bridge: Path
    out: Path | None
    writing: dict[str, Any]
    is_json: bool


def read_arguments(arguments: Sequence[str]) -> CaptionArguments:
    """What the command line says, checked as far as it can be before anything heavy is loaded.

    Raises:
        ValueError: for options, files, a run or a bridge that can't be used.
    """
    parser = argparse.ArgumentParser(
        prog="bindspace caption", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="+", metavar="KEY=VALUE", help="see above")
    named = read_named_inputs(parser.parse_args(arguments).words, OPTIONS, parents=("gap",))
    options = named.options
    if named.words:
        raise ValueError(f"{named.words[0]}: write KEY=VALUE; a text is text={named.words[0]!r}")
    if bool(named.inputs) == ("split" in options):
        raise ValueError("name what to caption: files such as audio=a.wav, or split=val for samples; not both")
    out = output_file(options)
    writing = writing_options(options)
    place = place_of_binder(options)
    inputs = find_files(named.inputs, are_patterns=True)
    if "split" in options and "run" not in options and "manifest" not in options:
        raise ValueError("binder= has no data of its own: add manifest=FILE")
    if "manifest" in options:
        require_table(Path(options["manifest"]).expanduser())
    if (known := saved_modalities(place)) is not None:
        require_modalities(inputs, known, OPTIONS)
        require_choice(writing["gap"], known)
    is_json = read_flag("json", options.get("json", "false"))
    return CaptionArguments(options, inputs, place, bridge_folder(options), out, writing, is_json)


def output_file(options: Mapping[str, str]) -> Path | None:
    """The file of `out=`; ValueError where it is no name for JSON lines."""
    if "out" not in options:
        return None
    out = Path(options["out"]).expanduser()
    if out.suffix != ".jsonl":
        raise ValueError(f"out={out}: choose a name that ends in .jsonl")
    return out


def bridge_folder(options: Mapping[str, str]) -> Path:
    """The folder of `bridge=`; ValueError where there is none, or no bridge in it."""
    if "bridge" not in options:
        raise ValueError("not set: bridge; pass bridge=FOLDER")
    folder = Path(options["bridge"])
    require_bridge(folder)
    return folder


def writing_options(options: Mapping[str, str]) -> dict[str, Any]:
    """The options of `Bridge.caption` and `Bridge.ask`."""
    return {
        "gap": gap_choice(options),
        **({"max_tokens": read_number("max_tokens", options["max_tokens"])} if "max_tokens" in options else {}),
        "num_beams": read_number("beams", options.get("beams", "1")),
    }


def gap_choice(options: Mapping[str, str]) -> GapChoice:
    """What `gap=` and `gap.MODALITY=` say, None where neither is there.

    Raises:
        ValueError: where both are there, or for a remedy that there is not.

    Examples:
        >>> gap_choice({"gap": "mean"}), gap_choice({"gap.image": "mean", "gap.imu": "noise"})
        ('mean', {'image': 'mean', 'imu': 'noise'})
    """
    of_modality = {key.removeprefix("gap."): value for key, value in options.items() if key.startswith("gap.")}
    if of_modality and "gap" in options:
        raise ValueError(f"gap={options['gap']} is for all modalities: leave it out, or gap.{min(of_modality)}=")
    choice: GapChoice = of_modality or options.get("gap")
    require_choice(choice, of_modality)
    return choice


def split_names(text: str | None) -> list[str]:
    """Names out of `a,b` or `[a,b]`."""
    return [name.strip() for name in (text or "").strip("[]").split(",") if name.strip()]


def place_of_binder(options: Mapping[str, str]) -> str:
    """The run directory of `run=`, or what `binder=` names.

    Raises:
        ValueError: where neither or both are named, or there is no such run.
    """
    if ("run" in options) == ("binder" in options):
        raise ValueError("pass either run=PATH, a run directory, or binder=PATH, a folder that Binder.save wrote")
    return str(open_run(options["run"])[0]) if "run" in options else options["binder"]
