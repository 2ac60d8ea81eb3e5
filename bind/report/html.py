"""One page that holds a run's whole story: tables, figures, config and versions in a single file."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from bind.report.tables import Cells, tables

_CSS = """
:root { color-scheme: light dark;
  --ink: #1d2126; --paper: #ffffff; --faint: #666c74; --rule: #d9dde2; --card: #f5f6f8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e6e9; --paper: #15181c; --faint: #9aa1aa; --rule: #33383f; --card: #1e2227; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 68rem; color: var(--ink); background: var(--paper);
  font: 16px/1.55 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
p.note, figcaption { color: var(--faint); font-size: .87rem; margin: .4rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: .28rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--rule); }
th:first-child, td:first-child { text-align: left; }
tr.section td { font-style: italic; color: var(--faint); padding-top: .8rem; }
figure { margin: 0 0 1.5rem; }
img { display: block; max-width: 100%; height: auto; background: #fff;
  border: 1px solid var(--rule); border-radius: 6px; }
pre { padding: .8rem 1rem; background: var(--card); border-radius: 6px; overflow-x: auto; font-size: .83rem;
  overflow-wrap: normal; }
summary { cursor: pointer; font-weight: 600; margin: 2.2rem 0 .6rem; font-size: 1.15rem; }
"""

# Nothing in the page may run or load anything, whatever a config or caption holds.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_report(
    run_dir: Path,
    metrics: Mapping[str, Any],
    pngs: Mapping[str, Path],
    config_yaml: str,
    command: str,
    versions: Mapping[str, str],
) -> Path:
    """Write `run_dir`/report.html and return its path: one file without scripts that needs nothing beside it.

    `pngs` maps a figure's caption to its file; `metrics` is what `metrics.json` holds; `versions` maps a package to its
    version. All text is escaped.
    """
    anchor = metrics.get("anchor") or {}
    facts = [
        f"split: {metrics['split']}" if "split" in metrics else "",
        f"anchor: {anchor['name']} ({anchor['fingerprint'][:12]})" if anchor else "",
        *(f"{name}: {seconds:.1f} s" for name, seconds in (metrics.get("seconds") or {}).items()),
    ]
    parts = [
        f"<h1>{escape(run_dir.resolve().name)}</h1>",
        f'<p class="note">{escape(" · ".join(fact for fact in facts if fact))}</p>',
        *(_table(cells) for cells in tables(metrics)),
        "<h2>Figures</h2>" if pngs else "",
        *(_figure(caption, png) for caption, png in pngs.items()),
        f"<h2>Command</h2><pre>{escape(command)}</pre>",
        f"<details><summary>Config</summary><pre>{escape(config_yaml)}</pre></details>",
        f"<details><summary>Versions</summary><pre>{escape(_lines(versions))}</pre></details>",
    ]
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{escape(run_dir.resolve().name)} · bind report</title>\n<style>{_CSS}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body>\n</html>\n"
    )
    path = run_dir / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _table(cells: Cells) -> str:
    head = "".join(f'<th scope="col">{escape(header)}</th>' for header in cells.headers)
    body = []
    for heading, rows in cells.sections.items():
        if heading:
            body.append(f'<tr class="section"><td colspan="{len(cells.headers)}">{escape(heading)}</td></tr>')
        body += ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return (
        f'<h2>{escape(cells.title)}</h2>\n<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n'
        + "\n".join(body)
        + f'\n</tbody>\n</table></div>\n<p class="note">{escape(cells.caption)}</p>'
    )


def _figure(caption: str, png: Path) -> str:
    data = base64.b64encode(png.read_bytes()).decode("ascii")
    text = escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'


def _lines(versions: Mapping[str, str]) -> str:
    return "\n".join(f"{name} {version}" for name, version in versions.items())
