"""Sounds of 15 to 30 s with five sentences each: Clotho 2.1, from Freesound.

The splits are the publisher's: development (3839 clips), validation (1045) and evaluation (1045) become train, val and
test. Clips of one Freesound recording are one owner; the published splits share some, and what the evaluation has is
taken out of the others, what the validation has out of the development. Checked: every clip decodes and is not silent,
and has five captions. The metadata are in Latin-1. Layout: https://zenodo.org/records/4783391 and its CSV files.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from common import finish_manifest, parse_arguments, read_csv, relative_path, run_script, sound_problem

SPLITS = {"development": "train", "validation": "val", "evaluation": "test"}
CAPTIONS = tuple(f"caption_{number}" for number in range(1, 6))
WHERE_TO_GET = (
    "Get clotho_audio_*.7z, clotho_captions_*.csv and clotho_metadata_*.csv of development, validation and evaluation\n"
    "from https://zenodo.org/records/4783391 (Drossos et al., 2020; captions: Tampere University's non-commercial\n"
    "licence, sounds: Creative Commons, each its own), unpack, and pass the folder that holds the CSV files and\n"
    "development/, validation/ and evaluation/"
)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the manifest of the data set, and the files that its rows name."""
    args = parse_arguments(str(__doc__), WHERE_TO_GET, argv)
    bad: dict[Path, str] = {}
    rows = []
    num_listed = 0
    for name, split in SPLITS.items():
        listed = read_csv(_file(args.source, f"clotho_captions_{name}.csv"), ("file_name", *CAPTIONS), WHERE_TO_GET)
        about = read_csv(
            _file(args.source, f"clotho_metadata_{name}.csv"),
            ("file_name", "sound_id"),
            WHERE_TO_GET,
            encoding="latin-1",
        )
        sound_ids = {line["file_name"].strip(): line["sound_id"].strip() for line in about}
        num_listed += len(listed)
        for index, line in enumerate(listed):
            path = _file(args.source, name) / line["file_name"].strip()
            captions = [line[column].strip() for column in CAPTIONS]
            problem = sound_problem(path) or (None if all(captions) else "a caption is empty")
            if problem:
                bad[path] = problem
                continue
            sound_id = sound_ids.get(path.name, "")
            rows.append(
                {
                    "key": f"{name}_{index:04d}",
                    "split": split,
                    # The id of a few recordings was lost; the file's name is theirs on Freesound.
                    "owner": f"freesound:{sound_id if sound_id.isdecimal() else path.name}",
                    "audio": relative_path(path, args.out),
                    "text": captions,
                }
            )
    finish_manifest(rows, args, num_files=num_listed, bad=bad)


def _file(source: Path, name: str) -> Path:
    """`name` in the folder itself or one below it."""
    return next((path for path in (source / name, *sorted(source.glob(f"*/{name}"))) if path.exists()), source / name)


if __name__ == "__main__":
    run_script(main)
