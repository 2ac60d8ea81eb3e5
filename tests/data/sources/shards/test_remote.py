"""Shards behind a web server that drops connections, is busy, or does not know ranges; and in a memory store."""

import re

import fsspec
import pytest
import torch
from support import shard_cases

from bind.data.sources.shards import remote
from bind.data.sources.shards.remote import file_size, read_range, read_whole
from bind.data.sources.shards.source import IndexedShardSource

MODALITIES = ("text", "audio", "imu", "image", "depth")


@pytest.fixture
def server(packed):
    with shard_cases.Server(packed) as serving:
        yield serving


def values(source, split="val"):
    fetched = source.fetch(split, range(len(source.samples(split))), MODALITIES, None)
    return [
        {m: [v if isinstance(v, str) else (v.path.content, v.path.sidecar) for v in vs] for m, vs in row.items()}
        for row in fetched
    ]


@pytest.mark.slow
@pytest.mark.parametrize("where", ["", "/", "/{train,val}-{000000..000000}.tar"])
def test_shards_on_a_server_are_those_on_disk(packed, server, where):
    local = IndexedShardSource(str(packed) if "{" not in where else str(packed) + where)
    far = IndexedShardSource(server.url + where)
    assert [s.key for s in far.samples("train")] == [s.key for s in local.samples("train")]
    assert values(far) == values(local)
    assert far.content_hash("val", "audio") == local.content_hash("val", "audio")


def test_a_batch_takes_few_requests_and_few_bytes(packed, server):
    source = IndexedShardSource(server.url)
    server.requests.clear()
    server.sent_bytes = 0
    source.fetch("train", range(8), MODALITIES, None)
    shards = {source._members.shards[source._members.shard_of_row[r]] for r in source._rows["train"][:8]}
    assert len(server.requests) == len(shards)
    assert all(asked is not None for _, asked in server.requests)


@pytest.mark.parametrize("mishaps", [["drop"], [503, 503], [429, "drop", 500, 502]])
def test_it_is_tried_again(packed, server, mishaps, short_pauses):
    source = IndexedShardSource(f"{server.url}/val-000000.tar")
    server.mishaps = list(mishaps)
    assert values(source) == values(IndexedShardSource(str(packed / "val-000000.tar")))
    assert short_pauses == [0.5 * 2**n for n in range(len(mishaps))]


@pytest.mark.parametrize("mishap", ["drop", 503])
def test_what_never_goes_well_is_told(server, mishap, short_pauses):
    source = IndexedShardSource(f"{server.url}/val-000000.tar")
    server.mishaps = [mishap] * 20
    with pytest.raises(ValueError, match=r"http\S+/val-000000\.tar: not readable in 6 tries.*ckpt=last"):
        values(source)
    assert short_pauses == [0.5, 1.0, 2.0, 4.0, 8.0]


def test_a_server_that_is_gone_is_told(server, short_pauses):
    source = IndexedShardSource(f"{server.url}/val-000000.tar")
    server.http.shutdown()
    server.http.server_close()
    remote._http.cache_clear()
    with pytest.raises(ValueError, match=r"/val-000000\.tar: not readable in 6 tries.*Connect"):
        values(source)


def test_what_can_not_go_well_is_told_at_once(packed, server, short_pauses):
    with pytest.raises(ValueError, match=r"/nothing\.tar: not found"):
        IndexedShardSource(f"{server.url}/nothing.tar")
    source = IndexedShardSource(f"{server.url}/val-000000.tar")
    server.mishaps = [403]
    with pytest.raises(ValueError, match=r"/val-000000\.tar: may not be read \(HTTP 403\)"):
        values(source)
    assert short_pauses == []


def test_a_server_without_ranges_is_told_before_the_file_comes(packed):
    with shard_cases.Server(packed, ranges=False) as server:
        source = IndexedShardSource(f"{server.url}/val-000000.tar")
        with pytest.raises(ValueError, match=r"/val-000000\.tar: the server ignores ranges"):
            values(source)
        assert len([1 for path, _ in server.requests if path.endswith(".tar")]) == 1


def test_a_shard_of_another_size_on_a_server_is_told(packed, tmp_path):
    for path in packed.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tar = tmp_path / "val-000000.tar"
    tar.write_bytes(tar.read_bytes() + bytes(512))
    with shard_cases.Server(tmp_path) as server:
        source = IndexedShardSource(f"{server.url}/val-000000.tar")
        with pytest.raises(ValueError, match=r"val-000000\.tar: has \d+ bytes where its index says \d+"):
            values(source)


def test_any_file_system_of_fsspec_serves(packed):
    memory = fsspec.filesystem("memory")
    for path in packed.iterdir():
        memory.pipe_file(f"/bucket/{path.name}", path.read_bytes())
    try:
        local = values(IndexedShardSource(str(packed)))
        assert values(IndexedShardSource("memory://bucket")) == local
        assert values(IndexedShardSource("memory://bucket/*.tar")) == local
        with pytest.raises(ValueError, match=r"memory://bucket/nothing\.tar: not found"):
            IndexedShardSource("memory://bucket/nothing.tar")
    finally:
        memory.rm("/bucket", recursive=True)


def test_a_file_system_that_fails_is_tried_again(packed, monkeypatch, short_pauses):
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/flaky/a.bin", bytes(range(100)))
    fails = [OSError("reset"), TimeoutError()]
    cat_file = type(memory).cat_file

    def flaky(self, *args, **options):
        if fails:
            raise fails.pop()
        return cat_file(self, *args, **options)

    monkeypatch.setattr(type(memory), "cat_file", flaky)
    assert read_range("memory://flaky/a.bin", 10, 20) == bytes(range(10, 20))
    assert len(short_pauses) == 2
    assert file_size("memory://flaky/a.bin") == 100
    with pytest.raises(ValueError, match=r"a\.bin: not readable in 6 tries"):
        read_range("memory://flaky/a.bin", 90, 120)
    monkeypatch.setattr(type(memory), "cat_file", lambda self, path, **options: bytes(100))
    with pytest.raises(ValueError, match=r"a\.bin: the server ignores ranges"):
        read_range("memory://flaky/a.bin", 10, 20)


def test_a_missing_small_file_is_none_where_it_may_be(server):
    assert read_whole(f"{server.url}/nothing.json", missing_ok=True) is None
    with pytest.raises(ValueError, match="not found"):
        read_whole(f"{server.url}/nothing.json")


@pytest.mark.slow
def test_loader_processes_read_a_server_too(packed, server):
    """Connections and threads of the process that made the source do not survive the fork."""
    source = IndexedShardSource(server.url)
    here = values(source)

    class Values(torch.utils.data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return repr(values(source))

    loader = torch.utils.data.DataLoader(Values(), batch_size=None, num_workers=2, multiprocessing_context="fork")
    assert list(loader) == [repr(here)] * 4


def test_signatures_and_passwords_stay_out_of_messages(server):
    url = f"{server.url.replace('://', '://me:secret@')}/nothing.tar?signature=abc"
    with pytest.raises(ValueError, match=r"http://127\S+/nothing\.tar: not found") as raised:
        IndexedShardSource(url)
    assert not {"secret", "abc"} & set(re.findall(r"\w+", str(raised.value)))


def test_a_signed_url_serves(packed, server):
    assert (
        values(IndexedShardSource(f"{server.url}/val-000000.tar?signature=abc"))[0]
        == values(IndexedShardSource(str(packed)))[0]
    )


def test_an_unknown_protocol_is_told():
    with pytest.raises(ValueError, match="nosuch"):
        IndexedShardSource("nosuch://bucket/a.tar")
