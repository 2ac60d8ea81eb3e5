"""Captions as a command: what a bridge says of files, texts or the samples of a split."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bind.bridge.bridge import BATCH_SIZE, MAX_TOKENS, Bridge
from bind.bridge.gap import NO_REMEDY, GapChoice, require_choice
from bind.commands.convert import read_number
from bind.commands.named_inputs import TEXT, find_files, read_named_inputs, require_modalities
from bind.commands.taken_parts import print_taken_parts
from bind.data.datamodule import BindDataModule
from bind.data.sources.manifest import ManifestSource
from bind.data.sources.splits import require_split
from bind.evaluation.embed import best_device, embed_split
from bind.explain.known import KnownSamples
from bind.files.writing import write_text
from bind.model.binder import Binder
from bind.report.cells import Cells
from bind.report.terminal_table import print_cells
from bind.runs.directory import open_run
from bind.runs.parts import Parts
from bind.types import Modality, Source

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
MAX_SHOWN = 40


@dataclass(frozen=True, slots=True)
class CaptionedValue:
    """One caption: the key of its sample or the file, and its modality."""

    key: str
    modality: Modality
    caption: str

    def as_json(self) -> dict[str, str]:
        """Plain values."""
        return {"key": self.key, "modality": self.modality, "caption": self.caption}


def main(arguments: list[str]) -> None:
    """Caption what the command line names, and print a table or JSON.

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
    binder, sources = open_binder(place, options, needs_data="split" in options)
    require_modalities(inputs, binder.modalities, OPTIONS)
    require_choice(writing["gap"], binder.modalities)
    bridge = Bridge.load(required(options, "bridge"), binder)
    if "split" in options:
        chosen = split_names(options.get("modalities"))
        captions = caption_split(bridge, sources, options["split"], chosen, writing)
    else:
        print_taken_parts(binder, inputs)
        captions = caption_inputs(bridge, inputs, writing)
    plain = [caption.as_json() for caption in captions]
    if out:
        write_text(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in plain))
    if options.get("json", "false").lower() == "true":
        print(json.dumps(plain, ensure_ascii=False, indent=1))
    else:
        print_cells(_cells(captions, bridge, out))
    for hint in hints_of_silence(bridge, [one.modality for one in captions if not one.caption], writing["gap"]):
        print(hint, file=sys.stderr)
    if out:
        print(f"{len(plain)} captions: {out}")


def hints_of_silence(bridge: Bridge, silent: Iterable[Modality], gap: GapChoice) -> list[str]:
    """What to try where a bridge said nothing of inputs of these modalities: their vectors lie far from all texts.

    Args:
        gap: the remedies that were taken, as in `Bridge.caption`.
    """
    hints = []
    for modality in dict.fromkeys(silent):
        if bridge.token_modality is not None or modality == TEXT:
            continue
        taken = bridge.gap.remedy_of(modality, gap)
        others = [remedy for remedy in bridge.gap.remedies_for(modality) if remedy not in (taken, NO_REMEDY)]
        advice = f"try gap={' or gap='.join(others)}" if others else "learn of more texts, or with more noise="
        hints.append(f"(nothing) of {modality} with gap={taken}: its vectors lie far from those of texts; {advice}")
    return hints


def required(options: dict[str, str], key: str) -> str:
    """An option that has to be there; ValueError otherwise."""
    if key not in options:
        raise ValueError(f"not set: {key}; pass {key}=FOLDER")
    return options[key]


def output_file(options: dict[str, str]) -> Path | None:
    """The file of `out=`; ValueError where it is no name for JSON lines."""
    if "out" not in options:
        return None
    out = Path(options["out"]).expanduser()
    if out.suffix != ".jsonl":
        raise ValueError(f"out={out}: choose a name that ends in .jsonl")
    return out


def writing_options(options: dict[str, str]) -> dict[str, Any]:
    """The options of `Bridge.caption` and `Bridge.ask`."""
    return {
        "gap": gap_choice(options),
        "max_tokens": read_number("max_tokens", options.get("max_tokens", str(MAX_TOKENS))),
        "num_beams": read_number("beams", options.get("beams", "1")),
    }


def gap_choice(options: dict[str, str]) -> GapChoice:
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


def place_of_binder(options: dict[str, str]) -> str:
    """The run directory of `run=`, or what `binder=` names.

    Raises:
        ValueError: where neither or both are named, or there is no such run.
    """
    if ("run" in options) == ("binder" in options):
        raise ValueError("pass either run=PATH, a run directory, or binder=PATH, a folder that Binder.save wrote")
    return str(open_run(options["run"])[0]) if "run" in options else options["binder"]


def open_binder(place: str, options: dict[str, str], *, needs_data: bool) -> tuple[Binder, list[Source]]:
    """The binder on the best device, and the sources that samples are taken of.

    Raises:
        ValueError: where it, or the run's data, can't be read.
    """
    trust = split_names(options.get("trust"))
    table = options.get("manifest")
    if needs_data and table is None and "run" in options:
        run_dir, config = open_run(place)
        parts = Parts.load(run_dir, config, trust=trust, device=best_device())
        return parts.binder.eval(), list(parts.datamodule.sources)
    if needs_data and table is None:
        raise ValueError("binder= has no data of its own: add manifest=FILE")
    binder = Binder.load(place, trust=trust).to(best_device())
    return binder, [ManifestSource(Path(table).expanduser())] if table and needs_data else []


def caption_inputs(
    bridge: Bridge, inputs: Sequence[tuple[Modality, str]], writing: dict[str, Any]
) -> list[CaptionedValue]:
    """A caption of each file or text, in their order."""
    captions: dict[int, str] = {}
    for modality in dict.fromkeys(m for m, _ in inputs):
        numbers = [n for n, (m, _) in enumerate(inputs) if m == modality]
        texts = bridge.caption(modality, [inputs[n][1] for n in numbers], **writing)
        captions |= zip(numbers, texts, strict=True)
    return [CaptionedValue(value, modality, captions[n]) for n, (modality, value) in enumerate(inputs)]


def caption_split(
    bridge: Bridge,
    sources: Sequence[Source],
    split: str,
    chosen: Sequence[Modality],
    writing: dict[str, Any],
) -> list[CaptionedValue]:
    """A caption of each sample and modality of a split.

    Raises:
        ValueError: where no source has the split or one of the chosen modalities.
    """
    require_split(sources, split, "Name another with split=")
    there = dict.fromkeys(m for source in sources for m in source.modalities() if m in bridge.binder.modalities)
    modalities = list(chosen) or [m for m in there if m != TEXT and m in bridge.modalities]
    if unknown := [m for m in modalities if m not in there]:
        raise ValueError(
            f"modalities={','.join(unknown)}: not in these samples, or unknown to the run; both have {', '.join(there)}"
        )
    for modality in modalities:
        bridge.require_readable(modality)
    captions = []
    for source in sources:
        if not len(source.samples(split)):
            continue
        of_source = [m for m in modalities if m in source.modalities()]
        if bridge.token_modality is None:
            captions += _caption_vectors(bridge, source, split, of_source, writing)
        else:
            for modality in of_source:
                captions += _caption_tokens(bridge, source, split, modality, writing)
    return captions


def _caption_vectors(
    bridge: Bridge,
    source: Source,
    split: str,
    modalities: Sequence[Modality],
    writing: dict[str, Any],
) -> list[CaptionedValue]:
    captions = []
    datamodule = BindDataModule({source.name: source}, bridge.binder.transforms, [], modalities)
    embedded = embed_split(datamodule, bridge.binder, split)
    for modality in modalities:
        if modality in embedded.z:
            texts = bridge.caption_vectors(modality, embedded.z[modality], **writing)
            keys = [embedded.keys[row] for row in embedded.rows[modality].tolist()]
            captions += [CaptionedValue(key, modality, text) for key, text in zip(keys, texts, strict=True)]
    return captions


def _caption_tokens(
    bridge: Bridge, source: Source, split: str, modality: Modality, writing: dict[str, Any]
) -> list[CaptionedValue]:
    """Of each sample's first value; tokens are large, so that a few are in memory at a time."""
    samples = source.samples(split)
    known = KnownSamples.draw([source], split, len(samples))
    rows, captions = known.rows_with(modality), []
    for start in range(0, len(rows), BATCH_SIZE):
        chosen = rows[start : start + BATCH_SIZE]
        texts = bridge.caption(modality, known.values(modality, chosen), **writing)
        keys = [known.samples[row].key for row in chosen]
        captions += [CaptionedValue(key, modality, text) for key, text in zip(keys, texts, strict=True)]
    return captions


def _cells(captions: Sequence[CaptionedValue], bridge: Bridge, out: Path | None) -> Cells:
    rows: list[tuple[str, ...]] = [(one.key, one.modality, one.caption or "(nothing)") for one in captions[:MAX_SHOWN]]
    caption, rest = f"by lm={bridge.lm.name}", len(captions) - MAX_SHOWN
    if rest > 0:
        caption += f"; {rest:,} more: " + ("out=FILE.jsonl or json=true has them" if out is None else f"in {out.name}")
    return Cells("Captions", caption, ("", "modality", "caption"), {"": rows})
