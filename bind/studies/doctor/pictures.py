"""Faults of pictures and depth maps: constant ones, and depth that is not in millimetres."""

from __future__ import annotations

import numpy as np

from bind.media.pictures import open_image, read_pixels
from bind.studies.doctor.findings import MANY, Fault, FileFacts, FindingKind, StretchFacts
from bind.studies.doctor.reading import CLIPPED, hash_values
from bind.types import Clip, Modality

CONSTANT_PICTURE = FindingKind("constant picture", MANY, "one colour all over: drop the rows or find the right picture")
NOTHING_MEASURED = FindingKind(
    "depth map without a measurement", 0.0, "every pixel is 0: drop the rows, training refuses them"
)
HARDLY_MEASURED = FindingKind("depth map mostly unmeasured", MANY, "most pixels are 0: check the export of depth")
DEPTH_UNIT = FindingKind("depth not in millimetres", 0.0, "16-bit PNGs hold millimetres: convert them")

MAX_FLAT_SPAN = 2
"""Steps of 255 between darkest and brightest: a picture of one colour comes back from JPEG this even."""
MIN_MEASURED_SHARE = 0.5
DEPTH_RANGE_METRES = (0.1, 50.0)
"""Where the middle of a scene lies: the range to which the depth transform clips."""
MAX_SATURATED_SHARE = 0.01


def examine_picture(clips: list[Clip], modality: Modality, sort: str) -> FileFacts:
    """One picture as training opens it (`sort` is `picture`), or the numbers of a map of depth or heat (`map`)."""
    if sort == "map":
        pixels = read_pixels(clips[0])
        faults, is_flat = _map_faults(pixels, modality)
    else:
        pixels = np.asarray(open_image(clips[0]))
        is_flat = int(np.ptp(pixels, axis=(0, 1)).max()) <= MAX_FLAT_SPAN
        faults = [Fault(CONSTANT_PICTURE, f"its colour is {tuple(pixels[0, 0].tolist())}")] if is_flat else []
    size = "×".join(map(str, pixels.shape[1::-1]))
    return FileFacts([StretchFacts(None, hash_values(pixels), list(faults), None, is_flat) for _ in clips], size=size)


def _map_faults(pixels_HW: np.ndarray, modality: Modality) -> tuple[list[Fault], bool]:
    is_float = np.issubdtype(pixels_HW.dtype, np.floating)
    if modality == "depth" and not is_float and pixels_HW.dtype != np.uint16:
        return [], False  # no depth map: the transform refuses it, with its own words
    if pixels_HW.ndim != 2 or not np.isfinite(pixels_HW).all():
        return [], False  # false colours, NaN: the transform refuses them, with its own words
    if modality != "depth" and pixels_HW.min() != pixels_HW.max() and is_float:
        return [], False  # degrees have no limits that are known here
    measured = pixels_HW[pixels_HW > 0]
    if not measured.size and modality == "depth":
        return [Fault(NOTHING_MEASURED, "every pixel is 0")], True
    if pixels_HW.min() == pixels_HW.max():
        return [Fault(CONSTANT_PICTURE, f"every pixel is {pixels_HW.flat[0]}")], True
    faults = []
    saturated = 0.0 if is_float else float((pixels_HW >= np.iinfo(pixels_HW.dtype).max).mean())
    if saturated > MAX_SATURATED_SHARE:
        faults.append(Fault(CLIPPED, f"{saturated:.0%} of its pixels are at the highest value"))
    if modality == "depth":
        share, metres = measured.size / pixels_HW.size, float(np.median(measured)) / (1 if is_float else 1000)
        if share < MIN_MEASURED_SHARE:
            faults.append(Fault(HARDLY_MEASURED, f"{share:.0%} of its pixels are measured"))
        if not DEPTH_RANGE_METRES[0] <= metres <= DEPTH_RANGE_METRES[1]:
            faults.append(Fault(DEPTH_UNIT, f"the middle of the scene would be {metres:g} m away"))
    return faults, False
