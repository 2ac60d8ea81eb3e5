import pytest
from support import shard_cases

from bind.data.sources.shards import objects, web


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


@pytest.fixture
def bucket(tmp_path):
    """An empty folder that `server` serves as `/bucket`."""
    folder = tmp_path / "served" / "bucket"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def server(bucket, monkeypatch):
    """A server whose folder is a web server's, and the buckets of S3, Azure and Google."""
    with shard_cases.Server(bucket.parent) as serving:
        for name, value in serving.store_options.items():
            monkeypatch.setenv(name, value)
        objects.open_store.cache_clear()
        yield serving
    objects.open_store.cache_clear()
    web._connection.cache_clear()


@pytest.fixture(params=["http", "s3", *(pytest.param(scheme, marks=pytest.mark.slow) for scheme in ("az", "gs"))])
def root(request, server):
    """The URL of `bucket`, by each way to a server."""
    return f"{server.url}/bucket" if request.param == "http" else f"{request.param}://bucket"
