"""Motion with captions: the UCI recordings of human activities and postural transitions from a phone at the waist.

Accelerometer (g) and gyroscope (rad/s) at 50 Hz are cut into windows of 2.56 s that overlap by half, each inside one
labelled activity: a stretch shorter than a window gives none and is counted as dropped. Users 22 to 30 are the test,
users 18 to 21 the validation, and 1 to 17 the training. With --continuous the recordings stay whole, and their labelled
stretches become annotations, short ones too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import (
    add_continuous,
    parse_arguments,
    print_table,
    refuse_bad_files,
    run_script,
    write_annotations,
    write_manifest,
)

from bind.types import Annotation

SAMPLE_RATE_HZ = 50
WINDOW_FRAMES = 128
HOP_FRAMES = WINDOW_FRAMES // 2
FIRST_VAL_USER, FIRST_TEST_USER = 18, 22
CHANNELS = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
UNITS = ("g", "g", "g", "rad/s", "rad/s", "rad/s")
ACTIVITIES = {
    "WALKING": "walking",
    "WALKING_UPSTAIRS": "walking upstairs",
    "WALKING_DOWNSTAIRS": "walking downstairs",
    "SITTING": "sitting",
    "STANDING": "standing",
    "LAYING": "lying",
    "STAND_TO_SIT": "sitting down",
    "SIT_TO_STAND": "standing up",
    "SIT_TO_LIE": "lying down from a seat",
    "LIE_TO_SIT": "sitting up from lying",
    "STAND_TO_LIE": "lying down from standing",
    "LIE_TO_STAND": "getting up from lying",
}
CAPTIONS = ("a person {}", "someone is {}", "the motion of a person {}")
NAME = re.compile(r"(?P<sensor>acc|gyro)_exp(?P<experiment>[0-9]+)_user(?P<user>[0-9]+)")
WHERE_TO_GET = (
    "Get it from the UCI Machine Learning Repository, data set 341: https://archive.ics.uci.edu/dataset/341\n"
    "(Reyes-Ortiz et al., CC BY 4.0), unzip it, and pass that folder, which holds activity_labels.txt and RawData/"
)


class Stretch(NamedTuple):
    """One labelled activity: frames first … last of an experiment, counted from 1, both included."""

    experiment: int
    user: int
    activity: int
    first: int
    last: int


def main(argv: Sequence[str] | None = None) -> None:
    """Write the manifest of the data set, and the files that its rows name."""
    args = parse_arguments(str(__doc__), WHERE_TO_GET, argv, add_continuous)
    raw = args.source / "RawData"
    files = sorted(raw.glob("acc_*.txt"))
    if not files or not (raw / "labels.txt").is_file():
        raise ValueError(f"{raw}: no recordings or no labels.txt there.\n{WHERE_TO_GET}")
    names = _read_activity_names(args.source / "activity_labels.txt")
    stretches = _read_stretches(raw / "labels.txt")

    recordings: dict[int, np.ndarray] = {}
    users: dict[int, int] = {}
    bad: dict[Path, str] = {}
    for path in files:
        try:
            experiment, recording = _read_recording(path, stretches)
            recordings[experiment], users[experiment] = recording, _user(path)
        except ValueError as error:
            bad[path] = str(error)
    unrecorded = {stretch.experiment for stretch in stretches} - {_experiment(path) for path in files}
    bad |= {raw / f"acc_exp{n:02d}_user….txt": "missing, but labelled" for n in sorted(unrecorded)}
    refuse_bad_files(bad, 2 * (len(files) + len(unrecorded)), args.allow_bad)

    args.out.mkdir(parents=True, exist_ok=True)
    about = {"channels": CHANNELS, "units": UNITS, "sample_rate_hz": SAMPLE_RATE_HZ}
    for experiment, recording in recordings.items():
        np.save(args.out / f"exp{experiment:02d}.npy", recording)
        (args.out / f"exp{experiment:02d}.json").write_text(json.dumps(about) + "\n")

    if args.continuous:
        _write_recordings(users, [stretch for stretch in stretches if stretch.experiment in users], names, args.out)
        return
    rows: list[dict[str, Any]] = []
    dropped: list[tuple[str, str]] = []
    for stretch in stretches:
        activity = ACTIVITIES[names[stretch.activity]]
        if stretch.experiment not in recordings:
            dropped.append((activity, "bad file"))
            continue
        starts = range(stretch.first - 1, stretch.last - WINDOW_FRAMES + 1, HOP_FRAMES)
        if not starts:
            dropped.append((activity, f"under {WINDOW_FRAMES / SAMPLE_RATE_HZ} s"))
        for start in starts:
            window = recordings[stretch.experiment][start : start + WINDOW_FRAMES]
            if (window == window[0]).all():
                dropped.append((activity, "flat window"))
                continue
            rows.append(_window_row(stretch, activity, start))

    print(f"kept {len(rows)} windows of {len(recordings)} recordings")
    print_table("windows of", ((row["label"], row["split"]) for row in rows))
    if dropped:
        print("dropped stretches of one activity, or windows where they are flat")
        print_table("dropped", dropped)
    write_manifest(rows, args.out)


def _write_recordings(users: dict[int, int], stretches: list[Stretch], names: dict[int, str], out: Path) -> None:
    rows = [
        {
            "key": f"exp{experiment:02d}",
            "split": split_of(user),
            "owner": f"user:{user:02d}",
            "imu": f"exp{experiment:02d}.npy",
        }
        for experiment, user in users.items()
    ]
    annotations = [
        Annotation(
            f"exp{stretch.experiment:02d}",
            (stretch.first - 1) / SAMPLE_RATE_HZ,
            stretch.last / SAMPLE_RATE_HZ,
            tuple(caption.format(ACTIVITIES[names[stretch.activity]]) for caption in CAPTIONS),
            ACTIVITIES[names[stretch.activity]],
            "activity",
        )
        for stretch in stretches
    ]
    print(f"kept {len(rows)} recordings")
    print_table("stretches of", ((str(a.label), split_of(s.user)) for a, s in zip(annotations, stretches, strict=True)))
    write_manifest(rows, out, "recordings")
    write_annotations(annotations, out)


def split_of(user: int) -> str:
    """The split of a user."""
    return "train" if user < FIRST_VAL_USER else "val" if user < FIRST_TEST_USER else "test"


def _window_row(stretch: Stretch, activity: str, start: int) -> dict[str, Any]:
    return {
        "key": f"exp{stretch.experiment:02d}_{start:05d}",
        "split": split_of(stretch.user),
        "group": activity,
        "owner": f"user:{stretch.user:02d}",
        "label": activity,
        "imu": f"exp{stretch.experiment:02d}.npy",
        "imu_start_seconds": start / SAMPLE_RATE_HZ,
        "imu_end_seconds": (start + WINDOW_FRAMES) / SAMPLE_RATE_HZ,
        "text": [caption.format(activity) for caption in CAPTIONS],
    }


def _read_activity_names(path: Path) -> dict[int, str]:
    if not path.is_file():
        raise ValueError(f"{path}: no such file.\n{WHERE_TO_GET}")
    names = {int(number): name for number, name in (line.split() for line in path.read_text().splitlines() if line)}
    unknown = [name for name in names.values() if name not in ACTIVITIES]
    if unknown:
        raise ValueError(f"{path}: unknown activities {', '.join(unknown)}; expected {', '.join(ACTIVITIES)}")
    return names


def _read_stretches(path: Path) -> list[Stretch]:
    stretches = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            stretch = Stretch(*map(int, line.split()))
        except (TypeError, ValueError):
            raise ValueError(f"{path} line {number}: expected five integers, got {line!r}") from None
        if not (1 <= stretch.activity <= len(ACTIVITIES) and 1 <= stretch.first <= stretch.last):
            raise ValueError(f"{path} line {number}: no such activity or an empty stretch: {line!r}")
        stretches.append(stretch)
    return stretches


def _experiment(path: Path) -> int:
    match = NAME.fullmatch(path.stem)
    return int(match["experiment"]) if match else -1


def _user(path: Path) -> int:
    match = NAME.fullmatch(path.stem)
    return int(match["user"]) if match else -1


def _read_recording(path: Path, stretches: list[Stretch]) -> tuple[int, np.ndarray]:
    """Experiment number and (T, 6) float32 of an accelerometer file and its gyroscope file."""
    match = NAME.fullmatch(path.stem)
    if match is None:
        raise ValueError("not named acc_expXX_userYY.txt")
    experiment, user = int(match["experiment"]), int(match["user"])
    acc, gyro = (_read_axes(part) for part in (path, path.with_name(path.name.replace("acc", "gyro", 1))))
    if len(acc) != len(gyro):
        raise ValueError(f"{len(acc)} frames beside {len(gyro)} of the gyroscope")
    own = [stretch for stretch in stretches if stretch.experiment == experiment]
    if any(stretch.user != user for stretch in own):
        raise ValueError("labels.txt gives it to another user")
    if any(stretch.last > len(acc) for stretch in own):
        raise ValueError(f"{len(acc)} frames, but labels.txt goes to {max(stretch.last for stretch in own)}")
    return experiment, np.concatenate([acc, gyro], axis=1)


def _read_axes(path: Path) -> np.ndarray:
    try:
        values = np.loadtxt(path, dtype=np.float32, ndmin=2)
    except OSError:
        raise ValueError(f"{path.name} is missing") from None
    except ValueError as error:
        raise ValueError(f"{path.name} is not a table of numbers ({error})") from None
    if values.shape[1] != 3:
        raise ValueError(f"{path.name} has {values.shape[1]} columns instead of 3")
    if not np.isfinite(values).all():
        raise ValueError(f"{path.name} holds NaN or infinite values")
    return values


if __name__ == "__main__":
    run_script(main)
