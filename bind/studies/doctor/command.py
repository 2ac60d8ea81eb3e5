"""The command `bindspace doctor MANIFEST`."""

from __future__ import annotations

import json

from bind.files.writing import write_text
from bind.studies.doctor.arguments import read_arguments
from bind.studies.doctor.diagnose import diagnose
from bind.studies.doctor.doors import build_anchor, training_transforms
from bind.studies.doctor.show import print_diagnosis


def main(arguments: list[str]) -> int:
    """Print what is wrong with a manifest and its files; 1 where something would spoil a run, else 0.

    Raises:
        ValueError: a file that is no manifest, or an anchor that can't be loaded.
    """
    options = read_arguments(arguments)
    anchor = None if options.anchor == "none" else build_anchor(options.anchor, options.config_dir)
    transforms = training_transforms(options.overrides, options.config_dir)
    diagnosis = diagnose(options.manifest, anchor, options.workers, transforms=transforms, known=options.known)
    print_diagnosis(diagnosis)
    if options.json is not None:
        write_text(options.json, json.dumps(diagnosis.as_json(), indent=1, ensure_ascii=False) + "\n")
        print(f"everything: {options.json}")
    return int(any(problem.is_error for problem in diagnosis.problems()))
