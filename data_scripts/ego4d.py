"""Motion of the head with video and sentences: Ego4D, the videos that have IMU data.

Each narration of what the camera wearer does gives a window of 5 s around its moment; one that begins before the last
window has ended is left out, for their motion would be nearly the same. Motion is written at 200 Hz, one file per
video whose time is the video's, with NaN where nothing was recorded, which no window touches. Rates above 200 Hz are
filtered first. Captions speak of "a person" instead of "#C C"; windows with one caption form a group. Persons are
owners: a tenth of them is the test, another the validation (the published splits are by task and video, and a person
may be in several). A video's scenarios stand in `label`, joined by "|". With --continuous a row is a whole video, and
the narrations that would give windows are annotations, each a moment.

The stamps of the IMU run against the video by 0.5 to 1 s in places, mostly where they go backwards (Ego4D issue 158):
such videos are named. `bindspace doctor` measures offsets; nothing is shifted here.

Checked: columns and values. Left out: videos without acceleration or with another unit, seen by the size of gravity,
and windows that are flat, outside the recording, or have a gap of over 0.1 s. Format and known faults:
https://ego4d-data.org/docs/data/imu. It names no units; m/s² and rad/s are those of GoPro's telemetry (README of
gpmf-parser), which part of the recordings come from. The unit of rotation is not checked.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.csv
from common import (
    add_continuous,
    finish_manifest,
    hold_out,
    parse_arguments,
    relative_path,
    run_script,
    write_annotations,
)

from bind.types import Annotation

RATE_HZ = 200
HALF_WINDOW_SECONDS = 2.5
MAX_GAP_SECONDS = 0.1
TEST_SHARE, VAL_SHARE = 0.1, 0.1
TRIADS = {"acc": ("accl_x", "accl_y", "accl_z"), "gyro": ("gyro_x", "gyro_y", "gyro_z")}
CHANNELS = [f"{sensor}_{axis}" for sensor in TRIADS for axis in "xyz"]
UNITS = ["m/s^2"] * 3 + ["rad/s"] * 3
VIDEO_FOLDERS = ("full_scale", "video_540ss")
WHERE_TO_GET = (
    "Get it from https://ego4d-data.org (Grauman et al., 2022; Ego4D licence, to be signed there) with\n"
    "  ego4d --output_directory=DIR --datasets imu annotations video_540ss\n"
    "and pass DIR/v2 (or DIR/v1), which holds imu/, annotations/narration.json and full_scale/ or video_540ss/;\n"
    "ego4d.json lies in it or beside it"
)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the manifest of the data set, and the files that its rows name."""
    args = parse_arguments(str(__doc__), WHERE_TO_GET, argv, add_continuous)
    videos = {video["video_uid"]: video for video in _read_metadata(args.source)["videos"]}
    narrated = _read_json(args.source / "annotations" / "narration.json")
    files = sorted((args.source / "imu").glob("*.csv"))
    if not files:
        raise ValueError(f"{args.source / 'imu'}: no recordings there.\n{WHERE_TO_GET}")
    persons = {owner_of(video) for video in videos.values()}
    test = hold_out(persons, TEST_SHARE, args.seed)
    val = hold_out(persons - test, VAL_SHARE / (1 - TEST_SHARE), args.seed)

    (args.out / "imu").mkdir(parents=True, exist_ok=True)
    about = json.dumps({"channels": CHANNELS, "units": UNITS, "sample_rate_hz": RATE_HZ}) + "\n"
    bad: dict[Path, str] = {}
    left_out: dict[str, str] = {}
    rows, annotations, num_backwards = [], [], 0
    for path in files:
        try:
            video, film = _find_video(args.source, path.stem, videos)
            motion_TC, backwards = resample_motion(path, float(video["duration_sec"]))
        except ValueError as error:
            bad[path] = str(error)
            continue
        if fault := _video_fault(motion_TC):
            left_out[path.stem] = fault
            continue
        if backwards:
            num_backwards += 1
            print(f"{path.name}: time goes backwards {backwards} time(s); expect motion up to 1 s off the picture")
        np.save(args.out / "imu" / f"{path.stem}.npy", motion_TC)
        (args.out / "imu" / f"{path.stem}.json").write_text(about)
        person = owner_of(video)
        split = "test" if person in test else "val" if person in val else "train"
        files_of_video = {
            "owner": [person, f"video:{path.stem}"],
            "imu": f"imu/{path.stem}.npy",
            "video": relative_path(film, args.out),
        }
        if args.continuous:
            rows.append({"key": path.stem, "split": split, **files_of_video})
        last_end = -np.inf
        for seconds, text in _read_narrations(narrated.get(path.stem, {})):
            key = f"{path.stem}_{round(seconds * 1000):08d}"
            start, end = seconds - HALF_WINDOW_SECONDS, seconds + HALF_WINDOW_SECONDS
            caption = caption_of(text)
            reason = _window_fault(motion_TC, start, end, last_end, caption)
            if reason:
                left_out[f"{key} {text!r}"] = reason
                continue
            last_end = end
            if args.continuous:
                annotations.append(Annotation(path.stem, seconds, seconds, (str(caption),), kind="narration"))
                continue
            rows.append(
                {
                    "key": key,
                    "split": split,
                    "group": caption,
                    "label": "|".join(video.get("scenarios") or []) or None,
                    **files_of_video,
                    "imu_start_seconds": start,
                    "imu_end_seconds": end,
                    "video_start_seconds": start,
                    "video_end_seconds": end,
                    "text": caption,
                }
            )
    name = "recordings" if args.continuous else "manifest"
    finish_manifest(rows, args, num_files=len(files), bad=bad, left_out=left_out, name=name)
    if args.continuous:
        write_annotations(annotations, args.out)
    print(f"{num_backwards} of {len(files)} videos have stamps that go backwards")


def owner_of(video: dict[str, Any]) -> str:
    """The camera wearer; where the wearer is unknown, the video itself."""
    person = video.get("fb_participant_id")
    return f"person:{person}" if person is not None else f"video:{video['video_uid']}"


def caption_of(narration: str) -> str | None:
    """What the camera wearer does, in words; None where the narration is about another or not sure."""
    text = " ".join(narration.split()).rstrip(". ")
    match = re.fullmatch(r"#c c (?P<act>.+)", text, flags=re.IGNORECASE)
    return f"a person {match['act']}" if match and "#" not in match["act"] else None


def resample_motion(path: Path, duration_seconds: float) -> tuple[np.ndarray, int]:
    """(T, 6) float32 at 200 Hz over the video, NaN where nothing was recorded; and how often time goes backwards."""
    columns = ("canonical_timestamp_ms", *(name for triad in TRIADS.values() for name in triad))
    try:
        read = pyarrow.csv.read_csv(
            path,
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=columns, column_types=dict.fromkeys(columns, "float64")
            ),
        )
        table = np.stack([read[name].to_numpy().astype(np.float64) for name in columns], axis=1)
    except (pyarrow.ArrowException, KeyError, OSError) as error:
        raise ValueError(f"not a table of numbers under {', '.join(columns)} ({error})") from None
    backwards = int((np.diff(table[np.isfinite(table[:, 0]), 0]) < 0).sum())
    motion_TC = np.full((round(duration_seconds * RATE_HZ), len(CHANNELS)), np.nan, dtype=np.float32)
    for first in range(1, len(columns), 3):
        measured = np.isfinite(table[:, [0, first, first + 1, first + 2]]).all(axis=1)
        time, order = np.unique(table[measured, 0] / 1000, return_index=True)
        for start, values_TC in _even_stretches(time, table[measured][order, first : first + 3]):
            begin, end = max(start, 0), min(start + len(values_TC), len(motion_TC))
            if begin < end:
                motion_TC[begin:end, first - 1 : first + 2] = values_TC[begin - start : end - start]
    return motion_TC, backwards


def _even_stretches(time: np.ndarray, values_TC: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """First frame and values at 200 Hz of each stretch without a gap."""
    from bind.media.resample import resample

    for part in np.split(np.arange(len(time)), np.flatnonzero(np.diff(time) > MAX_GAP_SECONDS) + 1):
        if len(part) < 2:
            continue
        seconds = time[part]
        # A whole multiple of 200 Hz that keeps what a faster sensor saw; the filter then takes it down.
        times = max(1, math.ceil(1 / float(np.median(np.diff(seconds))) / RATE_HZ - 0.1))
        start, stop = int(np.ceil(seconds[0] * RATE_HZ)), int(np.floor(seconds[-1] * RATE_HZ))
        if stop <= start:
            continue
        grid = np.arange(start * times, stop * times + 1) / (RATE_HZ * times)
        even = np.stack([np.interp(grid, seconds, column) for column in values_TC[part].T], axis=1)
        yield start, resample(even.astype(np.float32), Fraction(1, times), edges="line")


def _video_fault(motion_TC: np.ndarray) -> str | None:
    """Why no window of a video can be used, or None."""
    if not np.isfinite(motion_TC).all(axis=1).any():
        return "a video where acceleration and rotation are never there at once"
    gravity = np.median(np.linalg.norm(motion_TC[np.isfinite(motion_TC[:, 0]), :3], axis=1))
    return None if 5 < gravity < 20 else "a video whose usual acceleration is not gravity in m/s²"


def _window_fault(motion_TC: np.ndarray, start: float, end: float, last_end: float, caption: str | None) -> str | None:
    """Why a window is left out, or None."""
    if caption is None:
        return "not about what the camera wearer does"
    if start < last_end:
        return "overlaps the window before"
    window = motion_TC[max(round(start * RATE_HZ), 0) : round(end * RATE_HZ)]
    if start < 0 or round(end * RATE_HZ) > len(motion_TC):
        return "outside the video"
    if not np.isfinite(window).all():
        return "no motion was recorded in part of the window"
    return "flat window" if (window == window[0]).all() else None


def _read_narrations(about: dict[str, Any]) -> list[tuple[float, str]]:
    """Moments in seconds and texts of both annotators, in order of time."""
    passes = [about[name]["narrations"] for name in ("narration_pass_1", "narration_pass_2") if name in about]
    return sorted((float(n["timestamp_sec"]), n["narration_text"]) for narrations in passes for n in narrations)


def _find_video(source: Path, uid: str, videos: dict[str, Any]) -> tuple[dict[str, Any], Path]:
    if uid not in videos:
        raise ValueError("ego4d.json does not know this video")
    for folder in VIDEO_FOLDERS:
        if (source / folder / f"{uid}.mp4").is_file():
            return videos[uid], source / folder / f"{uid}.mp4"
    raise ValueError(f"there is no {uid}.mp4 in {' or '.join(VIDEO_FOLDERS)}")


def _read_metadata(source: Path) -> dict[str, Any]:
    return _read_json(source / "ego4d.json" if (source / "ego4d.json").is_file() else source.parent / "ego4d.json")


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path}: no such file.\n{WHERE_TO_GET}")
    try:
        contents = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not readable as JSON ({error}). Download it again") from error
    # Later releases wrap the videos.
    return contents["videos"] if path.name == "narration.json" and "videos" in contents else contents


if __name__ == "__main__":
    run_script(main)
