"""Places of the configs and of train.py, in a checkout and in an installed package."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
IS_CHECKOUT = not (PACKAGE / "configs").is_dir()
"""Inside a wheel the configs and train.py lie in the package; in a checkout beside it."""
CONFIG_DIR = (PACKAGE.parent if IS_CHECKOUT else PACKAGE) / "configs"
TRAIN_SCRIPT = PACKAGE.parent / "train.py" if IS_CHECKOUT else PACKAGE / "commands" / "_train_script.py"
