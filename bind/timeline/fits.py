"""Fits of a run: parameters of its time lines in a file of its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from bind.files.plain_data import read_json, require_each, require_kinds
from bind.files.writing import write_text
from bind.model.binder import Binder
from bind.timeline.labels import Labels
from bind.timeline.none_confidence import NoneConfidence
from bind.timeline.none_of_these import CUES, NoneDetector
from bind.timeline.parameters import Parameters, window_hop
from bind.timeline.samples import window_seconds_of
from bind.types import Modality

FILE_NAME = "timeline.json"
"""In the folder of a run: its fits, each for a modality, its labels and the distance of its windows."""
VERSION = 1


def fitted_parameters(
    run_dir: Path,
    binder: Binder,
    modality: Modality,
    labels: Labels,
    *,
    hop_seconds: float | None = None,
    none: bool = False,
) -> Parameters | None:
    """What was fitted for a run (`bindspace timeline … fit=true`) with these labels and this hop; None: nothing was.

    Args:
        none: whether "none of these" is an answer.

    Raises:
        ValueError: naming the file of the fits, where it is damaged; for a hop that can't be.
    """
    hop = window_hop(window_seconds_of(binder.transforms[modality], modality), hop_seconds)
    return read_parameters(run_dir, fit_name(modality, labels.fingerprint, hop, none=none), len(labels))


def fit_name(modality: str, labels_fingerprint: str, hop_seconds: float, *, none: bool) -> str:
    """The name of a fit in `timeline.json`; `none`: whether "none of these" is an answer."""
    return f"{modality}/{labels_fingerprint}/{hop_seconds:g} s" + ("/none" if none else "")


def read_parameters(run_dir: Path, name: str, num_labels: int) -> Parameters | None:
    """The fit of this name in the folder of a run; None where there is none.

    Raises:
        ValueError: naming the file, where it is not as `write_parameters` leaves it.
    """
    path = run_dir / FILE_NAME
    if not path.is_file():
        return None
    fits = _read_fits(path)
    return _parsed(fits[name], num_labels, f"{path}: the fit {name}") if name in fits else None


def write_parameters(run_dir: Path, name: str, parameters: Parameters, about: Mapping[str, Any]) -> Path:
    """Write a fit into the folder of a run, beside those of other names; `about` says what it was made of."""
    path = run_dir / FILE_NAME
    fits = _read_fits(path) if path.is_file() else {}
    values = asdict(parameters)
    values.pop("is_fitted")
    fits[name] = {"parameters": values, "about": dict(about)}
    write_text(path, json.dumps({"version": VERSION, "fits": fits}, indent=2) + "\n")
    return path


def _read_fits(path: Path) -> dict[str, Any]:
    content = require_kinds(read_json(path), {"version": int, "fits": dict}, str(path))
    if content["version"] != VERSION:
        raise ValueError(
            f"{path} has version {content['version']}, this bind reads {VERSION}: delete it, and fit again (fit=true)"
        )
    fits: dict[str, Any] = content["fits"]
    return fits


def _parsed(fit: Any, num_labels: int, where: str) -> Parameters:
    number = (int, float)
    values = require_kinds(require_kinds(fit, {"parameters": dict}, where)["parameters"], {
        "temperature": number, "switch_cost": number, "confidence_temperature": number, "look_ahead_seconds": number,
        "log_transitions_KK": (list, type(None)), "none_detector": (dict, type(None)),
    }, where, optional={"none_confidence": (dict, type(None))})  # fmt: skip
    for name in ("temperature", "confidence_temperature", "look_ahead_seconds"):
        require_each([values[name]], lambda x: 0 < x < 1e6, where, f"a {name}")
    detector = values["none_detector"]
    if detector is not None:
        require_kinds(
            detector, {"means": list, "scales": list, "weights": list, "bias": number, "threshold": number}, where
        )
        lists = {name: _numbers(detector[name], len(CUES), where) for name in ("means", "scales", "weights")}
        require_each(lists["scales"], lambda scale: scale > 0, where, "a scale above 0")
        detector = NoneDetector(**lists, bias=float(detector["bias"]), threshold=float(detector["threshold"]))
    none_confidence = values.get("none_confidence")
    if none_confidence is not None:
        names = [field.name for field in fields(NoneConfidence)]
        added = [field.name for field in fields(NoneConfidence) if field.default is not MISSING]  # 0 in earlier fits
        kinds = dict.fromkeys([name for name in names if name not in added], number)
        require_kinds(none_confidence, kinds, where, optional=dict.fromkeys(added, number))
        weights = [none_confidence.get(name, 0.0) for name in names]
        none_confidence = NoneConfidence(*_numbers(weights, len(names), where))
    transitions = values["log_transitions_KK"]
    if transitions is not None:
        num_states = num_labels + (detector is not None)
        require_each([transitions], lambda rows: len(rows) == num_states, where, f"a matrix of {num_states} rows")
        transitions = tuple(_numbers(row, num_states, where) for row in transitions)
    return Parameters(
        temperature=float(values["temperature"]),
        switch_cost=float(values["switch_cost"]),
        log_transitions_KK=transitions,
        confidence_temperature=float(values["confidence_temperature"]),
        none_detector=detector,
        none_confidence=none_confidence,
        look_ahead_seconds=float(values["look_ahead_seconds"]),
        is_fitted=True,
    )


def _numbers(values: Any, count: int, where: str) -> tuple[float, ...]:
    is_row = isinstance(values, list) and len(values) == count
    require_each([values], lambda _: is_row, where, f"{count} numbers")
    is_number = lambda x: isinstance(x, int | float) and not isinstance(x, bool) and bool(np.isfinite(x))  # noqa: E731
    require_each(values, is_number, where, "a finite number")
    return tuple(map(float, values))
