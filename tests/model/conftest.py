import pytest
from support import tiny


@pytest.fixture(scope="module")
def anchor_folder(tmp_path_factory):
    return tiny.write_anchor(tmp_path_factory.mktemp("anchor"))


@pytest.fixture
def config(anchor_folder):
    return tiny.binder_config(anchor_folder)
