"""Document of a page: one file with its style, its script and its data inside, which needs no network."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from bind.files.writing import write_text

PAGE = Path(__file__).parent / "page"
SAMPLES_STYLE = PAGE / "samples.css"
"""Colours, and how samples look."""
SAMPLES_SCRIPTS = (PAGE / "media.js", PAGE / "sample.js")
"""Samples from the `media` of a page's data, see `bind.report.media`."""
NO_SCRIPT = '<noscript><p class="note">This part is drawn by a script, and scripts are off.</p></noscript>'


def write_document(
    path: Path,
    title: str,
    parts: Iterable[str],
    *,
    styles: Sequence[Path],
    scripts: Sequence[Path] = (),
    data: Mapping[str, Any] | None = None,
) -> None:
    """Write a page of these parts of HTML; its policy lets nothing run but these scripts, and nothing be loaded.

    Args:
        scripts: run one after another as one; without any, nothing runs.
        data: what the scripts read as JSON from the element `page-data`.
    """
    style = "".join(each.read_text(encoding="utf-8") for each in styles)
    script = "".join(each.read_text(encoding="utf-8") for each in scripts)
    script = f'(() => {{\n"use strict";\n{script}}})();\n' if script else ""
    policy = (
        f"default-src 'none'; img-src data:; {'media-src data:; ' if script else ''}style-src '{hash_of(style)}'; "
        + (f"script-src '{hash_of(script)}'; " if script else "")
        + "base-uri 'none'; form-action 'none'"
    )
    with_data = "" if data is None else f'\n<script type="application/json" id="page-data">{json_of(data)}</script>'
    write_text(
        path,
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + with_data
        + (f"\n<script>{script}</script>" if script else "")
        + "\n</body>\n</html>\n",
    )


def hash_of(content: str) -> str:
    """As a policy names a style or a script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode("ascii")


def json_of(value: Any) -> str:
    """JSON that can't end the element it stands in: without `<`, there is neither `</script>` nor `<!--`.

    Examples:
        >>> json_of({"a": "</script>"})
        '{"a":"\\\\u003c/script>"}'
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
