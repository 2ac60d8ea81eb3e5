"""The figure of the README: `python docs/figures/space.py` writes space-light.svg and space-dark.svg beside itself.

The frozen anchor is in the middle. Solid lines are pairs that a training pulls together, dashed lines are pairs that it
never saw.
"""

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
WIDTH, HEIGHT = 880, 424
DISC = 34.0  # radius of a modality's disc

PLACES = {
    "sound": (170.0, 70.0),
    "motion": (130.0, 186.0),
    "depth": (170.0, 302.0),
    "thermal": (710.0, 70.0),
    "video": (750.0, 186.0),
    "your sensor": (710.0, 302.0),
    "picture": (440.0, 130.0),
    "text": (440.0, 246.0),
}
NEW = tuple(PLACES)[:6]
BETWEEN_NEW = (
    ("sound", "motion"),
    ("motion", "depth"),
    ("thermal", "video"),
    ("video", "your sensor"),
    ("sound", "thermal"),
    ("depth", "your sensor"),
)
BEND = {("sound", "thermal"): -54.0, ("depth", "your sensor"): 54.0}  # pixels up or down, around the anchor

GLYPHS = {  # strokes in a square of 28 pixels around the disc's centre
    "sound": "M-12 -3V3 M-6 -9V9 M0 -13V13 M6 -7V7 M12 -4V4",
    "motion": "M-13 -6Q-8.5 -15 -4.5 -6T4.5 -6T13 -6 M-13 5Q-8.5 -2 -4.5 5T4.5 5T13 5 M-13 12H13",
    "depth": "M-12 -12H12V12H-12Z M-7 -7H7V7H-7Z M-2 -2H2V2H-2Z",
    "thermal": "M-4 -8A4 4 0 0 1 4 -8V3A7 7 0 1 1 -4 3Z M0 -3V9",
    "video": "M-13 -9H13V9H-13Z M-4 -5L5 0L-4 5Z",
    "your sensor": "M-8 -8H8V8H-8Z M-4 -8V-13 M4 -8V-13 M-4 8V13 M4 8V13 M-8 -4H-13 M-8 4H-13 M8 -4H13 M8 4H13",
    "picture": "M-13 -11H13V11H-13Z M-13 7L-4 -2L3 5L7 1L13 7 M6 -5A1.6 1.6 0 1 1 5.9 -5",
    "text": "M-12 -9H12 M-12 -3H8 M-12 3H12 M-12 9H2",
}


@dataclass(frozen=True)
class Theme:
    """Colours of one variant of the figure; `discs` has one per modality."""

    ink: str
    muted: str
    anchor_fill: str
    anchor_edge: str
    discs: dict[str, str]


THEMES = {
    "light": Theme(
        ink="#1f2328",
        muted="#6e7781",
        anchor_fill="#eef1ff",
        anchor_edge="#4f5bd5",
        discs=dict(
            zip(
                PLACES,
                ("#0969da", "#1a7f37", "#8250df", "#bc4c00", "#bf3989", "#57606a", "#4f5bd5", "#4f5bd5"),
                strict=True,
            )
        ),
    ),
    "dark": Theme(
        ink="#f0f6fc",
        muted="#9198a1",
        anchor_fill="#1b2140",
        anchor_edge="#8b95ff",
        discs=dict(
            zip(
                PLACES,
                ("#1f6feb", "#238636", "#8957e5", "#bd561d", "#bf4b8a", "#6e7681", "#5a66e0", "#5a66e0"),
                strict=True,
            )
        ),
    ),
}


def trained_line(modality: str, theme: Theme) -> str:
    """A solid spoke from a modality to the anchor's pictures."""
    (x, y), (x_anchor, y_anchor) = PLACES[modality], PLACES["picture"]
    return f'<path d="M{x} {y}L{x_anchor} {y_anchor}" stroke="{theme.discs[modality]}" stroke-width="3"/>'


def emergent_line(a: str, b: str, theme: Theme) -> str:
    """A dashed line between two modalities that no training pulls together."""
    (x_a, y_a), (x_b, y_b) = PLACES[a], PLACES[b]
    x_middle, y_middle = (x_a + x_b) / 2, (y_a + y_b) / 2 + 2 * BEND.get((a, b), 0.0)
    curve = f"M{x_a} {y_a}Q{x_middle} {y_middle} {x_b} {y_b}"
    return f'<path d="{curve}" stroke="{theme.muted}" stroke-width="1.6" stroke-dasharray="5 6"/>'


def disc(modality: str, theme: Theme) -> str:
    """A modality's disc with its glyph; its name stands outside of it, and below it in the anchor."""
    x, y = PLACES[modality]
    if modality not in NEW:
        name = f'<text y="{DISC + 18}" fill="{theme.ink}">{modality}</text>'
    elif x < WIDTH / 2:
        name = f'<text x="{-DISC - 12}" y="5" text-anchor="end" fill="{theme.ink}">{modality}</text>'
    else:
        name = f'<text x="{DISC + 12}" y="5" text-anchor="start" fill="{theme.ink}">{modality}</text>'
    return (
        f'<g transform="translate({x} {y})"><circle r="{DISC}" fill="{theme.discs[modality]}"/>'
        f'<path d="{GLYPHS[modality]}" stroke="#ffffff" stroke-width="2.2" stroke-linejoin="round"/>{name}</g>'
    )


def legend(theme: Theme) -> str:
    """One line that says what solid and dashed lines mean."""
    y = HEIGHT - 22
    return (
        f'<path d="M96 {y}H140" stroke="{theme.anchor_edge}" stroke-width="3"/>'
        f'<path d="M436 {y}H480" stroke="{theme.muted}" stroke-width="1.6" stroke-dasharray="5 6"/>'
        f'<text x="150" y="{y + 5}" text-anchor="start" fill="{theme.muted}">trained: the loss saw this pair</text>'
        f'<text x="490" y="{y + 5}" text-anchor="start" fill="{theme.muted}">'
        "emergent: the two met only through the anchor</text>"
    )


def draw(theme: Theme) -> str:
    """The figure in one theme as SVG; its ground is transparent."""
    x_anchor, y_top = PLACES["picture"]
    lines = [emergent_line(a, b, theme) for a, b in BETWEEN_NEW]
    lines += [emergent_line(modality, "text", theme) for modality in NEW]
    lines += [trained_line(modality, theme) for modality in NEW]
    box = (
        f'<rect x="{x_anchor - 76}" y="{y_top - 76}" width="152" height="262" rx="26" fill="{theme.anchor_fill}" '
        f'stroke="{theme.anchor_edge}" stroke-width="2"/>'
        f'<text x="{x_anchor}" y="{y_top - 50}" fill="{theme.ink}" font-weight="600">frozen CLIP</text>'
    )
    parts = [box, *lines, *(disc(modality, theme) for modality in PLACES), legend(theme)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'fill="none" font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif" font-size="15" '
        'text-anchor="middle" stroke-linecap="round" role="img">'
        "<title>Encoders of new modalities meet in the space of a frozen CLIP</title>\n"
        + "\n".join(parts).replace("<text", '<text stroke="none"')
        + "\n</svg>\n"
    )


def main() -> None:
    for name, theme in THEMES.items():
        (FOLDER / f"space-{name}.svg").write_text(draw(theme))


if __name__ == "__main__":
    main()
