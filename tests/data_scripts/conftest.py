import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "data_scripts"))


@pytest.fixture
def real_data():
    """A function from a data set's name to its folder; the test is skipped where that is absent."""
    base = Path(os.environ.get("BIND_TEST_DATA", ROOT.parent / "shared" / "data"))

    def folder(name):
        if not (base / name).is_dir():
            pytest.skip(f"{base / name} is absent; BIND_TEST_DATA names the folder that holds {name}/")
        return base / name

    return folder
