"""The gate of a service: who may pass, how much of a request is read, how long it takes, and errors as JSON."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from bind.serve.limits import Limits, RefusedError
from bind.serve.metrics import Metrics

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

OPEN_PATHS = frozenset({"/healthz", "/.well-known/live", "/.well-known/ready"})
"""Without a token: whether the service is there."""
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]", "::1")

log = logging.getLogger("bind")


class Gate:
    """An ASGI application in front of another one.

    Args:
        app: gets requests whose bodies are there in full, and WebSockets.
        token: that clients have to send as `Authorization: Bearer TOKEN`; None: anybody may ask. A WebSocket's route
            asks for it itself: browsers send no such header with one.
        open_paths: that need no token, such as those of pages, which ask for it themselves.
        only_local: refuse requests whose Host is another name of this machine: a web page elsewhere may have its own
            name lead here.
    """

    def __init__(
        self,
        app: App,
        limits: Limits,
        metrics: Metrics,
        *,
        token: str | None = None,
        only_local: bool = True,
        open_paths: Iterable[str] = (),
    ) -> None:
        self.app, self.limits, self.metrics = app, limits, metrics
        self.token, self.only_local = token, only_local
        self.open_paths = OPEN_PATHS.union(open_paths)
        self.num_requests = self.num_bytes = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one connection, as ASGI has it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            await self._serve_socket(scope, receive, send)

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        began, sent = time.monotonic(), _Sent(send)
        held = _Held(self)
        self.num_requests += 1
        try:
            self._admit(scope)
            async with asyncio.timeout(self.limits.body_seconds):
                body = await self._read_body(scope, receive, held)
        except RefusedError as error:
            await sent.answer(error.status, error.message)
        except TimeoutError:
            await sent.answer(408, f"the body took longer than {self.limits.body_seconds:g} s to arrive")
        except ConnectionError:
            pass  # nobody is there to be answered
        else:
            await self._pass_on(scope, _replay(body, receive), sent)
        finally:
            held.release()
            self.num_requests -= 1
            if sent.status:
                path = getattr(scope.get("route"), "path", None) or "other"
                self.metrics.count_request(path, sent.status, time.monotonic() - began)

    async def _serve_socket(self, scope: Message, receive: Receive, send: Send) -> None:
        self.num_requests += 1
        try:
            self._admit(scope)
            _require_own_page(dict(scope["headers"]))
            await self.app(scope, receive, send)
        except RefusedError as error:
            log.info("a WebSocket is refused: %s", error.message)
            await send({"type": "websocket.close", "code": 1008})  # before it was accepted: the client sees a 403
        finally:
            self.num_requests -= 1

    def _admit(self, scope: Message) -> None:
        headers = dict(scope["headers"])
        if self.num_requests > self.limits.max_requests:
            raise RefusedError(429, "too many requests at a time; try again later")
        host = headers.get(b"host", b"").decode("latin-1")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if self.only_local and name not in LOCAL_HOSTS:
            raise RefusedError(
                400, f"Host {host[:100]!r} is none of this service; start it with host= to be reached so"
            )
        if self.token is not None and scope["type"] == "http" and scope["path"] not in self.open_paths:
            given = headers.get(b"authorization", b"")
            if not hmac.compare_digest(given, b"Bearer " + self.token.encode()):
                raise RefusedError(401, "send the service's token as the header Authorization: Bearer TOKEN")

    async def _read_body(self, scope: Message, receive: Receive, held: _Held) -> bytes:
        most = self.limits.max_bytes
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > most:
            raise RefusedError(413, f"the body has {int(length[:20])} bytes, up to {most} are taken")
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError
            chunk = message.get("body", b"")
            held.hold(len(chunk))
            body += chunk
            if len(body) > most:
                raise RefusedError(413, f"the body has more than the {most} bytes that are taken")
            if not message.get("more_body"):
                return bytes(body)

    async def _pass_on(self, scope: Message, receive: Receive, sent: _Sent) -> None:
        try:
            async with asyncio.timeout(self.limits.request_seconds):
                await self.app(scope, receive, sent)
        except RefusedError as error:
            await sent.answer(error.status, error.message)
        except TimeoutError:
            await sent.answer(504, f"the answer took longer than {self.limits.request_seconds:g} s")
        except Exception:
            log.exception("%s %s", scope["method"], scope["path"])
            await sent.answer(500, "this is an error of the service; its log says more")


def _require_own_page(headers: Mapping[bytes, bytes]) -> None:
    """Refuse a WebSocket of a web page elsewhere, which browsers open to any host; programs send no Origin."""
    origin = headers.get(b"origin")
    if origin is not None and origin.partition(b"://")[2] != headers.get(b"host"):
        raise RefusedError(403, f"{origin[:100]!r} is no page of this service")


class _Held:
    """Bytes of a request's body that are in memory, counted among those of all requests."""

    def __init__(self, gate: Gate) -> None:
        self.gate, self.num_bytes = gate, 0

    def hold(self, num_bytes: int) -> None:
        self.num_bytes += num_bytes
        self.gate.num_bytes += num_bytes
        if self.gate.num_bytes > self.gate.limits.max_bytes_at_a_time:
            raise RefusedError(429, "too many large requests at a time; try again later")

    def release(self) -> None:
        self.gate.num_bytes -= self.num_bytes
        self.num_bytes = 0


class _Sent:
    """The answer to a request, of which one is sent."""

    def __init__(self, send: Send) -> None:
        self.send, self.status = send, 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self.send(message)

    async def answer(self, status: int, error: str) -> None:
        """Answer with an error, unless an answer has begun: then the connection ends."""
        if self.status:
            raise ConnectionError(error)
        body = json.dumps({"error": error}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if status in (408, 413, 429):
            headers.append((b"connection", b"close"))  # what is left of the body is not read
        await self({"type": "http.response.start", "status": status, "headers": headers})
        await self({"type": "http.response.body", "body": body})


def _replay(body: bytes, receive: Receive) -> Receive:
    """A body that is there, and behind it whatever comes."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
