"""Rooms with depth: SUN RGB-D, 10,335 pictures from four depth cameras (kv1, kv2, realsense, xtion).

The split is the publisher's (allsplit.mat: 5285 train, 5050 test); one video in ten of the training is the
validation. Frames of one video are one owner, so are the pictures that are NYU Depth v2's (by their number there):
where the two splits share one, the test keeps it. Types of room (scene.txt) are groups; labels are the 19 types that
scene classification uses (4,845 train and 4,659 test pictures of the published splits; Song et al., 2015). Checked:
picture and depth decode, and depth has the picture's size.

Raw depth (depth_bfx, with holes filled) is stored as 16 bits turned left by three; turned back, (d >> 3) | (d << 13),
it is millimetres. It is cut at 8 m and written as 16-bit PNG in millimetres; 0 stays "not measured".
Sources: SUNRGBDtoolbox (read3dPoints.m, traintestSUNRGBD/allsplit.mat), ImageBind issue 134 and ViT-Lens issue 12.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from common import finish_manifest, parse_arguments, picture_problem, relative_path, run_script
from PIL import Image

from bind.media.pictures import read_picture_size, read_pixels
from bind.types import Clip

MAX_DEPTH_MM = 8000
VAL_SHARE = 0.1
LABELS = (
    *("bathroom", "bedroom", "classroom", "computer_room", "conference_room", "corridor", "dining_area", "dining_room"),
    *("discussion_area", "furniture_store", "home_office", "kitchen", "lab", "lecture_theatre", "library"),
    *("living_room", "office", "rest_space", "study_space"),
)
WHERE_TO_GET = (
    "Get SUNRGBD.zip and SUNRGBDtoolbox.zip from https://rgbd.cs.princeton.edu (Song et al., 2015; for research, no\n"
    "licence is named), unzip both, and pass the folder that holds SUNRGBD/ and SUNRGBDtoolbox/"
)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the manifest of the data set, and the files that its rows name."""
    args = parse_arguments(str(__doc__), WHERE_TO_GET, argv)
    listed = _read_splits(args.source)
    (args.out / "depth").mkdir(parents=True, exist_ok=True)
    bad: dict[Path, str] = {}
    rows = []
    for place, split in listed.items():
        folder = args.source / "SUNRGBD" / place
        try:
            image, depth_HW, scene = _read_frame(folder)
        except ValueError as error:
            bad[folder] = str(error)
            continue
        key = re.sub(r"[^A-Za-z0-9_-]+", "_", str(place))
        Image.fromarray(depth_HW).save(args.out / "depth" / f"{key}.png", compress_level=1)
        room = scene.replace("_", " ")
        rows.append(
            {
                "key": key,
                "split": split,
                "group": room,
                "owner": owner_of(place),
                "label": room if scene in LABELS else None,
                "image": relative_path(image, args.out),
                "depth": f"depth/{key}.png",
                "text": room,
            }
        )
    finish_manifest(rows, args, num_files=len(listed), bad=bad, val_share=VAL_SHARE, count_by="group")


def owner_of(place: PurePosixPath) -> str:
    """The video that a frame was taken from, by its folder under SUNRGBD/."""
    camera, _, *rest = place.parts
    if nyu := re.fullmatch(r"NYU([0-9]{4})", place.name):
        return f"nyu:{nyu[1]}"
    if "sun3ddata" in place.parts:
        return f"sun3d:{rest[0]}"
    # 000306_2014-06-02_15-07-56_260595134347_rgbf000105-resize: number, time, serial number of the camera, frame
    video = re.search(r"([0-9]{4}[-_][0-9]{2}[-_][0-9]{2}[-_][0-9]{2}[-_][0-9]{2}[-_][0-9]{2})", place.name)
    return f"{camera}:{video[1] if video else place.name}"


def restore_depth(stored: np.ndarray) -> np.ndarray:
    """Depth in millimetres, at most 8 m, of the stored uint16 values."""
    return np.minimum((stored >> 3) | (stored << 13), MAX_DEPTH_MM)


def _read_frame(folder: Path) -> tuple[Path, np.ndarray, str]:
    """The picture's path, depth (H, W) uint16 in millimetres, and the type of room."""
    images, depths = (
        sorted((folder / kind).glob(f"*.{ext}")) for kind, ext in (("image", "jpg"), ("depth_bfx", "png"))
    )
    if len(images) != 1 or len(depths) != 1:
        raise ValueError(f"{len(images)} pictures in image/ and {len(depths)} in depth_bfx/ instead of one each")
    for path in (images[0], depths[0]):
        if problem := picture_problem(path):
            raise ValueError(f"{path.name}: {problem}")
    if not (folder / "scene.txt").is_file():
        raise ValueError("scene.txt is missing")
    stored_HW = read_pixels(Clip(depths[0]))
    if stored_HW.dtype != np.uint16 or stored_HW.ndim != 2:
        raise ValueError(f"{depths[0].name}: {stored_HW.dtype} {stored_HW.shape} is no 16-bit depth")
    if stored_HW.shape[::-1] != (size := read_picture_size(images[0])):
        raise ValueError(f"depth of {stored_HW.shape[::-1]} pixels beside a picture of {size}")
    depth_HW = restore_depth(stored_HW)
    if not depth_HW.any():
        raise ValueError("nothing was measured")
    return images[0], depth_HW, (folder / "scene.txt").read_text().strip()


def _read_splits(source: Path) -> dict[PurePosixPath, str]:
    """Folder under SUNRGBD/ → train or test. The file names them as they were on the publisher's own disk."""
    from scipy.io import loadmat

    path = source / "SUNRGBDtoolbox" / "traintestSUNRGBD" / "allsplit.mat"
    if not path.is_file():
        raise ValueError(f"{path}: no such file.\n{WHERE_TO_GET}")
    try:
        contents = loadmat(path)
        names = {split: [str(cell[0]) for cell in contents[f"all{split}"].ravel()] for split in ("train", "test")}
        return {
            PurePosixPath(name.split("SUNRGBD/", 1)[1].strip("/")): split for split in names for name in names[split]
        }
    except (ValueError, KeyError, IndexError, NotImplementedError) as error:
        raise ValueError(f"{path}: no MATLAB file with alltrain and alltest ({error!r})") from error


if __name__ == "__main__":
    run_script(main)
