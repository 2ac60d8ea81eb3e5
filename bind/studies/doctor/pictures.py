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
MEASURED = ("depth", "thermal")
"""Modalities whose pictures are numbers, not what is seen."""


def examine_picture(clips: list[Clip], modality: Modality) -> FileFacts:
    """One picture, decoded as training does: RGB as it is shown, or numbers as they are stored."""
    is_measured = modality in MEASURED
    pixels = read_pixels(clips[0]) if is_measured else np.asarray(open_image(clips[0]))
    is_deep = is_measured and pixels.ndim == 2 and pixels.dtype == np.uint16
    size = f"{pixels.shape[1]}×{pixels.shape[0]}" if pixels.ndim > 1 else None
    if modality == "depth" and not is_deep:
        raise ValueError(f"{pixels.dtype} is no depth map; save depth in millimetres as a 16-bit grey PNG")
    if not is_deep:
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        is_flat = int(np.ptp(pixels, axis=(0, 1)).max()) <= MAX_FLAT_SPAN
        faults = [Fault(CONSTANT_PICTURE, f"its colour is {tuple(pixels[0, 0].tolist())}")] if is_flat else []
    else:
        faults, is_flat = _deep_faults(pixels, modality)
    return FileFacts([StretchFacts(None, hash_values(pixels), faults, None, is_flat) for _ in clips], size=size)


def _deep_faults(pixels_HW: np.ndarray, modality: Modality) -> tuple[list[Fault], bool]:
    measured = pixels_HW[pixels_HW > 0]
    if not measured.size:
        return [Fault(NOTHING_MEASURED, "every pixel is 0")], True
    if pixels_HW.min() == pixels_HW.max():
        return [Fault(CONSTANT_PICTURE, f"every pixel is {pixels_HW.flat[0]}")], True
    faults = []
    saturated = float((pixels_HW >= np.iinfo(np.uint16).max).mean())
    if saturated > MAX_SATURATED_SHARE:
        faults.append(Fault(CLIPPED, f"{saturated:.0%} of its pixels are at the highest value"))
    if modality == "depth":
        share, metres = measured.size / pixels_HW.size, float(np.median(measured)) / 1000
        if share < MIN_MEASURED_SHARE:
            faults.append(Fault(HARDLY_MEASURED, f"{share:.0%} of its pixels are measured"))
        if not DEPTH_RANGE_METRES[0] <= metres <= DEPTH_RANGE_METRES[1]:
            faults.append(Fault(DEPTH_UNIT, f"the middle of the scene would be {metres:g} m away"))
    return faults, False
