"""Folders of CLIP models are written without torchvision."""

import subprocess
import sys

import pytest

WITHOUT_TORCHVISION = "import sys; sys.modules['torchvision'] = None; import bind.anchors.clip_folder"


@pytest.mark.slow
def test_importing_advises_no_package_that_is_not_needed():
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCHVISION], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
