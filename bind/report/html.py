"""The page of a run, a single file: outcome, data, gallery, tables, embeddings, figures, config and versions."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from bind.evaluation.fused import NO_FUSION, FusedModalities
from bind.report.cells import Cells
from bind.report.document import NO_SCRIPT, PAGE, SAMPLES_SCRIPTS, SAMPLES_STYLE, write_document
from bind.report.outcome import outcome_sentences
from bind.report.plots import TRAINING
from bind.report.tables import tables

_STYLES = (SAMPLES_STYLE, PAGE / "page.css")
_SCRIPTS = (
    *SAMPLES_SCRIPTS,
    *(PAGE / name for name in ("plane.js", "scatter.js", "gallery.js", "tables.js", "main.js")),
)

_MAX_OPEN_ROWS = 40
_MAX_OPEN_FIGURES = 2


def write_report(
    path: Path,
    metrics: Mapping[str, Any],
    pngs: Mapping[str, Path],
    media: Mapping[str, Any],
    *,
    title: str = "",
    data: Cells | None = None,
    fused: FusedModalities = NO_FUSION,
    config_yaml: str = "",
    seed: int = 0,
    command: str = "",
    versions: Mapping[str, str] | None = None,
) -> None:
    """Write one file, in a run directory, with everything it needs inside it; it opens without a network.

    All text is escaped, and the page's policy lets nothing run but its own script.

    Args:
        metrics: those of `evaluate_split`, whose retrieval stands under (query, pool).
        pngs: caption of a figure → its file.
        media: what `bind.report.page_media` made.
        title: of the page; empty: the name of the run directory.
        data: the table of the run's data, see `bind.report.data_table`.
        fused: fused modality → the modalities that it is made of.
        versions: package → its version.
    """
    name = path.resolve().parent.name
    anchor = metrics.get("anchor") or {}
    facts = [
        f"run directory: {name}" if title else "",
        f"table: {metrics['manifest']}" if "manifest" in metrics else "",
        f"split: {metrics['split']}" if "split" in metrics else "",
        f"anchor: {anchor['name']} ({anchor['fingerprint'][:12]})" if anchor else "",
        f"seed: {seed}",
        *(f"{stage}: {seconds:.1f} s" for stage, seconds in (metrics.get("seconds") or {}).items()),
    ]
    unfolded = [caption for caption in pngs if caption != TRAINING][:_MAX_OPEN_FIGURES]
    sections = {
        "Data": _table(data) if data else "",
        "Gallery": _gallery(media["galleries"]) if media["galleries"] else "",
        "Tables": "\n".join(f"<h3>{escape(cells.title)}</h3>\n{_table(cells)}" for cells in tables(metrics, fused)),
        "Embeddings": _scatter(media["scatter"]) if media["scatter"] else "",
        "Figures": "".join(_figure(caption, png, unfolded=caption in unfolded) for caption, png in pngs.items()),
        "Run": f"<h3>Command</h3><pre>{escape(command)}</pre>"
        f"<details><summary>Config</summary><pre>{escape(config_yaml)}</pre></details>"
        f"<details><summary>Versions</summary><pre>{escape(_lines(versions or {}))}</pre></details>",
    }
    shown = {heading: content for heading, content in sections.items() if content}
    links = "".join(f'<a href="#{heading.lower()}">{heading}</a>' for heading in shown)
    parts = [
        f"<h1>{escape(title or name)}</h1>",
        _outcome(outcome_sentences(metrics, fused)),
        f'<p class="note">{escape(" · ".join(fact for fact in facts if fact))}</p>',
        _missing(media["media"]),
        f"<nav>{links}</nav>",
        *(f'<h2 id="{heading.lower()}">{heading}</h2>\n{content}' for heading, content in shown.items()),
    ]
    write_document(path, f"{title or name} · bind report", parts, styles=_STYLES, scripts=_SCRIPTS, data=media)


def _outcome(sentences: Sequence[str]) -> str:
    if not sentences:
        return ""
    first, *others = map(escape, sentences)
    return f'<p class="outcome">{"<br>".join([f"<b>{first}</b>", *others])}</p>'


def _missing(items: Sequence[Mapping[str, Any]]) -> str:
    num_missing = sum(item["kind"] == "missing" for item in items)
    return (
        f'<p class="note">{num_missing:,} of {len(items):,} pictures, sounds and traces can\'t be shown, such as those '
        "whose files are gone; their places say why.</p>"
        if num_missing
        else ""
    )


def _table(cells: Cells) -> str:
    head = "".join(f'<th scope="col">{escape(header)}</th>' for header in cells.headers)
    bodies = []
    for heading, rows in cells.sections.items():
        section = f'<tr class="section"><th colspan="{len(cells.headers)}">{escape(heading)}</th></tr>\n'
        lines = [f"<tr>{_cells(cells.headers, row)}</tr>" for row in rows]
        bodies.append("<tbody>\n" + (section if heading else "") + "\n".join(lines) + "\n</tbody>")
    table = (
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
        + "\n".join(bodies)
        + f'\n</table></div>\n<p class="note">{escape(cells.caption)}</p>'
    )
    num_rows = sum(map(len, cells.sections.values()))
    return f"<details><summary>{num_rows} rows</summary>\n{table}</details>" if num_rows > _MAX_OPEN_ROWS else table


def _cells(headers: Sequence[str], row: Sequence[str]) -> str:
    """Cells that name their column, for phones: there a row is a card."""
    names = (escape(" ".join(header.split())) for header in headers)
    return "".join(f'<td data-column="{name}">{escape(cell)}</td>' for name, cell in zip(names, row, strict=True))


def _figure(caption: str, png: Path, *, unfolded: bool) -> str:
    data = base64.b64encode(png.read_bytes()).decode("ascii")
    text = escape(caption)
    image = f'<div class="scroll"><img class="chart" alt="{text}" src="data:image/png;base64,{data}"></div>'
    if unfolded:
        return f"<figure>{image}<figcaption>{text}</figcaption></figure>"
    return f"<details><summary>{text}</summary><figure>{image}</figure></details>"


def _gallery(galleries: Sequence[Mapping[str, Any]]) -> str:
    has_reasons = any("why" in hit for gallery in galleries for row in gallery["rows"] for hit in row["hits"])
    why = " why: words that query and result have in common, and what each adds to their cosine." if has_reasons else ""
    return (
        '<p class="note">Each query with its nearest items of the pool and their cosine; ✓ and a solid frame: of the '
        f'query\'s group, ✗ and a dashed frame: of another.{why}</p>\n{NO_SCRIPT}<div id="galleries"></div>'
    )


def _scatter(scatter: Mapping[str, Any]) -> str:
    shown, total = len(scatter["samples"]), scatter["num_samples"]
    which = "All" if shown == total else f"{shown:,} of"
    how = "" if shown == total else ", drawn at random with a fixed seed"
    umap = any(projection["name"] == "UMAP" for projection in scatter["projections"])
    missing = "" if umap else " UMAP is drawn where it is installed: <code>pip install 'bindspace[umap]'</code>."
    return (
        f'<p class="note">{which} {total:,} samples of the {escape(scatter["split"])} split{how}; '
        f'{len(scatter["points"]["sample"]):,} vectors.{missing}</p>\n{NO_SCRIPT}<div id="scatter"></div>'
    )


def _lines(versions: Mapping[str, str]) -> str:
    return "\n".join(f"{name} {version}" for name, version in versions.items())
