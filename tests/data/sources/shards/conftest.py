import pytest
from support import shard_cases


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """The manifest of a small world; do not write beside it."""
    return shard_cases.write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def packed(world, tmp_path_factory):
    """The same world in shards of 40 kB; do not write there."""
    folder = tmp_path_factory.mktemp("packed")
    shard_cases.pack(world, folder)
    return folder


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    """No pause between tries; what would have been waited."""
    waited = []
    monkeypatch.setattr("bind.data.sources.shards.remote.sleep", waited.append)
    return waited
