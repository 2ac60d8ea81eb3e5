"""Sounds with sentences: AudioCaps, clips of 10 s from AudioSet with one caption (train) or five (val, test).

The split is the publisher's: train.csv, val.csv and test.csv. The test has 975 clips in the first list, but videos
disappear, and published figures are over fewer (ImageBind's over 796, without what VGGSound shares): compare figures
over pools of one size only. A clip repeats in the lists once per caption and becomes one row with all of them. Clips
with one and the same caption form a group. Checked: every clip's file is there, decodes and is not silent. Both
releases (dataset/ and dataset2.0/) have these columns. Layout and counts: README files of the repository.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from common import finish_manifest, parse_arguments, read_csv, run_script
from youtube import HOW_FILES_ARE_NAMED, Clip, Downloads

SPLITS = ("train", "val", "test")
COLUMNS = ("audiocap_id", "youtube_id", "start_time", "caption")
NUM_TEST_CLIPS = 975
WHERE_TO_GET = (
    "Get the lists from https://github.com/cdjkim/audiocaps (Kim et al., 2019; captions: MIT, sounds: YouTube's), and\n"
    "the clips with a downloader of your choice; pass the folder that holds train.csv, val.csv, test.csv and clips.\n"
    + HOW_FILES_ARE_NAMED
)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the manifest of the data set, and the files that its rows name."""
    args = parse_arguments(str(__doc__), WHERE_TO_GET, argv)
    downloads = Downloads(args.source)
    bad: dict[Path, str] = {}
    rows = []
    num_listed = num_test = 0
    for split in SPLITS:
        clips: dict[Clip, list[str]] = defaultdict(list)
        for line in read_csv(args.source / f"{split}.csv", COLUMNS, WHERE_TO_GET):
            clips[Clip(line["youtube_id"], int(line["start_time"]))].append(line["caption"].strip())
        num_listed += len(clips)
        for clip, captions in clips.items():
            cells, problems = downloads.media(clip, args.out, decode=True)
            bad |= problems
            if problems:
                continue
            row = {"key": clip.key, "split": split, "owner": f"video:{clip.video_id}", **cells, "text": captions}
            if len(captions) == 1:
                row["group"] = " ".join(captions[0].lower().split())
            rows.append(row)
            num_test += split == "test"
    finish_manifest(rows, args, num_files=num_listed, bad=bad)
    print(f"the test pool is {num_test} clips of {NUM_TEST_CLIPS} published: compare figures of equal pools only")


if __name__ == "__main__":
    run_script(main)
