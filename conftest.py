"""What holds for the tests and for the examples in the docstrings of `bind/`, which run as tests too."""

import gc
import os
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent
# Processes that tests start find the package of this checkout and `support`.
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tests"), str(ROOT), os.environ.get("PYTHONPATH", "")])

# Tensors of the tests are so small that threads only wait for each other. Said before torch counts the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")


# What they import first is an extra.
NEEDED_BY = {
    "bind/search/handover/milvus_rows.py": "pymilvus",
    "bind/search/handover/qdrant_points.py": "qdrant_client",
    "bind/share/as_sentence_transformer.py": "sentence_transformers",
    "bind/share/as_mteb.py": "mteb",
    "tests/support/mteb_tasks.py": "mteb",
}
collect_ignore = [path for path, package in NEEDED_BY.items() if find_spec(package) is None]

gc.disable()  # until everything is imported: it finds no garbage there, and takes its time


def pytest_collection_finish():
    gc.freeze()  # what is imported stays
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def anchor_cache(tmp_path_factory):
    """Trainings of the tests, also those in processes of their own, keep the anchor's vectors here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BINDSPACE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _examples_in_an_empty_folder(request):
    """An example in a docstring may write files."""
    if request.path.is_relative_to(ROOT / "bind"):
        request.getfixturevalue("monkeypatch").chdir(request.getfixturevalue("tmp_path"))
