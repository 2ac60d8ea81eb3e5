"""The page of a run, a single file: outcome, data, gallery, tables, embeddings, figures, config and versions."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from bind.evaluation.fused import NO_FUSION, FusedModalities
from bind.files.writing import write_text
from bind.report.cells import Cells
from bind.report.outcome import outcome_sentences
from bind.report.plots import TRAINING
from bind.report.tables import tables

_PAGE = Path(__file__).parent / "page"
_SCRIPTS = ("media.js", "plane.js", "scatter.js", "gallery.js", "tables.js", "main.js")

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
        f"<nav>{links}</nav>",
        *(f'<h2 id="{heading.lower()}">{heading}</h2>\n{content}' for heading, content in shown.items()),
    ]
    style = (_PAGE / "page.css").read_text(encoding="utf-8")
    script = _script()
    policy = (
        f"default-src 'none'; img-src data:; media-src data:; style-src '{_hash(style)}'; "
        f"script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    )
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>{escape(title or name)} · bind report</title>\n<style>{style}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + f'\n<script type="application/json" id="page-data">{_json(media)}</script>\n'
        + f"<script>{script}</script>\n</body>\n</html>\n"
    )
    write_text(path, page)


def _outcome(sentences: Sequence[str]) -> str:
    if not sentences:
        return ""
    first, *others = map(escape, sentences)
    return f'<p class="outcome">{"<br>".join([f"<b>{first}</b>", *others])}</p>'


def _script() -> str:
    files = "".join((_PAGE / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    return f'(() => {{\n"use strict";\n{files}}})();\n'


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode("ascii")


def _json(value: Any) -> str:
    """JSON that can't end the element it stands in: without `<`, there is neither `</script>` nor `<!--`."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


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


_NO_SCRIPT = '<noscript><p class="note">This part is drawn by a script, and scripts are off.</p></noscript>'


def _gallery(galleries: Sequence[Mapping[str, Any]]) -> str:
    has_reasons = any("why" in hit for gallery in galleries for row in gallery["rows"] for hit in row["hits"])
    why = " why: words that query and result have in common, and what each adds to their cosine." if has_reasons else ""
    return (
        '<p class="note">Each query with its nearest items of the pool and their cosine; ✓ and a solid frame: of the '
        f'query\'s group, ✗ and a dashed frame: of another.{why}</p>\n{_NO_SCRIPT}<div id="galleries"></div>'
    )


def _scatter(scatter: Mapping[str, Any]) -> str:
    shown, total = len(scatter["samples"]), scatter["num_samples"]
    which = "All" if shown == total else f"{shown:,} of"
    how = "" if shown == total else ", drawn at random with a fixed seed"
    umap = any(projection["name"] == "UMAP" for projection in scatter["projections"])
    missing = "" if umap else " UMAP is drawn where it is installed: <code>pip install 'bindspace[umap]'</code>."
    return (
        f'<p class="note">{which} {total:,} samples of the {escape(scatter["split"])} split{how}; '
        f'{len(scatter["points"]["sample"]):,} vectors.{missing}</p>\n{_NO_SCRIPT}<div id="scatter"></div>'
    )


def _lines(versions: Mapping[str, str]) -> str:
    return "\n".join(f"{name} {version}" for name, version in versions.items())
