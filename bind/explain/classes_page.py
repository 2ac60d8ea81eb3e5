"""Page of the concepts of classes and of confusions."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from bind.explain.document import table, write_document
from bind.report.cells import Cells


def write_classes_page(path: Path, classes: Cells, confusions: Cells, facts: Sequence[str]) -> None:
    """Write the page, a table of classes and one of confusions for each modality."""
    parts = ["<h1>What classes are made of</h1>", f'<p class="note">{escape(" · ".join(facts))}</p>']
    for modality in classes.sections:
        parts.append(f"<h2>{escape(modality)}</h2>")
        for cells in (classes, confusions):
            if rows := cells.sections.get(modality):
                parts += [f'<p class="note">{escape(cells.caption)}</p>', table(cells.headers, rows)]
    write_document(path, "What classes are made of", parts)
