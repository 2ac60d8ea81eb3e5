"""Captions as a command: what a bridge says of files, texts or the samples of a split."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bind.bridge.bridge import Bridge
from bind.bridge.remedies import NO_REMEDY, GapChoice, require_choice
from bind.commands.arguments.caption import OPTIONS, read_arguments, split_names
from bind.commands.captioned_value import CaptionedValue
from bind.commands.named_inputs import TEXT, require_modalities
from bind.commands.open_binder import open_binder
from bind.commands.taken_parts import print_taken_parts
from bind.files.writing import write_text
from bind.report.cells import Cells
from bind.report.terminal_table import print_cells
from bind.types import Modality

MAX_SHOWN = 40


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
        from bind.commands.caption_samples import caption_split  # lightning comes with it, which takes seconds

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


def _cells(captions: Sequence[CaptionedValue], bridge: Bridge, out: Path | None) -> Cells:
    rows: list[tuple[str, ...]] = [(one.key, one.modality, one.caption or "(nothing)") for one in captions[:MAX_SHOWN]]
    caption, rest = f"by lm={bridge.lm.name}", len(captions) - MAX_SHOWN
    if rest > 0:
        caption += f"; {rest:,} more: " + ("out=FILE.jsonl or json=true has them" if out is None else f"in {out.name}")
    return Cells("Captions", caption, ("", "modality", "caption"), {"": rows})
