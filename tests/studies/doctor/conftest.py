import shutil

import pytest
from support.planted import World, write_world


@pytest.fixture(scope="session")
def clean_world(tmp_path_factory):
    """The manifest of the undamaged toy world; do not write beside it."""
    return write_world(tmp_path_factory.mktemp("clean"))


@pytest.fixture
def world(clean_world, tmp_path):
    """A copy to damage."""
    shutil.copytree(clean_world.parent, tmp_path / "world")
    return World(tmp_path / "world")
