import logging
import os
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
# Processes that tests start find the package of this checkout and `support`.
os.environ["PYTHONPATH"] = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])

if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as asked for are busy, before torch counts the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def anchor_cache(tmp_path_factory):
    """Trainings of the tests, also those in processes of their own, keep the anchor's vectors here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BINDSPACE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


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
