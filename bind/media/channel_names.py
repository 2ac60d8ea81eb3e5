"""Meanings of a sensor's channels: quantity, axis, place on the body and number, by their names and units."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bind.media.sensor_units import SI_FACTORS

QUANTITIES = tuple(dict.fromkeys(quantity for quantity, _ in SI_FACTORS.values()))
AXES = ("", "x", "y", "z")
SIDES = ("", "left", "right")
BODY_PARTS = (
    *("", "head", "ear", "neck", "chest", "back", "waist", "hip", "pocket", "shoulder", "upper_arm", "arm", "forearm"),
    *("wrist", "hand", "finger", "upper_leg", "thigh", "leg", "knee", "shin", "ankle", "foot"),
)
MAX_SENSORS = 4
"""Of one quantity at one place, told apart by the number at the end of their names."""
NAME = re.compile(
    rf"(?:(?P<side>{'|'.join(SIDES[1:])})_)?(?:(?P<part>{'|'.join(BODY_PARTS[1:])})_)?"
    r"(?P<sensor>\w*?)(?P<number>[1-9])?(?:_(?P<axis>[xyz]))?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ChannelMeaning:
    """What a channel measures; empty texts where its name does not say.

    Attributes:
        quantity: one of `QUANTITIES`.
        axis: x, y, z, or none.
        side, part: where on the body: `left`, `wrist`.
        sensor: the name without the place, the number and the axis: `acc`.
        number: 1 to `MAX_SENSORS`, of sensors of one quantity at one place.
    """

    quantity: str
    axis: str
    side: str
    part: str
    sensor: str
    number: int

    @property
    def place(self) -> str:
        """Side and part of the body; what is there is turned together."""
        return "_".join(filter(None, (self.side, self.part)))

    @property
    def ids(self) -> tuple[int, int, int, int, int]:
        """Positions in `QUANTITIES`, `AXES`, `SIDES` and `BODY_PARTS`, and the number from 0."""
        return (
            QUANTITIES.index(self.quantity),
            AXES.index(self.axis),
            SIDES.index(self.side),
            BODY_PARTS.index(self.part),
            self.number - 1,
        )


def read_meanings(channels: Sequence[str], units: Sequence[str], where: str) -> tuple[ChannelMeaning, ...]:
    """The meaning of each channel: names are `[side_][part_]sensor[number][_axis]`, the unit gives the quantity.

    Raises:
        ValueError: with `where` and the remedy, for a unit of no known quantity, too many sensors, and two channels of
            one meaning.

    Examples:
        >>> wrist, pressure = read_meanings(["left_wrist_acc_x", "pressure"], ["g", "hPa"], "walk.csv")
        >>> wrist.quantity, wrist.axis, wrist.place, pressure.quantity
        ('acceleration', 'x', 'left_wrist', 'pressure')
    """
    meanings: dict[tuple[int, ...], str] = {}
    read: list[ChannelMeaning] = []
    for channel, unit in zip(channels, units, strict=True):
        if unit not in SI_FACTORS:
            raise ValueError(
                f"{where}: what {channel} measures is not known, its unit is {unit!r}; known units are "
                f"{', '.join(SI_FACTORS)}. Correct the unit, or name the channels to take with transform.imu.channels"
            )
        match = NAME.fullmatch(channel)
        parts = {name: (value or "").lower() for name, value in (match.groupdict() if match else {}).items()}
        number = int(parts.get("number") or 1)
        if number > MAX_SENSORS:
            raise ValueError(
                f"{where}: {channel} is sensor {number} of its place; number them 1 to {MAX_SENSORS}, or name places"
            )
        meaning = ChannelMeaning(
            SI_FACTORS[unit][0],
            parts.get("axis", ""),
            parts.get("side", ""),
            parts.get("part", ""),
            parts.get("sensor", channel),
            number,
        )
        if (other := meanings.setdefault(meaning.ids, channel)) != channel:
            raise ValueError(
                f"{where}: {other} and {channel} both mean the {meaning.quantity}"
                f"{f' along {meaning.axis}' if meaning.axis else ''}: name their places (left_wrist_{channel}), or "
                f"number the sensors (acc1_x, acc2_x). Places are {', '.join(BODY_PARTS[1:])}"
            )
        read.append(meaning)
    return tuple(read)


def find_triads(meanings: Sequence[ChannelMeaning]) -> dict[tuple[str, str, int], list[int]]:
    """(place, quantity, number) → the columns of x, y and z, of every sensor that has all three."""
    columns: dict[tuple[str, str, int], dict[str, int]] = {}
    for column, meaning in enumerate(meanings):
        if meaning.axis:
            columns.setdefault((meaning.place, meaning.quantity, meaning.number), {})[meaning.axis] = column
    return {sensor: [of["x"], of["y"], of["z"]] for sensor, of in columns.items() if len(of) == 3}
