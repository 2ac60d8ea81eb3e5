"""Web servers: what they may answer, and whom we ask."""

import base64
import http.client
import shutil
import subprocess

import obstore
import pytest
from support import shard_cases

from bind.data.sources.shards import web
from bind.data.sources.shards.answers import TryAgainError
from bind.data.sources.shards.remote import file_size, read_range, read_whole
from bind.data.sources.shards.source import IndexedShardSource

CONTENT = bytes(range(100))


@pytest.fixture
def url(server, bucket):
    (bucket / "a.bin").write_bytes(CONTENT)
    return f"{server.url}/bucket/a.bin"


class TestRedirects:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    @pytest.mark.parametrize("location", ["/bucket/a.bin", "a.bin", "{url}/bucket/a.bin"])
    def test_on_the_same_server_are_followed(self, server, bucket, url, status, location):
        server.mishaps = [(status, {"Location": location.format(url=server.url)})]
        assert read_range(f"{server.url}/bucket/old.bin", 10, 20, 100) == CONTENT[10:20]

    @pytest.mark.parametrize("location", ["http://{host}:{other}/a.bin", "//{host}:{other}/a.bin"])
    def test_to_another_port_are_not(self, server, bucket, url, location, short_pauses):
        with shard_cases.Server(bucket) as other:
            places = {"host": "127.0.0.1", "other": other.http.server_port}
            server.mishaps = [(302, {"Location": location.format(**places) + "?token=abc"})]
            with pytest.raises(
                ValueError, match=r"/a\.bin: redirects to another server, http://127\S+, .*Name the URL"
            ) as e:
                read_range(url, 10, 20)
        assert other.requests == []
        assert short_pauses == []
        assert "abc" not in str(e.value)

    @pytest.mark.parametrize(
        "location", ["http://localhost:{port}/bucket/a.bin", "https://127.0.0.1:{port}/bucket/a.bin"]
    )
    def test_to_another_host_or_scheme_are_not(self, server, url, location):
        server.mishaps = [(302, {"Location": location.format(port=server.http.server_port)})]
        with pytest.raises(ValueError, match="redirects to another server"):
            read_whole(url, missing_ok=True)
        assert len(server.requests) == 1

    @pytest.mark.parametrize(
        ("location", "is_followed"),
        [
            ("b.tar?x=1", True),
            ("https://HOST/b.tar", True),
            ("https://host:443/b.tar", True),
            ("http://host/b.tar", False),
            ("http://host:443/b.tar", False),
            ("https://host:444/b.tar", False),
            ("https://host.evil/b.tar", False),
            ("https://host@evil/b.tar", False),
            ("https://evil\\@host/b.tar", True),
            ("//evil/b.tar", False),
            ("ftp://host/b.tar", False),
            ("file:///etc/passwd", False),
            ("https://host:x/b.tar", False),
        ],
    )
    def test_of_https_stay_there(self, location, is_followed):
        if is_followed:
            assert web._server(web._redirected("https://host/a.tar", location)) == ("https", "host", 443)
        else:
            with pytest.raises(ValueError, match=r"redirects to another server|not a usable URL"):
                web._redirected("https://host/a.tar", location)

    def test_without_end_are_given_up(self, server, url):
        server.mishaps = [(302, {"Location": "/bucket/a.bin"})] * 20
        with pytest.raises(ValueError, match="more than 5 redirects"):
            read_range(url, 0, 1)

    def test_of_obstore_go_anywhere(self, server, bucket):
        """Why web servers are not read by obstore: should this fail, it may have learned to stay where it is sent."""
        (bucket / "a.bin").write_bytes(CONTENT)
        with shard_cases.Server(bucket.parent) as other:
            server.mishaps = [(302, {"Location": f"{other.url}/bucket/a.bin"})]
            signed = f"{server.url}?signature=abc"
            store = obstore.store.HTTPStore(
                signed, client_options={"allow_http": True}, retry_config={"max_retries": 0}
            )
            assert bytes(obstore.get_range(store, "bucket/a.bin", start=10, end=20)) == CONTENT[10:20]
        assert len(other.requests) == 1
        assert "abc" in other.headers[0]["referer"]  # and the signature came along


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of 127.0.0.1 that nobody has signed, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    path = tmp_path_factory.mktemp("certificate") / "both.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=shards -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*make.split(), "-keyout", path, "-out", path], check=True, capture_output=True)
    return path


class TestHttps:
    @pytest.fixture
    def secure(self, certificate, bucket, monkeypatch):
        (bucket / "a.bin").write_bytes(CONTENT)
        with shard_cases.Server(bucket, certificate=certificate) as serving:
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
            web._certificates.cache_clear()
            yield serving
        web._certificates.cache_clear()

    @pytest.mark.slow
    def test_a_server_that_is_trusted_serves(self, secure):
        assert read_range(f"{secure.url}/a.bin", 10, 20, 100) == CONTENT[10:20]

    @pytest.mark.slow
    def test_another_is_refused_at_once(self, secure, monkeypatch, short_pauses):
        monkeypatch.delenv("SSL_CERT_FILE")
        web._certificates.cache_clear()
        with pytest.raises(ValueError, match=r"https://\S+/a\.bin: its certificate can't be verified \(self.signed"):
            read_range(f"{secure.url}/a.bin", 10, 20)
        assert secure.requests == []
        assert short_pauses == []

    @pytest.mark.slow
    def test_a_redirect_to_http_is_not_followed(self, secure, server):
        secure.mishaps = [(302, {"Location": f"{server.url}/bucket/a.bin"})]
        with pytest.raises(ValueError, match="redirects to another server, http://"):
            read_range(f"{secure.url}/a.bin", 10, 20)
        assert server.requests == []


class TestAnswers:
    def test_a_whole_file_in_place_of_a_range_is_refused_before_it_comes(self, packed, short_pauses):
        with shard_cases.Server(packed, ranges=False) as server:
            source = IndexedShardSource(f"{server.url}/val-000000.tar")
            with pytest.raises(ValueError, match=r"/val-000000\.tar: the server ignores ranges"):
                source.fetch("val", [0], ["text"], None)
            assert len([1 for path, _ in server.requests if path.endswith(".tar")]) == 1
        assert short_pauses == []

    @pytest.mark.parametrize(
        ("headers", "message"),
        [
            ({"Content-Encoding": "gzip"}, r"compressed \(gzip\)"),
            ({"Content-Range": "bytes 11-20/100"}, "sends bytes from 11 on, not from 10"),
            ({"Content-Range": "bytes 10-19/*"}, "does not say how large the file is"),
            ({"Content-Range": ""}, "does not say how large the file is"),
        ],
    )
    def test_other_bytes_than_requested_are_refused(self, server, url, headers, message, short_pauses):
        server.mishaps = [headers]
        with pytest.raises(ValueError, match=rf"/a\.bin: .*{message}"):
            read_range(url, 10, 20)
        assert short_pauses == []

    def test_a_body_without_its_length_that_is_cut_off_is_tried_again(self, server, url, short_pauses):
        server.mishaps = [{"Content-Range": "bytes 10-29/100"}]  # and ten bytes
        assert read_range(url, 10, 20) == CONTENT[10:20]
        assert short_pauses == [0.5]

    @pytest.mark.parametrize(
        ("retry_after", "pause"),
        [("7", 7.0), ("0", 0.5), ("9999", 30.0), ("Mon, 01 Jun 2026 10:00:00 GMT", 0.5), ("²", 0.5)],
    )
    @pytest.mark.parametrize("status", [429, 503])
    def test_a_server_says_when_to_come_back(self, server, url, status, retry_after, pause, short_pauses):
        server.mishaps = [(status, {"Retry-After": retry_after})]
        assert read_range(url, 10, 20) == CONTENT[10:20]
        assert short_pauses == [pause]

    def test_a_server_that_says_nothing_is_given_up(self, server, url, monkeypatch):
        monkeypatch.setattr(web, "TIMEOUT_SECONDS", 0.05)
        web._connection.cache_clear()
        server.latency_seconds = 0.5
        with pytest.raises(TryAgainError, match="timed out"):
            web.get(url, 0, 1, 60.0)
        web._connection.cache_clear()


class TestRequests:
    def test_a_login_in_the_url_is_sent(self, server, url):
        assert file_size(url.replace("://", "://m%40e:p%2Fw@")) == 100
        assert server.headers[-1]["Authorization"] == "Basic " + base64.b64encode(b"m@e:p/w").decode()

    def test_no_compression_is_requested(self, server, url):
        read_range(url, 0, 1)
        assert server.headers[-1]["Accept-Encoding"] == "identity"

    @pytest.mark.parametrize(
        "url", ["http://me:sec/ret@host/a.tar", "http:///a.tar", "http://[::1/a.tar", "https://h:99999/a"]
    )
    def test_a_url_that_is_none_is_refused_without_its_password(self, url):
        with pytest.raises(ValueError, match="not a usable URL") as e:
            web.get(url, 0, 1, 60.0)
        assert "sec" not in str(e.value)

    def test_connections_are_kept_and_renewed(self, server, url, monkeypatch, short_pauses):
        connects = []
        connect = http.client.HTTPConnection.connect
        monkeypatch.setattr(http.client.HTTPConnection, "connect", lambda self: (connects.append(self), connect(self)))
        web._connection.cache_clear()
        for _ in range(3):
            read_range(url, 0, 1)
        assert len(connects) == 1
        server.close_connections()
        read_range(url, 0, 1)
        assert len(connects) == 2
        assert short_pauses == []  # that it was closed is no failure

    @pytest.mark.slow
    def test_a_proxy_of_the_environment_is_used(self, server, url, monkeypatch):
        monkeypatch.setenv("http_proxy", server.url.replace("://", "://us:er@"))
        monkeypatch.setenv("https_proxy", server.url)
        monkeypatch.delenv("no_proxy", raising=False)
        web._connection.cache_clear()
        assert read_range("http://far.invalid:81/bucket/a.bin?x=1", 10, 20) == CONTENT[10:20]
        assert server.requests[-1][0] == "http://far.invalid:81/bucket/a.bin?x=1"
        assert server.headers[-1]["Host"] == "far.invalid:81"
        assert server.headers[-1]["Proxy-Authorization"] == "Basic " + base64.b64encode(b"us:er").decode()
        with pytest.raises(TryAgainError, match="Tunnel connection failed: 501"):  # the server knows no CONNECT
            web.get("https://far.invalid/bucket/a.bin", 10, 20, 60.0)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        web._connection.cache_clear()
        assert read_range(url, 10, 20) == CONTENT[10:20]
        assert server.requests[-1][0] == "/bucket/a.bin"
        web._connection.cache_clear()
