"""Object stores: options of the environment, errors, patterns, and processes that were forked."""

import multiprocessing

import obstore
import pytest
from support import shard_cases

from bind.data.sources.shards.objects import open_store
from bind.data.sources.shards.patterns import find_shards
from bind.data.sources.shards.remote import read_range, read_whole

CONTENT = bytes(range(100))


@pytest.fixture
def url(server, bucket):
    (bucket / "a.bin").write_bytes(CONTENT)
    return "s3://bucket/a.bin"


class TestOptions:
    def test_credentials_of_the_environment_sign(self, server, url):
        read_range(url, 10, 20)
        assert server.headers[-1]["authorization"].startswith("AWS4-HMAC-SHA256 Credential=someone/")

    @pytest.mark.slow
    def test_what_is_public_needs_none(self, server, url, monkeypatch):
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
        assert read_range(url, 10, 20) == CONTENT[10:20]
        assert "authorization" not in server.headers[-1]

    def test_plain_http_has_to_be_allowed(self, server, url, monkeypatch, short_pauses):
        monkeypatch.delenv("AWS_ALLOW_HTTP")
        with pytest.raises(ValueError, match=r"s3://bucket/a\.bin: .*builder error.*options in the environment"):
            read_range(url, 10, 20)
        assert server.requests == []
        assert short_pauses == []

    @pytest.mark.slow
    def test_where_none_are_set_the_message_says_so(self, server, url, monkeypatch):
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", server.url)
        with pytest.raises(ValueError, match=r"a\.bin: not readable.*no credentials in the environment"):
            read_range(url, 10, 20)

    def test_what_misses_is_named(self, server, monkeypatch):
        monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME")
        with pytest.raises(
            ValueError, match=r"az://box/a\.bin: .*Account must be specified.*options in the environment"
        ):
            read_range("az://box/a.bin", 0, 1)


def test_the_endpoint_may_redirect(server, url, bucket):
    """What obstore does, as `objects` says; it has no option against it."""
    with shard_cases.Server(bucket.parent) as other:
        server.mishaps = [(307, {"Location": f"{other.url}/bucket/a.bin"})]
        assert read_range(url, 10, 20) == CONTENT[10:20]
    assert "authorization" in server.headers[-1]
    assert "authorization" not in other.headers[-1]


class TestErrors:
    def test_a_reason_holds_no_address(self, server, url, caplog):
        server.mishaps = [503, "drop"]
        assert read_range(url, 10, 20) == CONTENT[10:20]
        assert "s3://bucket/a.bin: HTTP 503; try 2 of 6" in caplog.text
        assert (
            "s3://bucket/a.bin: Generic S3 error: HTTP error: request or response body error (Interrupted); try 3"
            in (caplog.text)
        )
        assert "127.0.0.1" not in caplog.text

    @pytest.mark.slow
    def test_a_slow_store_is_tried_again(self, server, url, monkeypatch, caplog):
        monkeypatch.setenv("AWS_TIMEOUT", "50ms")
        open_store.cache_clear()
        server.latency_seconds = 0.5
        with pytest.raises(ValueError, match=r"not readable in 6 tries.*\(Timeout\)"):
            read_range(url, 10, 20)

    def test_other_bytes_than_requested_are_refused(self, server, url, short_pauses):
        server.mishaps = [{"Content-Range": "bytes 11-20/100"}]
        with pytest.raises(ValueError, match=r"a\.bin: .*Requested 10\.\.20, got 11\.\.21"):
            read_range(url, 10, 20)
        assert short_pauses == []

    @pytest.mark.parametrize("key", ["a//b.bin", "../b.bin", "a/./b.bin"])
    def test_a_name_that_is_none_is_refused(self, server, key):
        with pytest.raises(ValueError, match=r"s3://bucket/\S+: Could not parse path"):
            read_range(f"s3://bucket/{key}", 0, 1)
        assert server.requests == []


def test_a_pattern_finds_what_matches():
    names = ["a-0.tar", "a-1.tar", "a-1.index.parquet", "b.tar", "x/a-2.tar", "x1/a.tar", "x1/y/a.tar", "x(1)/a.tar"]
    store = open_store("memory://patterns")
    for name in names:
        obstore.put(store, name, b"")
    for pattern, expected in {
        "*.tar": ["a-0.tar", "a-1.tar", "b.tar"],
        "a-*.tar": ["a-0.tar", "a-1.tar"],
        "x/*.tar": ["x/a-2.tar"],
        "x*/a*.tar": ["x(1)/a.tar", "x/a-2.tar", "x1/a.tar"],
        "x1/*/*.tar": ["x1/y/a.tar"],
        "x(1)/*.tar": ["x(1)/a.tar"],
    }.items():
        assert find_shards(f"memory://patterns/{pattern}") == [f"memory://patterns/{name}" for name in expected]
    with pytest.raises(ValueError, match="no shards there"):
        find_shards("memory://patterns/nothing/*.tar")


def test_a_listing_is_tried_again(server, short_pauses):
    server.mishaps = [503, 503, 403]
    with pytest.raises(ValueError, match=r"s3://bucket/\*\.tar: may not be read \(HTTP 403\)"):
        find_shards("s3://bucket/*.tar")
    assert short_pauses == [0.5, 1.0]


def read_here(url, answers):
    try:
        answers.put(read_whole(url))
    except ValueError as error:
        answers.put(str(error))


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_a_forked_process_says_that_it_can_not_read(url, method):
    assert read_whole(url) == CONTENT
    context = multiprocessing.get_context(method)
    answers = context.Queue()
    process = context.Process(target=read_here, args=(url, answers))
    process.start()
    answer = answers.get(timeout=60)
    process.join(timeout=60)
    assert process.exitcode == 0
    if method == "spawn":
        assert answer == CONTENT
    else:
        assert answer.startswith("s3://bucket/a.bin: this process was forked from one that reads object stores too")
