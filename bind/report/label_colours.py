"""Colours of labels: twelve and more that are told apart, on time lines and on the live page."""

from __future__ import annotations

from collections.abc import Sequence

from bind.report.style import LINES

NO_LABEL_COLOUR = "#b4b4b4"
"""Of what stands for no label."""
MUTED = ("#882255", "#999933", "#332288", "#ddcc77", "#aa4499", "#661100", "#88ccee")
"""After the lines' colours; from Paul Tol, Colour Schemes (2021), muted, chosen for the colour-blind."""
LIGHTER = 0.45
"""Share of white that each further round through the colours has more."""


def label_colours(names: Sequence[str], no_label: str) -> dict[str, str]:
    """Label → colour, as #rrggbb; grey for `no_label`, where it is among them.

    Examples:
        >>> label_colours(["walking", "sitting", "none of these"], "none of these")
        {'walking': '#0072b2', 'sitting': '#d55e00', 'none of these': '#b4b4b4'}
    """
    colours = {}
    known = (*LINES, *MUTED)
    for place, name in enumerate(name for name in names if name != no_label):
        white = 1 - (1 - LIGHTER) ** (place // len(known))
        base = known[place % len(known)]
        parts = [int(base[i : i + 2], 16) for i in (1, 3, 5)]
        colours[name] = "#" + "".join(f"{round(part + (255 - part) * white):02x}" for part in parts)
    return colours | ({no_label: NO_LABEL_COLOUR} if no_label in names else {})
