"""The card of a folder of exported encoders: what goes in, what comes out, what was checked."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from bind.model.binder import Binder
from bind.types import Modality

RATES_AND_UNITS = (
    "sample_rate_hz",
    "window_seconds",
    "channels",
    "units",
    "num_clips",
    "size_px",
    "num_frames",
    "clip_seconds",
)
"""Options of transforms that whoever feeds a file has to know."""


def describe_folder(card: Mapping[str, Any]) -> str:
    """`README.md` of an export: a section for each encoder, then how to use it without bind."""
    sections = [_describe_encoder(modality, entry) for modality, entry in card["encoders"].items()]
    sets = "\n".join(
        f"- `{name}`: {len(s['classes'])} classes, {', '.join(s['classes'][:12])}{', …' * (len(s['classes']) > 12)}"
        for name, s in card["prompts"].items()
    )
    return f"""# Encoders in the space of {card["anchor"]["name"]}

Each file holds an encoder and its head: inputs as described, unit vectors of {card["dim"]} numbers out. A product of
two unit vectors is their cosine, also between modalities. `golden.npz` holds inputs and what they have to give.

{chr(10).join(sections)}
## Class prompts

`prompts.npz` holds a unit vector per class, in the order of `card.json`; the class of a sample is the one with the
largest product.

{sets or "None were exported: the run has no label sets."}
"""


def _describe_encoder(modality: str, entry: Mapping[str, Any]) -> str:
    inputs = "\n".join(f"- `{x['name']}`: {x['dtype']}, {_shape(x['shape'])}" for x in entry["inputs"])
    units = "\n".join(f"- {line}" for line in rates_and_units(entry["transform"]))
    check = entry["check"]
    lines = [
        f"largest difference {check['max_difference']:.1e} over {check['rows']} rows, by {check['runtime']}",
        *(
            f"{name}: {top1['file']:.3f} right, {top1['binder']:.3f} by the binder itself"
            for name, top1 in check.get("zero_shot", {}).items()
        ),
    ]
    if small := entry.get("int8"):
        lines.append(
            f"`{small['file']}` ({small['megabytes']} MB): weights in 8 bits, smallest cosine "
            f"{small['check']['smallest_cosine']:.4f}"
        )
    checks = "\n".join(f"- {line}" for line in lines)
    return f"""## {modality}: `{entry["file"]}` ({entry["megabytes"]} MB)

{inputs}
{units}

Checked:

{checks}
"""


def _shape(shape: list[int | str]) -> str:
    return " × ".join(map(str, shape))


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def rates_and_units(transform: Mapping[str, Any]) -> list[str]:
    """Lines such as `sample_rate_hz: 8000`, of what `describe_transform` says."""
    known = {name: transform[name] for name in RATES_AND_UNITS if transform.get(name) is not None}
    return [f"{name}: {_plain(value)}" for name, value in known.items()]


def describe_transform(binder: Binder, modality: Modality) -> dict[str, Any]:
    """The class of a transform and all its options (rates, units, channels, windows), plain values only."""
    transform = binder.transforms[modality]
    kind = type(transform)
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(kind.__init__).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    own = ((binder.config or {}).get("transform") or {}).get(modality) or {}
    options = defaults | {name: value for name, value in own.items() if name != "_target_"}
    return {
        "class": f"{kind.__module__}.{kind.__qualname__}",
        **{name: list(value) if isinstance(value, tuple) else value for name, value in options.items()},
    }
