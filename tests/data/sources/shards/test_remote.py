"""Bytes by every way to a file: ranges, retries, and what is said where they can't be had."""

import random
import re

import obstore
import pytest
from torch.utils.data import DataLoader, Dataset

from bind.data.sources.shards import objects, web
from bind.data.sources.shards.objects import open_store
from bind.data.sources.shards.patterns import find_shards
from bind.data.sources.shards.remote import UnavailableError, file_size, read_range, read_whole, shown
from bind.data.sources.shards.source import IndexedShardSource
from bind.distributed import loader_start_method

MODALITIES = ("text", "audio", "imu", "image", "depth")
CONTENT = random.Random(0).randbytes(1000)


@pytest.fixture
def packed_server(packed, server, bucket):
    """A server with the packed world in its bucket."""
    for path in packed.iterdir():
        (bucket / path.name).write_bytes(path.read_bytes())
    return server


def values(source, split="val"):
    fetched = source.fetch(split, range(len(source.samples(split))), MODALITIES, None)
    return [
        {m: [v if isinstance(v, str) else (v.path.content, v.path.sidecar) for v in vs] for m, vs in row.items()}
        for row in fetched
    ]


class TestRanges:
    @pytest.fixture(
        params=["local", "memory", *(pytest.param(p, marks=pytest.mark.slow) for p in ("http", "s3", "az", "gs"))]
    )
    def path(self, request, bucket, server):
        """A file of 1000 bytes, by each way to it."""
        name = "some folder/ümlaut+%41 [1].bin"
        (bucket / "some folder").mkdir()
        (bucket / name).write_bytes(CONTENT)
        if request.param == "memory":
            obstore.put(open_store("memory://bucket"), name, CONTENT)
        roots = {"local": str(bucket), "http": f"{server.url}/bucket"}
        escaped = name.replace("%", "%25") if request.param == "http" else name
        return f"{roots.get(request.param, request.param + '://bucket')}/{escaped}"

    def test_every_range_inside_is_that_of_the_file(self, path):
        rng = random.Random(1)
        some = [sorted(rng.choices(range(1001), k=2)) for _ in range(20)]
        for start, stop in [(0, 1000), (0, 1), (999, 1000), (500, 501), (0, 0), (7, 7), *some]:
            assert read_range(path, start, stop, 1000) == CONTENT[start:stop]
            assert read_range(path, start, stop) == CONTENT[start:stop]
        assert file_size(path) == 1000
        assert read_whole(path) == CONTENT

    @pytest.mark.parametrize(("start", "stop"), [(0, 1001), (999, 1001), (1000, 1001), (1000, 1500), (2000, 2001)])
    def test_a_range_past_the_end_is_refused_at_once(self, path, start, stop, short_pauses):
        with pytest.raises(ValueError, match=rf"\.bin: bytes {start} to {stop} can't be read, it ends at 1000"):
            read_range(path, start, stop)
        assert short_pauses == []

    @pytest.mark.parametrize("num_bytes", [0, 1, 999, 1001])
    @pytest.mark.parametrize("start", [0, 999, 1200])
    def test_another_size_than_the_index_says_is_refused(self, path, num_bytes, start):
        with pytest.raises(
            ValueError, match=rf"\.bin: has 1000 bytes where its index says {num_bytes}: .*Pack it again"
        ):
            read_range(path, start, start + 1, num_bytes)


def test_an_empty_file_has_no_bytes(root, bucket):
    (bucket / "empty.bin").touch()
    assert file_size(f"{root}/empty.bin") == 0
    assert read_whole(f"{root}/empty.bin") == b""


@pytest.mark.slow
@pytest.mark.parametrize("mishaps", [["drop"], [503, 503], [429, "drop", 500, 502, 504], [408, 425]])
def test_it_is_tried_again(root, server, bucket, mishaps, short_pauses, caplog):
    (bucket / "a.bin").write_bytes(CONTENT)
    for read in (lambda: read_range(f"{root}/a.bin", 10, 900, 1000), lambda: read_whole(f"{root}/a.bin")[10:900]):
        server.mishaps = list(mishaps)
        short_pauses.clear()
        assert read() == CONTENT[10:900]
        assert short_pauses == [0.5 * 2**n for n in range(len(mishaps))]
    if "drop" not in mishaps:
        assert f"/a.bin: HTTP {mishaps[0]}; try 2 of 6 in 0.5 s" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("mishap", ["drop", 503])
def test_what_never_goes_well_is_named(root, server, bucket, mishap, short_pauses):
    (bucket / "a.bin").write_bytes(CONTENT)
    server.mishaps = [mishap] * 20
    with pytest.raises(
        ValueError, match=r"://\S+/a\.bin: not readable in 6 tries, the last time because of: .*ckpt=last"
    ):
        read_range(f"{root}/a.bin", 0, 100)
    assert short_pauses == [0.5, 1.0, 2.0, 4.0, 8.0]


def test_a_server_that_is_gone_is_named(root, server, short_pauses):
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(ValueError, match=r"/a\.bin: not readable in 6 tries.*Connect"):
        read_range(f"{root}/a.bin", 0, 100)


def test_what_can_not_succeed_is_refused_at_once(root, server, bucket, short_pauses):
    with pytest.raises(UnavailableError, match=r"/nothing\.bin: not found. Check the URL"):
        read_range(f"{root}/nothing.bin", 0, 1)
    (bucket / "a.bin").write_bytes(CONTENT)
    server.mishaps = [403]
    with pytest.raises(UnavailableError, match=r"/a\.bin: may not be read \(HTTP 403\).*credentials"):
        read_range(f"{root}/a.bin", 0, 1)
    server.mishaps = [400]
    with pytest.raises(ValueError, match=r"/a\.bin: HTTP 400\. Check the URL"):
        read_range(f"{root}/a.bin", 0, 1)
    assert short_pauses == []


def test_a_missing_small_file_is_none_where_it_may_be(root, server):
    assert read_whole(f"{root}/nothing.json", missing_ok=True) is None
    server.mishaps = [403]
    assert read_whole(f"{root}/nothing.json", missing_ok=True) is None
    with pytest.raises(ValueError, match="not found"):
        read_whole(f"{root}/nothing.json")


@pytest.mark.parametrize(
    ("url", "without_secrets"),
    [
        ("https://me:secret@host/a.tar?signature=abc", "https://host/a.tar"),
        ("https://me:s@cret@host/a@b.tar", "https://host/a@b.tar"),
        ("s3://bucket/a.tar", "s3://bucket/a.tar"),
        ("/a/me@home/b?.tar", "/a/me@home/b?.tar"),
    ],
)
def test_signatures_and_passwords_stay_out_of_messages(url, without_secrets):
    assert shown(url) == without_secrets


def test_an_unknown_kind_of_address_is_named():
    with pytest.raises(ValueError, match=r"nosuch://bucket/a\.tar: not an address that can be read\. Known are s3://"):
        read_range("nosuch://bucket/a.tar", 0, 1)


class TestShards:
    @pytest.mark.slow
    @pytest.mark.parametrize("where", ["", "/", "/{train,val}-{000000..000000}.tar"])
    def test_those_on_a_server_are_those_on_disk(self, packed, packed_server, root, where):
        local = IndexedShardSource(str(packed) if "{" not in where else str(packed) + where)
        far = IndexedShardSource(root + where)
        assert [s.key for s in far.samples("train")] == [s.key for s in local.samples("train")]
        assert values(far) == values(local)
        assert far.content_hash("val", "audio") == local.content_hash("val", "audio")

    @pytest.mark.slow
    def test_a_batch_takes_few_requests_and_few_bytes(self, packed_server, root):
        source = IndexedShardSource(root)
        packed_server.requests.clear()
        source.fetch("train", range(8), MODALITIES, None)
        shards = {source._members.shard_of(int(row)) for row in source.samples("train").rows[:8]}
        assert len(packed_server.requests) == len(shards)
        assert all(asked is not None for _, asked in packed_server.requests)

    @pytest.mark.slow
    def test_one_of_another_size_is_named(self, packed_server, bucket, root):
        with (bucket / "val-000000.tar").open("ab") as file:
            file.write(bytes(512))
        source = IndexedShardSource(f"{root}/val-000000.tar")
        with pytest.raises(ValueError, match=r"val-000000\.tar: has \d+ bytes where its index says \d+"):
            values(source)

    @pytest.mark.slow
    def test_one_with_other_bytes_is_named(self, packed_server, bucket, root):
        source = IndexedShardSource(f"{root}/val-000000.tar")
        content = (bucket / "val-000000.tar").read_bytes()
        (bucket / "val-000000.tar").write_bytes(content[:512] + bytes(b ^ 1 for b in content[512:]))
        with pytest.raises(ValueError, match=r"val-000000\.tar: \S+ is not what the index says"):
            values(source)

    def test_secrets_stay_out_of_messages(self, packed_server):
        url = f"{packed_server.url.replace('://', '://me:secret@')}/bucket/nothing.tar?signature=abc"
        with pytest.raises(ValueError, match=r"http://127\S+/nothing\.tar: not found") as raised:
            IndexedShardSource(url)
        assert not {"secret", "abc"} & set(re.findall(r"\w+", str(raised.value)))

    @pytest.mark.slow
    def test_a_signed_url_serves(self, packed, packed_server):
        signed = f"{packed_server.url}/bucket/val-000000.tar?signature=a/b%2Fc+d"
        assert values(IndexedShardSource(signed))[0] == values(IndexedShardSource(str(packed)))[0]
        assert {path.partition("?")[2] for path, _ in packed_server.requests} == {"signature=a/b%2Fc+d"}

    @pytest.mark.slow
    @pytest.mark.parametrize("scheme", ["http", "s3"])
    def test_loader_processes_read_them_too(self, packed_server, scheme):
        """Connections and threads of the process that made the source are not those of its loaders."""
        source = IndexedShardSource(f"{packed_server.url}/bucket" if scheme == "http" else "s3://bucket")
        here = values(source)
        context = loader_start_method([source], num_workers=1)
        assert context == (None if scheme == "http" else "spawn")
        assert loader_start_method([source], num_workers=0) is None
        loader = DataLoader(Values(source), batch_size=None, num_workers=1, multiprocessing_context=context)
        assert list(loader) == [repr(here)] * 2


class Values(Dataset):
    def __init__(self, source):
        self.source = source

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return repr(values(self.source))


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://host/a.tar",
        "reference://a.tar::file:///etc/refs.tar",
        "simplecache::http://host/a.tar",
        "https://host/a::b://c.tar",
        "s3://bucket/http://host/a.tar",
        "zip://a.tar",
        "://a.tar",
        "HTTP2://host/a.tar",
    ],
)
def test_other_schemes_and_urls_within_urls_are_not_opened(url, monkeypatch):
    for module in (web, objects):
        monkeypatch.setattr(module, "get", lambda *_: pytest.fail("was opened"))
    for read in (read_whole, file_size, lambda path: read_range(path, 0, 1), find_shards):
        with pytest.raises(ValueError, match=r"not an address that can be read\. Known are s3://"):
            read(url)
