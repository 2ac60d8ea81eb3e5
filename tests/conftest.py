import gc
import logging
import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("any machine", deadline=None)  # how long an example takes is no matter of the code alone
settings.load_profile("any machine")

SLOW_BY_KIND = ("ranks", "browser", "real_data", "gpu", "long")
SLOW_BY_FIXTURE = {
    "toy_run": "slow",
    "recorded_run": "slow",
    "ranks": "ranks",
    "four_ranks": "ranks",
    "browser": "browser",
    "real_data": "real_data",
    "golden": "real_data",
}
"""Fixtures that train, start processes or need what is not everywhere, and the mark of a test that uses one."""


@pytest.hookimpl(tryfirst=True)  # before -m is read
def pytest_collection_modifyitems(items):
    for item in items:
        for fixture in SLOW_BY_FIXTURE.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(SLOW_BY_FIXTURE[fixture])
        if any(item.get_closest_marker(kind) for kind in SLOW_BY_KIND):
            item.add_marker("slow")
    # Files that start groups of processes last longest: begun last, they would be what one waits for at the end.
    first = {item.path for item in items if item.get_closest_marker("ranks")}
    items.sort(key=lambda item: item.path not in first)


def pytest_collection_finish():
    """What was imported stays: not looked through again by each collection of garbage, which took seconds."""
    gc.freeze()


@pytest.fixture
def real_data():
    """A function from a data set's name to its folder; the test is skipped where that is absent."""
    if "BIND_TEST_DATA" not in os.environ:
        pytest.skip("BIND_TEST_DATA is not set: it names the folder that holds the recordings")
    base = Path(os.environ["BIND_TEST_DATA"])

    def folder(name):
        if not (base / name).is_dir():
            pytest.skip(f"{base / name} is absent; BIND_TEST_DATA names the folder that holds {name}/")
        return base / name

    return folder


@pytest.fixture(scope="session")
def golden():
    """The folder of golden vectors, `golden` beside that of the recordings; the test is skipped where it is absent."""
    if "BIND_TEST_DATA" not in os.environ:
        pytest.skip(
            "BIND_TEST_DATA is not set: golden/, with outputs of original implementations, lies beside that folder"
        )
    folder = Path(os.environ["BIND_TEST_DATA"]).resolve().parent / "golden"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: outputs of original implementations, beside the folder of BIND_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def ranks(tmp_path_factory):
    """Results of every case of `two_ranks`, one dict per rank."""
    from support import processes, two_ranks

    return processes.run(two_ranks.run_all, two_ranks.WORLD_SIZE, tmp_path_factory.mktemp("two_ranks"))


@pytest.fixture(scope="session")
def recordings(tmp_path_factory):
    """The manifest of a few recordings; do not write beside it."""
    from support import runs

    return runs.write_recordings(tmp_path_factory.mktemp("recordings"))


@pytest.fixture(scope="session")
def toy_run(tmp_path_factory):
    """The run directory of `debug=tiny`, pictures and all."""
    from support import runs

    from bind.runs.jobs import train

    run_dir = tmp_path_factory.mktemp("runs") / "toy"
    train(runs.config("debug=tiny", **runs.QUICK | {"run_dir": str(run_dir), "evaluation.num_gallery_queries": 2}))
    return run_dir


@pytest.fixture(scope="session")
def recorded_run(tmp_path_factory, recordings):
    """The run directory of two epochs on `recordings` with attention fusion."""
    from support import runs

    from bind.runs.jobs import train

    run_dir = tmp_path_factory.mktemp("runs") / "recorded"
    train(runs.fused_config(recordings, run_dir))
    return run_dir


@pytest.fixture
def no_pictures(monkeypatch):
    """Reports without figures, which take longer than these trainings."""
    monkeypatch.setattr("bind.runs.evaluation.draw_run", lambda *args, **kwargs: {})


@pytest.fixture
def as_command(monkeypatch, tmp_path):
    """Runs `main` with these arguments in an empty folder, as if it had its own process; gives the exit status."""
    from hydra.core.hydra_config import HydraConfig

    root = logging.getLogger()
    kept = list(root.handlers), root.level, sys.modules["__main__"].__spec__
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(main, *arguments):
        monkeypatch.setattr(sys, "argv", ["bindspace", *arguments])
        try:
            main()
        except SystemExit as stopped:
            return stopped.code
        return 0

    yield run
    HydraConfig.instance().cfg = None
    root.handlers[:], root.level, sys.modules["__main__"].__spec__ = kept
