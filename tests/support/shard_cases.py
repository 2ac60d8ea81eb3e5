"""Data to pack, and a web server that serves ranges as servers do: well, late, in parts, or not at all."""

import contextlib
import http.server
import io
import json
import re
import socket
import ssl
import tarfile
import threading
import time
import urllib.parse
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from bind.data.sources.manifest import ManifestSource
from bind.data.sources.shards.writer import plan_shards, write_listing, write_shard
from support.runs import write_manifest

RATE_HZ = 8000


def write_world(folder):
    """A manifest of sounds in four formats, motion as CSV and `.npy`, some of them spans; depth, pictures, texts."""
    rng = np.random.default_rng(0)
    long = 0.1 * rng.standard_normal((4 * RATE_HZ, 2))
    for name, subtype in {"a.wav": "PCM_16", "b.flac": "PCM_24", "c.wav": "FLOAT", "d.ogg": "VORBIS"}.items():
        soundfile.write(folder / name, long, RATE_HZ, subtype)
    time_s = np.arange(400) / 100 + np.linspace(0, 1e-3, 400)  # a clock that is not quite right
    motion = rng.standard_normal((400, 6)).astype(np.float32)
    channels = [f"{sensor}_{axis}" for sensor in ("acc", "gyro") for axis in "xyz"]
    units = ["g"] * 3 + ["rad/s"] * 3
    header = ",".join(["time_seconds", *(f"{c} [{u}]" for c, u in zip(channels, units, strict=True))])
    np.savetxt(folder / "m.csv", np.column_stack([time_s, motion]), delimiter=",", header=header, comments="")
    np.save(folder / "m.npy", motion)
    about = {"channels": channels, "units": units, "sample_rate_hz": 100.0}
    (folder / "m.json").write_text(json.dumps(about))
    rows = []
    for index in range(24):
        key = f"toy/{index:02d}.é" if index % 2 else f"k{index:02d}"
        row = {"key": key, "split": "train" if index < 16 else "val", "owner": [f"p{index}", f"q{index}"]}
        row |= {"group": f"group {index % 5}", "label": "even"} if index % 2 == 0 else {}
        row["text"] = [f"caption {n} of {key}, ümlaut" for n in range(1 + index % 3)]
        if index % 4 != 3:
            row["audio"] = ("a.wav", "b.flac", "c.wav", "d.ogg")[index % 4 if index < 16 else 0]
            start = (index % 16) * 0.1 + (2.0 if index >= 16 else 0.0)
            row |= {"audio_start_seconds": start, "audio_end_seconds": start + 0.0999}
        if index % 5:
            row["imu"] = "m.csv" if index % 2 else "m.npy"
            start = (index % 16) * 0.1 + (2.0 if index >= 16 else 0.0)
            row |= {"imu_start_seconds": start, "imu_end_seconds": start + 0.1}
        if index % 3:
            Image.fromarray(rng.integers(0, 255, (20, 16, 3), dtype=np.uint8)).save(folder / f"{index}.png")
            row["image"] = f"{index}.png"
        if index % 6 == 0:
            depth = rng.integers(500, 4000, (16, 16)).astype(np.uint16)
            Image.fromarray(depth).save(folder / f"d{index}.png")
            row["depth"] = f"d{index}.png"
        if index in (2, 18):  # a recording that is packed whole
            soundfile.write(folder / f"whole{index}.flac", long[:800], RATE_HZ)
            row["audio"] = f"whole{index}.flac"
            del row["audio_start_seconds"], row["audio_end_seconds"]
        rows.append(row)
    return write_manifest(folder / "manifest.jsonl", rows)


def pack(manifest, folder, max_bytes=40_000, **options):
    """Pack every split of a manifest; the plans."""
    source = ManifestSource(manifest)
    folder.mkdir(exist_ok=True)
    plans = [p for s in source.splits for p in plan_shards(source.samples(s), s, max_bytes, **options)]
    for plan in plans:
        write_shard(plan, folder)
    write_listing(plans, folder)
    return plans


def write_tar(path, members):
    """A tar of (name, content) or (TarInfo, content)."""
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            if not isinstance(name, tarfile.TarInfo):
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if content else None)
    return path


def foreign_tar(path, first=0, num=4, extra=()):
    members = []
    for index in range(first, first + num):
        wav = io.BytesIO()
        soundfile.write(wav, np.full(80, index / 100), RATE_HZ, format="WAV")
        members += [
            (f"{index:06d}.jpg", f"picture {index}".encode()),
            (f"{index:06d}.txt", f"caption {index}\n".encode()),
            (f"{index:06d}.wav", wav.getvalue()),
            (f"{index:06d}.cls", b"3"),
        ]
    return write_tar(path, [*members, *extra])


def store_options(url: str) -> dict[str, str]:
    """The environment in which s3://, az:// and gs:// are subfolders of what the server at `url` serves."""
    return {
        "AWS_ENDPOINT": url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "hidden",
        "AZURE_STORAGE_ENDPOINT": url,
        "AZURE_ALLOW_HTTP": "true",
        "AZURE_STORAGE_ACCOUNT_NAME": "someone",
        "AZURE_STORAGE_ACCOUNT_KEY": "aGlkZGVu",
        "GOOGLE_BASE_URL": url,
        "GOOGLE_ALLOW_HTTP": "true",
        "GOOGLE_SKIP_SIGNATURE": "true",
    }


class Server:
    """Serves a folder as web servers do, and its subfolders as buckets of S3, Azure or Google; over https, with a
    certificate and its key in one file.

    `mishaps` are taken one per request: a status, a status with headers, headers in place of the usual ones, "drop" in
    mid-body, or None.
    """

    def __init__(
        self, folder: Path, *, ranges: bool = True, latency_seconds: float = 0.0, certificate: Path | None = None
    ) -> None:
        self.requests: list[tuple[str, str | None]] = []
        self.headers: list[dict[str, str]] = []
        self.mishaps: list[int | tuple[int, dict[str, str]] | dict[str, str] | str | None] = []
        self.sent_bytes = 0
        self.latency_seconds = latency_seconds
        self.connections: list[socket.socket] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self):
                super().setup()
                server.connections.append(self.connection)

            def log_message(self, *args):
                pass

            def answer(self, status, headers, content=b""):
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(content))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()

            def do_HEAD(self):
                self.do_GET()

            def do_GET(self):
                server.requests.append((self.path, self.headers.get("Range")))
                server.headers.append(dict(self.headers))
                time.sleep(server.latency_seconds)
                address = urllib.parse.urlsplit(self.path)  # a proxy is sent the whole one
                path = folder / urllib.parse.unquote(address.path).lstrip("/")
                mishap = server.mishaps.pop(0) if server.mishaps else None
                if isinstance(mishap, int | tuple) or not path.is_file():
                    status, headers = mishap if isinstance(mishap, tuple) else (mishap or 404, {})
                    self.answer(status, headers)
                    return
                content = path.read_bytes()
                headers = {"ETag": f'"{path.stat().st_mtime_ns}"', "Last-Modified": "Mon, 01 Jun 2026 10:00:00 GMT"}
                status = 200
                requested = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
                if requested and ranges:
                    first, last = int(requested[1]), min(int(requested[2]), len(content) - 1)
                    if first >= len(content):
                        self.answer(416, {"Content-Range": f"bytes */{len(content)}"})
                        return
                    status, headers["Content-Range"] = 206, f"bytes {first}-{last}/{len(content)}"
                    content = content[first : last + 1]
                self.answer(status, headers | (mishap if isinstance(mishap, dict) else {}), content)
                with contextlib.suppress(OSError):
                    if mishap == "drop":
                        self.wfile.write(content[: len(content) // 2])
                        self.wfile.flush()
                        self.connection.close()
                        self.close_connection = True
                    elif self.command == "GET":
                        self.wfile.write(content)
                        server.sent_bytes += len(content)

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.scheme = "http" if certificate is None else "https"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def close_connections(self) -> None:
        """Close those that wait for another request, as servers do after a while."""
        for connection in self.connections:
            with contextlib.suppress(OSError):  # some are closed
                connection.shutdown(socket.SHUT_RDWR)
        self.connections.clear()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.http.server_port}"

    @property
    def store_options(self) -> dict[str, str]:
        return store_options(self.url)

    def __enter__(self) -> "Server":
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close_connections()
        self.http.shutdown()
        self.http.server_close()
