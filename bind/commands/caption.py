"""Captions as a command: what a bridge says of files, texts or the samples of a split."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bind.bridge.bridge import BATCH_SIZE, Bridge
from bind.bridge.remedies import NO_REMEDY, GapChoice, require_choice
from bind.commands.arguments.caption import OPTIONS, read_arguments, split_names
from bind.commands.named_inputs import TEXT, require_modalities
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
from bind.runs.parts import Parts
from bind.runs.run_config import open_run
from bind.types import Modality, Source

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
    read = read_arguments(arguments)
    options, out = read.options, read.out
    binder, sources = open_binder(read.place, options, needs_data="split" in options)
    require_modalities(read.inputs, binder.modalities, OPTIONS)
    require_choice(read.writing["gap"], binder.modalities)
    bridge = Bridge.load(read.bridge, binder)
    if "split" in options:
        chosen = split_names(options.get("modalities"))
        captions = caption_split(bridge, sources, options["split"], chosen, read.writing)
    else:
        print_taken_parts(binder, read.inputs)
        captions = caption_inputs(bridge, read.inputs, read.writing)
    plain = [caption.as_json() for caption in captions]
    if out:
        write_text(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in plain))
    if read.is_json:
        print(json.dumps(plain, ensure_ascii=False, indent=1))
    else:
        print_cells(_cells(captions, bridge, out))
    for hint in hints_of_silence(bridge, [one.modality for one in captions if not one.caption], read.writing["gap"]):
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


def open_binder(place: str, options: Mapping[str, str], *, needs_data: bool) -> tuple[Binder, list[Source]]:
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
