"""Streets at night seen by two cameras: LLVIP, 15,488 aligned pairs of visible and thermal pictures.

The split is the publisher's (folders train and test: 12,025 and 3,463 pairs); the first two digits of a name are the
scene, of 26. Scenes are owners, and the folders share none (19 and 7; were one in both, the test would keep it); one
scene in ten of the training is the validation. There are no groups: a picture's own pair alone is right, although
pictures of a scene are alike: expect hard negatives. Checked: both pictures of every pair decode and are of one size.
Layout: README and terms of use of the repository; counts also in the ImageBind paper, appendix A.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from common import finish_manifest, parse_arguments, picture_problem, relative_path, run_script

from bind.media.pictures import read_picture_size

NAME = re.compile(r"(?P<scene>[0-9]{2})[0-9]{4}")
VAL_SHARE = 0.1
WHERE_TO_GET = (
    "Get it from https://bupt-ai-cz.github.io/LLVIP/ (Jia et al., 2021; non-commercial use, see its terms), unzip it,\n"
    "and pass that folder, which holds visible/train, visible/test, infrared/train and infrared/test"
)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the manifest of the data set, and the files that its rows name."""
    args = parse_arguments(str(__doc__), WHERE_TO_GET, argv)
    bad: dict[Path, str] = {}
    rows = []
    num_pairs = 0
    for split in ("train", "test"):
        visible, infrared = (args.source / kind / split for kind in ("visible", "infrared"))
        names = sorted({path.name for folder in (visible, infrared) for path in folder.glob("*.jpg")})
        if not names:
            raise ValueError(f"{visible}: no pictures there.\n{WHERE_TO_GET}")
        num_pairs += len(names)
        for name in names:
            problems = _problems(visible / name, infrared / name)
            bad |= problems
            if problems:
                continue
            rows.append(
                {
                    "key": Path(name).stem,
                    "split": split,
                    "owner": f"scene:{name[:2]}",
                    "image": relative_path(visible / name, args.out),
                    "thermal": relative_path(infrared / name, args.out),
                }
            )
    finish_manifest(rows, args, num_files=2 * num_pairs, bad=bad, val_share=VAL_SHARE, count_by="owner")


def _problems(visible: Path, infrared: Path) -> dict[Path, str]:
    if NAME.fullmatch(visible.stem) is None:
        return {visible: "not named by six digits"}
    problems = {path: problem for path in (visible, infrared) if (problem := picture_problem(path))}
    if not problems:
        sizes = [read_picture_size(path) for path in (visible, infrared)]
        if sizes[0] != sizes[1]:
            return {infrared: f"{sizes[1]} pixels beside {sizes[0]} of the visible picture"}
    return problems


if __name__ == "__main__":
    run_script(main)
