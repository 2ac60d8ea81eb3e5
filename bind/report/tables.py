"""The tables of a run's figures, and their way to the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from bind.evaluation.fused import NO_FUSION, FusedModalities, pair_title
from bind.evaluation.queries import retrieval_key
from bind.report.cells import Cells
from bind.report.leakage_table import leakage_cells
from bind.report.outcome import outcome_sentences
from bind.report.retrieval_table import retrieval_cells
from bind.report.terminal_table import print_cells
from bind.report.zero_shot_table import class_cells, multi_label_cells, zero_shot_cells
from bind.terminal import PrintableConsole, printable
from bind.types import Modality

_MAX_WORST_CLASSES = 3


def tables(
    metrics: Mapping[str, Any], fused: FusedModalities = NO_FUSION, num_worst_classes: int | None = None
) -> list[Cells]:
    """The tables that `metrics` of `evaluate_split` have figures for; of the classes all, or the worst of each task."""
    retrieval: Mapping[tuple[Modality, Modality], Any] = metrics.get("retrieval") or {}
    zero_shot = (metrics.get("zero_shot") or {}).values()
    classes = class_cells(metrics, num_worst_classes)
    return [
        *([retrieval_cells(metrics, fused)] if retrieval else []),
        *leakage_cells(metrics, {retrieval_key(*pair): pair_title(*pair, fused) for pair in retrieval}),
        *([zero_shot_cells(metrics)] if any("top1" in entry for entry in zero_shot) else []),
        *([multi_label_cells(metrics)] if any("map" in entry for entry in zero_shot) else []),
        *([classes] if classes else []),
    ]


def print_tables(
    metrics: Mapping[str, Any], console: Console | None = None, *, fused: FusedModalities = NO_FUSION
) -> None:
    """Print the outcome in sentences and every table of `metrics`; of the classes only the worst.

    Args:
        metrics: those of `evaluate_split`, whose retrieval stands under (query, pool).
        fused: fused modality → the modalities that it is made of.
    """
    console = console or PrintableConsole()
    sentences = [printable(sentence) for sentence in outcome_sentences(metrics, fused)]
    if sentences and console.is_terminal:
        console.print(*map(Text, sentences), "", sep="\n")
    elif sentences:
        console.file.write("\n".join(sentences) + "\n\n")
    for cells in tables(metrics, fused, _MAX_WORST_CLASSES):
        print_cells(cells, console)
