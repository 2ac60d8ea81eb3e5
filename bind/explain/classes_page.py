"""Page of the concepts of classes and of confusions."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from bind.explain.document import STYLES, table, words_list
from bind.report.cells import Cells
from bind.report.document import write_document


def write_classes_page(
    path: Path, classes: Cells, confusions: Cells, facts: Sequence[str], words: Sequence[str]
) -> None:
    """Write the page, a table of classes and one of confusions for each modality.

    Args:
        facts: sentences below the title.
        words: that the concepts are drawn from.
    """
    parts = ["<h1>What classes are made of</h1>", f'<p class="note">{escape(" · ".join(facts))}</p>', words_list(words)]
    for modality in classes.sections:
        parts.append(f"<h2>{escape(modality)}</h2>")
        for cells in (classes, confusions):
            if rows := cells.sections.get(modality):
                parts += [f'<p class="note">{escape(cells.caption)}</p>', table(cells.headers, rows)]
    write_document(path, "What classes are made of · bind", parts, styles=STYLES)
