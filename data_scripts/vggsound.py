"""Sights and sounds of 309 classes: VGGSound, some 200,000 clips of 10 s from YouTube.

The split is the publisher's (train, test); one video in twenty of the training is the validation. Clips of a class
form a group. Checked: every clip's file is there and has a readable header (`bindspace doctor` finds silent ones).
vggsound.csv has no header; its columns are YouTube id, start in seconds, label, split, with labels that hold a comma
in quotes. Layout and naming: README, data/ and example_audio/ of the repository.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from common import finish_manifest, parse_arguments, read_csv, run_script
from youtube import HOW_FILES_ARE_NAMED, Clip, Downloads

COLUMNS = ("youtube_id", "start_seconds", "label", "split")
VAL_SHARE = 0.05
WHERE_TO_GET = (
    "Get vggsound.csv from https://www.robots.ox.ac.uk/~vgg/data/vggsound/ (Chen et al., 2020; CC BY 4.0; the videos\n"
    "are YouTube's) and the clips from there or with a downloader of your choice; pass the folder that holds both.\n"
    + HOW_FILES_ARE_NAMED
)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the manifest of the data set, and the files that its rows name."""
    args = parse_arguments(str(__doc__), WHERE_TO_GET, argv)
    path = args.source / "vggsound.csv"
    listed = read_csv(path, COLUMNS, WHERE_TO_GET, header=False)
    downloads = Downloads(args.source)
    bad: dict[Path, str] = {}
    rows = []
    for line in listed:
        if line["split"] not in ("train", "test"):
            raise ValueError(f"{path}: unknown split {line['split']!r} of {line['youtube_id']}; expected train or test")
        clip = Clip(line["youtube_id"], int(line["start_seconds"]))
        cells, problems = downloads.media(clip, args.out, decode=False)
        bad |= problems
        if problems:
            continue
        label = line["label"]
        about = {"group": label, "owner": f"video:{clip.video_id}", "label": label}
        rows.append({"key": clip.key, "split": line["split"], **about, **cells, "text": label})
    finish_manifest(rows, args, num_files=len(listed), bad=bad, val_share=VAL_SHARE)


if __name__ == "__main__":
    run_script(main)
