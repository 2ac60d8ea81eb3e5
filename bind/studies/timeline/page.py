"""Page of a time line: trace, segments, and a player that follows, in one file that needs no network."""

from __future__ import annotations

import base64
import mimetypes
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from bind.files.writing import write_text
from bind.report.document import hash_of, json_of
from bind.report.label_colours import label_colours
from bind.studies.timeline.times import LEAST_EPOCH_SECONDS, clock_text, seconds_of_labels
from bind.timeline.segments import NONE
from bind.timeline.timeline import Timeline

MAX_ENCLOSED_BYTES = 30_000_000
"""Of a sound or video that lies inside the page; a larger one stays a file beside it."""
NUMBER = ' class="number"'
_PAGE = Path(__file__).parent / "page"


def write_page(path: Path, timeline: Timeline, *, title: str, facts: Sequence[str], player: Path | None = None) -> None:
    """Write the page; all text is escaped, and its policy lets nothing run but its own script.

    Args:
        facts: sentences below the title.
        player: a sound or video that starts with the recording. Up to 30 MB it lies inside the page; else the page
            plays the file where it is.
    """
    totals = seconds_of_labels(timeline.segments)
    data = {
        "start": timeline.start_seconds,
        "end": timeline.end_seconds,
        "isEpoch": timeline.start_seconds >= LEAST_EPOCH_SECONDS,
        "names": list(totals),
        "colours": label_colours(list(totals), NONE),
        "segments": [
            [round(s.start_seconds, 3), round(s.end_seconds, 3), s.label, round(s.confidence, 4)]
            for s in timeline.segments
        ],
        "breaks": [[lost.start_seconds, lost.end_seconds, lost.reason] for lost in timeline.breaks],
        "trace": _trace(timeline),
    }
    media, note = _media(player, path.parent)
    legend = "".join(
        f'<li><i style="--c:{data["colours"][label]}"></i><span>{number}</span> {escape(label)} '  # type: ignore[index]
        f"<span>{seconds:.1f} s</span></li>"
        for number, (label, seconds) in enumerate(totals.items(), start=1)
    )
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="note">{escape(" · ".join([*facts, *note]))}</p>',
        media,
        '<p class="note">Wheel or + and −: zoom; drag or ← and →: move; click: go there. '
        "The higher a segment, the surer; numbers are those of the labels below.</p>",
        '<noscript><p class="note">The trace is drawn by a script, and scripts are off.</p></noscript>',
        '<canvas id="trace" tabindex="0" aria-label="trace and segments; the table below says the same"></canvas>',
        '<p id="here" class="note" aria-live="polite"></p>',
        f'<ul id="legend">{legend}</ul>',
        _table(timeline),
    ]
    style = (_PAGE / "timeline.css").read_text(encoding="utf-8")
    script = f'"use strict";\n{(_PAGE / "timeline.js").read_text(encoding="utf-8")}'
    policy = (
        f"default-src 'none'; img-src data:; media-src data: file: 'self'; style-src '{hash_of(style)}' "
        f"'unsafe-hashes' {_attribute_hashes(data['colours'])}; script-src '{hash_of(script)}'; base-uri 'none'; "
        "form-action 'none'"
    )
    write_text(
        path,
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>{escape(title)} · bind time line</title>\n<style>{style}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + f'\n<script type="application/json" id="page-data">{json_of(data)}</script>\n'
        + f"<script>{script}</script>\n</body>\n</html>\n",
    )


def _trace(timeline: Timeline) -> list[dict[str, Any]]:
    trace = timeline.trace
    if trace is None:
        return []
    panels = []
    for unit in dict.fromkeys(trace.units):
        columns = [column for column, other in enumerate(trace.units) if other == unit]
        panels.append(
            {
                "unit": unit,
                "channels": [
                    {
                        "name": trace.channels[column],
                        "low": _rounded(trace.low_BC[:, column]),
                        "high": _rounded(trace.high_BC[:, column]),
                    }
                    for column in columns
                ],
            }
        )
    return panels


def _rounded(values_B: np.ndarray) -> list[float | None]:
    return [float(f"{value:.4g}") if np.isfinite(value) else None for value in values_B.tolist()]


def _media(player: Path | None, folder: Path) -> tuple[str, list[str]]:
    """The player, and what is to be said of it."""
    if player is None:
        return "", []
    kind = mimetypes.guess_type(player.name)[0] or "audio/wav"
    tag = "video" if kind.startswith("video") else "audio"
    if player.stat().st_size <= MAX_ENCLOSED_BYTES:
        source = f"data:{kind};base64,{base64.b64encode(player.read_bytes()).decode('ascii')}"
        note = []
    else:
        source = os.path.relpath(player.resolve(), folder.resolve())
        note = [f"plays {source}, which is too large to lie inside this page: keep both where they are"]
    return f'<{tag} id="player" controls preload="metadata" src="{escape(source, quote=True)}"></{tag}>', note


def _table(timeline: Timeline) -> str:
    rows = "".join(
        f'<tr><td class="number"><button data-at="{s.start_seconds:.3f}">{clock_text(s.start_seconds)}</button></td>'
        f'<td class="number">{clock_text(s.end_seconds)}</td><td class="number">{s.seconds:.1f} s</td>'
        f'<td>{escape(s.label)}</td><td class="number">{s.confidence:.2f}</td></tr>\n'
        for s in timeline.segments
    )
    head = "".join(
        f'<th scope="col"{"" if name == "label" else NUMBER}>{name}</th>'
        for name in ("start", "end", "length", "label", "confidence")
    )
    lost = "".join(f"<li>{escape(str(b))}</li>" for b in timeline.breaks)
    without = f"<h2>Without a label</h2><ul>{lost}</ul>" if lost else ""
    return (
        f'<h2>Segments</h2>\n<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table>'
        f"</div>{without}"
    )


def _attribute_hashes(colours: Any) -> str:
    """Of the styles of the legend, the only ones that stand in attributes."""
    return " ".join(f"'{hash_of(f'--c:{colour}')}'" for colour in dict.fromkeys(colours.values()))
