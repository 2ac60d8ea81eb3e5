"""Sounds with several labels each: AudioSet, clips of 10 s from two million YouTube videos, 527 classes.

The split is the publisher's: balanced_train_segments.csv and unbalanced_train_segments.csv are the training,
eval_segments.csv the test; one video in twenty of the balanced list is the validation. A list that is absent is left
out, so the balanced training can be had alone. The labels of a clip stand in `label`, joined by "|" (no class has one
in its name): single-label measures ask only clips with one label. Clips with the same set of labels form a group.
Checked: every clip's file is there and has a readable header (`bindspace doctor` finds silent ones).
Lists and counts: https://research.google.com/audioset/download.html; names of classes: class_labels_indices.csv.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from common import finish_manifest, hold_out, parse_arguments, read_csv, run_script
from youtube import HOW_FILES_ARE_NAMED, Clip, Downloads

LISTS = {"eval_segments.csv": "test", "balanced_train_segments.csv": "train", "unbalanced_train_segments.csv": "train"}
COLUMNS = ("YTID", "start_seconds", "end_seconds", "positive_labels")
VAL_SHARE = 0.05
WHERE_TO_GET = (
    "Get the three *_segments.csv and class_labels_indices.csv from https://research.google.com/audioset/download.html\n"
    "(Gemmeke et al., 2017; CC BY 4.0, the videos are YouTube's) and the clips with a downloader of your choice; pass\n"
    "the folder that holds both.\n" + HOW_FILES_ARE_NAMED
)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the manifest of the data set, and the files that its rows name."""
    args = parse_arguments(str(__doc__), WHERE_TO_GET, argv)
    classes = read_csv(args.source / "class_labels_indices.csv", ("index", "mid", "display_name"), WHERE_TO_GET)
    names = {line["mid"]: line["display_name"] for line in classes}
    present = [name for name in LISTS if (args.source / name).is_file()]
    if not present:
        raise ValueError(f"{args.source}: none of {', '.join(LISTS)} is there.\n{WHERE_TO_GET}")
    downloads = Downloads(args.source)
    bad: dict[Path, str] = {}
    rows = []
    num_listed = 0
    for name in present:
        # The names of the columns are in a comment, the third line.
        listed = read_csv(args.source / name, COLUMNS, WHERE_TO_GET, header=False, comment="#", spaces=True)
        num_listed += len(listed)
        videos = (f"video:{line['YTID']}" for line in listed if name.startswith("balanced"))
        val = hold_out(videos, VAL_SHARE, args.seed)
        for line in listed:
            clip = Clip(line["YTID"], int(float(line["start_seconds"])))
            unknown = [mid for mid in line["positive_labels"].split(",") if mid not in names]
            if unknown:
                raise ValueError(f"{args.source / name}: {clip.video_id} has the unknown labels {', '.join(unknown)}")
            cells, problems = downloads.media(clip, args.out, decode=False)
            bad |= problems
            if problems:
                continue
            owner = f"video:{clip.video_id}"
            split = "val" if owner in val else LISTS[name]
            labels = "|".join(sorted(names[mid] for mid in line["positive_labels"].split(",")))
            rows.append({"key": clip.key, "split": split, "group": labels, "owner": owner, "label": labels, **cells})
    finish_manifest(rows, args, num_files=num_listed, bad=bad)


if __name__ == "__main__":
    run_script(main)
