"""Rooms with depth: the 1449 labelled pictures of NYU Depth v2, from 464 scenes seen by a Kinect.

The split is the publisher's (splits.mat: 795 train, 654 test); one scene in ten of the training is the validation.
Scenes are owners, types of room are groups. Labels are the nine commonest types and "other", the ten classes that
scene classification on these pictures uses (Gupta et al., 2014; the 18 types that are "other" are those that the
ImageBind paper lists). Pictures are written as PNG, in-painted depth as
16-bit PNG in millimetres. Checked: depth is finite, not negative, and within 65 m. The MATLAB 7.3 file is HDF5, whose
axes are those of MATLAB reversed: images (N, 3, W, H), depths (N, W, H) in metres.
Source: https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import finish_manifest, parse_arguments, run_script
from PIL import Image

LABELS = (
    "bathroom",
    "bedroom",
    "bookstore",
    "classroom",
    "dining room",
    "home office",
    "kitchen",
    "living room",
    "office",
)
MISSPELT = {"excercise room": "exercise room"}
VAL_SHARE = 0.1
WHERE_TO_GET = (
    "Get nyu_depth_v2_labeled.mat (2.8 GB) and splits.mat (in the toolbox indoor_seg_sup) from\n"
    "https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html (Silberman et al., 2012; for research, names no licence)\n"
    "and pass the folder that holds both. Needs the extra datasets (h5py)"
)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the manifest of the data set, and the files that its rows name."""
    args = parse_arguments(str(__doc__), WHERE_TO_GET, argv)
    path = args.source / "nyu_depth_v2_labeled.mat"
    split_of = _read_splits(args.source / "splits.mat")
    if not path.is_file():
        raise ValueError(f"{path}: no such file.\n{WHERE_TO_GET}")
    import h5py

    for folder in ("image", "depth"):
        (args.out / folder).mkdir(parents=True, exist_ok=True)
    bad: dict[Path, str] = {}
    rows = []
    try:
        with h5py.File(path, "r") as file:
            scenes, types = _read_texts(file, "scenes"), _read_texts(file, "sceneTypes")
            numbers = range(1, len(scenes) + 1)
            if set(numbers) != set(split_of):
                raise ValueError(f"{path}: {len(scenes)} pictures, but splits.mat is about {len(split_of)} others")
            for number, scene, kind in zip(numbers, scenes, types, strict=True):
                key = f"nyu_{number:04d}"
                image_HWC = np.ascontiguousarray(file["images"][number - 1].T)
                depth_HW = np.asarray(file["depths"][number - 1].T, dtype=np.float64)
                if problem := _problem(depth_HW):
                    bad[args.out / "depth" / f"{key}.png"] = problem
                    continue
                Image.fromarray(image_HWC).save(args.out / "image" / f"{key}.png", compress_level=1)
                millimetres = np.rint(depth_HW * 1000).astype(np.uint16)
                Image.fromarray(millimetres).save(args.out / "depth" / f"{key}.png", compress_level=1)
                rows.append(_row(key, number, scene, kind, split_of[number]))
    except OSError as error:
        raise ValueError(f"{path}: not readable as MATLAB 7.3 ({error}). Download it again") from error
    finish_manifest(rows, args, num_files=len(split_of), bad=bad, val_share=VAL_SHARE, count_by="label")


def _row(key: str, number: int, scene: str, kind: str, split: str) -> dict[str, Any]:
    room = " ".join(kind.replace("_", " ").split())
    room = MISSPELT.get(room, room)
    return {
        "key": key,
        "split": split,
        "group": room,
        # SUN RGB-D holds the same pictures by the same numbers: its script names them alike.
        "owner": [f"scene:{scene}", f"nyu:{number:04d}"],
        "label": room if room in LABELS else "other",
        "image": f"image/{key}.png",
        "depth": f"depth/{key}.png",
        "text": room,
    }


def _read_texts(file: Any, name: str) -> list[str]:
    """A cell array of strings: references to arrays of UTF-16 codes."""
    return ["".join(map(chr, np.asarray(file[reference]).ravel())) for reference in np.asarray(file[name]).ravel()]


def _read_splits(path: Path) -> dict[int, str]:
    from scipy.io import loadmat

    if not path.is_file():
        raise ValueError(f"{path}: no such file.\n{WHERE_TO_GET}")
    try:
        contents = loadmat(path)
        return {
            int(number): split
            for split, name in (("train", "trainNdxs"), ("test", "testNdxs"))
            for number in contents[name].ravel()
        }
    except (ValueError, KeyError, NotImplementedError) as error:
        raise ValueError(f"{path}: no MATLAB file with trainNdxs and testNdxs ({error})") from error


def _problem(depth_HW: np.ndarray) -> str | None:
    if not np.isfinite(depth_HW).all() or (depth_HW < 0).any():
        return "depth is NaN, infinite or negative"
    if not depth_HW.any():
        return "nothing was measured"
    return "depth beyond 65 m: is it in metres?" if depth_HW.max() > 65 else None


if __name__ == "__main__":
    run_script(main)
