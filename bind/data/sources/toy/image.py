"""Renderers of the toy world's pictures and depth maps, for a whole batch at once.

Every sample's nuisance (place, turn, clutter, light, noise) comes from its own generator, and no operation mixes
rows: a sample looks the same whichever batch it is drawn in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

IMAGE_SIZE_PX = 64

# Rows follow the words of `bind.data.sources.toy.world.FACTORS`.
COLOUR_RGB = np.array(
    [(220, 40, 40), (40, 180, 60), (50, 80, 220), (235, 210, 50), (150, 60, 190), (240, 240, 240)], dtype=np.float32
)
SIZE_RADIUS = np.array([0.34, 0.56], dtype=np.float32)  # in half image widths
RIM = np.float32(0.15)  # of the radius: painted plainly, so that no texture hides the outline

_AXIS = ((np.arange(IMAGE_SIZE_PX, dtype=np.float32) + 0.5) * (2 / IMAGE_SIZE_PX) - 1).astype(np.float32)
_X, _Y = _AXIS[None, None, :], _AXIS[None, :, None]  # y grows downwards


def render_images(
    rngs: Sequence[np.random.Generator],
    *,
    shape: np.ndarray,
    colour: np.ndarray,
    size: np.ndarray,
    motion: np.ndarray,
    material: np.ndarray,
) -> np.ndarray:
    """Draw B pictures (B, 64, 64, 3) uint8 from factor indices (B,) and one generator a sample.

    Motion is drawn as marks beside the object: none (resting), streaks to one side (sliding), streaks above or below
    (bouncing), arcs around it (spinning). Marks are brighter or darker than the ground, by chance.
    """
    u = np.stack([rng.random(20, dtype=np.float32) for rng in rngs])
    clutter_B88 = np.stack([rng.random((8, 8), dtype=np.float32) for rng in rngs])
    speckle_B = np.stack([rng.random((32, 32), dtype=np.float32) for rng in rngs])
    noise_B = np.stack([rng.random((3, IMAGE_SIZE_PX, IMAGE_SIZE_PX), dtype=np.float32) for rng in rngs])

    def draw(column: int, low: float, high: float) -> np.ndarray:
        return (low + (high - low) * u[:, column])[:, None, None]

    radius = SIZE_RADIUS[size][:, None, None] * draw(0, 0.93, 1.07)
    x, y = _X - draw(1, -0.22, 0.22), _Y - draw(2, -0.22, 0.22)
    x_object, y_object = _turn(x / radius, y / radius, draw(3, -0.12, 0.12))

    ground = draw(4, 70, 125) + draw(5, -22, 22) * _X + draw(6, -22, 22) * _Y
    ground = ground + 24 * (_enlarge(clutter_B88, 8) - 0.5)
    polarity = np.where(draw(7, 0, 1) < 0.5, np.float32(-60), np.float32(85))
    ground += polarity * _marks(motion, x, y, radius, u)

    distance = _outline(shape, x_object, y_object)
    inside, textured = _coverage(distance * radius), _coverage((distance + RIM) * radius)
    shade, shine = _texture(material, x_object, y_object, _enlarge(speckle_B, 2), u)
    shade, shine = 1 + textured * (shade - 1), textured * shine
    light = draw(8, 0.8, 1.15)
    picture = np.empty_like(noise_B)
    for channel in range(3):
        paint = COLOUR_RGB[colour, channel][:, None, None] * shade + shine
        picture[:, channel] = (ground + inside * (paint - ground)) * light
    picture += (noise_B - 0.5) * 24
    np.clip(picture, 0, 255, out=picture)
    return np.ascontiguousarray(picture.astype(np.uint8).transpose(0, 2, 3, 1))


def render_depths(rngs: Sequence[np.random.Generator], *, shape: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Draw B depth maps (B, 64, 64) float32 in metres: an object before a tilted wall 2 to 4 m away."""
    u = np.stack([rng.random(12, dtype=np.float32) for rng in rngs])
    noise_B = np.stack([rng.random((IMAGE_SIZE_PX, IMAGE_SIZE_PX), dtype=np.float32) for rng in rngs])

    def draw(column: int, low: float, high: float) -> np.ndarray:
        return (low + (high - low) * u[:, column])[:, None, None]

    radius = SIZE_RADIUS[size][:, None, None] * draw(0, 0.93, 1.07)
    x, y = _X - draw(1, -0.4, 0.4), _Y - draw(2, -0.4, 0.4)
    x_object, y_object = _turn(x / radius, y / radius, draw(3, -np.pi, np.pi))
    wall = draw(4, 2.0, 4.0) + draw(5, -0.5, 0.5) * _X + draw(6, -0.5, 0.5) * _Y
    height = draw(7, 0.25, 0.9) + draw(8, -0.2, 0.2) * x_object
    inside = _coverage(_outline(shape, x_object, y_object) * radius)
    depth_BHW: np.ndarray = wall - inside * height + (noise_B - 0.5) * np.float32(0.06)
    return depth_BHW


def _turn(x: np.ndarray, y: np.ndarray, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    cos, sin = np.cos(angle), np.sin(angle)
    return cos * x + sin * y, cos * y - sin * x


def _enlarge(cells: np.ndarray, factor: int) -> np.ndarray:
    return cells.repeat(factor, axis=1).repeat(factor, axis=2)


def _coverage(distance: np.ndarray) -> np.ndarray:
    """How much of a pixel lies inside, from the signed distance in half image widths."""
    return np.clip(0.5 - distance * (IMAGE_SIZE_PX / 2), 0, 1)


def _outline(shape: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance to the outline, negative inside; about unit radius: circle, square, triangle, star."""
    distance = np.empty_like(x)
    for index in np.unique(shape):
        rows = shape == index
        a, b = x[rows], y[rows]
        if index == 0:
            distance[rows] = np.sqrt(a * a + b * b) - 0.85
        elif index == 1:
            distance[rows] = np.maximum(np.abs(a), np.abs(b)) - 0.76
        elif index == 2:
            distance[rows] = np.maximum(0.866 * np.abs(a) - 0.5 * b, b) - 0.52
        else:
            radius = np.sqrt(a * a + b * b) + np.float32(1e-6)
            distance[rows] = radius - (0.64 + 0.32 * _cos_multiple_of_angle(5, -b / radius))
    return distance


def _cos_multiple_of_angle(multiple: int, cos: np.ndarray) -> np.ndarray:
    """cos(n·angle) from the angle's cosine: polynomials are several times faster than arctan2 and cos."""
    cos_multiple: np.ndarray
    if multiple == 5:
        square = cos * cos
        cos_multiple = ((16 * square - 20) * square + 5) * cos
    else:
        cos_multiple = (4 * cos * cos - 3) * cos
    return cos_multiple


def _marks(motion: np.ndarray, x: np.ndarray, y: np.ndarray, radius: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Marks of motion as coverage (B, 64, 64): resting has none."""
    marks = np.zeros(np.broadcast_shapes(x.shape, y.shape), dtype=np.float32)
    for index in np.unique(motion):
        rows = motion == index
        if index == 0:
            continue
        a, b, r = x[rows], y[rows], radius[rows]
        side = np.where(u[rows, 9] < 0.5, np.float32(-1), np.float32(1))[:, None, None]
        offset = (0.18 * u[rows, 10] - 0.09)[:, None, None]
        if index == 3:
            distance = np.sqrt(a * a + b * b)
            turn = (2 * np.pi * u[rows, 10])[:, None, None]
            cos, sin = a / (distance + np.float32(1e-6)), b / (distance + np.float32(1e-6))
            triple_cos = _cos_multiple_of_angle(3, _turn(cos, sin, turn)[0])
            marks[rows] = _coverage(np.abs(distance - 1.3 * r) - 0.035) * (triple_cos > -0.35)
            continue
        along, across = (a, b) if index == 1 else (b, a)
        along = along * side
        spacing = 0.62 * r
        stripes = np.abs((across + offset * r + 100.5 * spacing) % spacing - 0.5 * spacing) - 0.03
        length = _coverage(np.maximum(0.95 * r - along, along - 0.95 * r - 0.5))
        marks[rows] = _coverage(stripes) * length * _coverage(np.abs(across) - 0.9 * r)
    return marks


def _texture(
    material: np.ndarray, x: np.ndarray, y: np.ndarray, speckle: np.ndarray, u: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A factor on the colour and a white gloss: grain (wooden), a highlight (metal), dark speckles (rubber)."""
    shade, shine = np.empty_like(x), np.zeros_like(x)
    for index in np.unique(material):
        rows = material == index
        if index == 0:
            shade[rows] = 0.78 + 0.22 * np.sin(9 * y[rows] + (2 * np.pi * u[rows, 11])[:, None, None])
        elif index == 1:
            a = x[rows] + (0.6 * u[rows, 12] - 0.3)[:, None, None]
            b = y[rows] + (0.3 * u[rows, 13] + 0.05)[:, None, None]
            shade[rows] = 0.7
            shine[rows] = 230 * np.clip(1 - np.sqrt(a * a + b * b) * 1.7, 0, 1)
        else:
            shade[rows] = np.where(speckle[rows] < 0.4, np.float32(0.4), np.float32(0.95))
    return shade, shine
