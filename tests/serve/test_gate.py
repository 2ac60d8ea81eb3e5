"""The gate: sizes, times, numbers, names and tokens; and batches that requests share."""

import asyncio
import json
import threading
import time

import pytest
import torch
from support import served

pytest.importorskip("fastapi")
from bind.serve.batching import Batcher
from bind.serve.gate import Gate
from bind.serve.limits import Limits, RefusedError
from bind.serve.metrics import Metrics


async def echo(scope, receive, send):
    """An application that answers with the length of the body, slowly where the path says so."""
    body = (await receive())["body"]
    if scope["path"] == "/slow":
        await asyncio.sleep(5)
    if scope["path"] == "/broken":
        raise RuntimeError("the secret")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(len(body)).encode()})


def scope_of(path="/", headers=()):
    return {"type": "http", "method": "POST", "path": path, "headers": [(b"host", b"localhost:80"), *headers]}


async def ask(gate, path="/", chunks=(b"",), headers=(), pause=0.0):
    """Status and body of an answer, to a request whose body comes in chunks."""
    pending, sent = list(chunks), []

    async def receive():
        await asyncio.sleep(pause)
        chunk = pending.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(pending)}

    async def send(message):
        sent.append(message)

    await gate(scope_of(path, headers), receive, send)
    return sent[0]["status"], sent[1]["body"]


def gate_with(app=echo, token=None, only_local=True, **limits):
    return Gate(app, Limits(**limits), Metrics(), token=token, only_local=only_local)


def test_a_body_of_many_chunks_is_passed_on_whole():
    assert asyncio.run(ask(gate_with(), chunks=[b"abc"] * 100)) == (200, b"300")


@pytest.mark.parametrize(
    ("request_of", "status", "message"),
    [
        ({"headers": [(b"content-length", b"2001")]}, 413, "2001 bytes"),
        ({"headers": [(b"content-length", b"9" * 5000)]}, 413, "bytes"),
        ({"chunks": [b"x" * 500] * 5}, 413, "more than the 2000 bytes"),
        ({"chunks": [b"x"] * 1000, "pause": 0.005}, 408, "took longer than 0.2 s to arrive"),
        ({"path": "/slow"}, 504, "took longer than 0.3 s"),
        ({"path": "/broken"}, 500, "its log says more"),
    ],
)
def test_what_is_too_much_or_too_slow_is_answered_with_json(request_of, status, message):
    gate = gate_with(max_bytes=2000, body_seconds=0.2, request_seconds=0.3)
    got, body = asyncio.run(ask(gate, **request_of))
    assert got == status
    assert message in json.loads(body)["error"]
    assert b"secret" not in body
    assert (gate.num_bytes, gate.num_requests) == (0, 0)


def test_many_large_requests_at_a_time_are_refused():
    async def all_at_once(gate, num, **request_of):
        return [status for status, _ in await asyncio.gather(*(ask(gate, **request_of) for _ in range(num)))]

    gate = gate_with(max_bytes=1000, max_bytes_at_a_time=3000)
    statuses = asyncio.run(all_at_once(gate, 8, chunks=[b"x" * 450] * 2, pause=0.01))
    assert statuses.count(200) >= 3
    assert 429 in statuses
    gate = gate_with(max_requests=3, request_seconds=0.2)
    assert sorted(asyncio.run(all_at_once(gate, 5, path="/slow"))) == [429, 429, 504, 504, 504]


def test_a_token_is_asked_for_where_there_is_one():
    gate = gate_with(token="open sesame")
    assert asyncio.run(ask(gate, "/embed"))[0] == 401
    for wrong in (b"Bearer open sesam", b"open sesame", b"Bearer \xff", b""):
        assert asyncio.run(ask(gate, "/embed", headers=[(b"authorization", wrong)]))[0] == 401
    assert asyncio.run(ask(gate, "/embed", headers=[(b"authorization", b"Bearer open sesame")]))[0] == 200
    assert asyncio.run(ask(gate, "/healthz"))[0] == 200
    assert asyncio.run(ask(gate, "/metrics"))[0] == 401


@pytest.mark.parametrize(
    ("host", "status"), [(b"localhost", 200), (b"127.0.0.1:9", 200), (b"[::1]:80", 200), (b"evil.org", 400)]
)
def test_a_name_that_leads_here_from_elsewhere_is_refused(host, status):
    scope_headers = [(b"host", host)]
    assert asyncio.run(ask(gate_with(), headers=scope_headers))[0] == status
    assert asyncio.run(ask(gate_with(only_local=False), headers=scope_headers))[0] == 200


def test_a_client_that_leaves_is_nobodys_error():
    async def leave(gate):
        sent = []

        async def receive():
            return {"type": "http.disconnect"}

        await gate(scope_of(), receive, sent.append)
        return sent

    assert asyncio.run(leave(gate_with())) == []


@pytest.mark.parametrize("limits", [{"max_bytes": 0}, {"request_seconds": float("nan")}])
def test_limits_are_above_zero(limits):
    with pytest.raises(ValueError, match="above 0"):
        Limits(**limits)


class CountingBatcher(Batcher):
    """A batcher that remembers its batches, and whose first one waits until the gate opens."""

    def __init__(self, **limits):
        super().__init__(served.binder(), Limits(**limits), Metrics(), max_batch=8)
        self.sizes, self.opened = [], threading.Event()

    def _encode(self, modality, items):
        self.opened.wait(10)
        self.sizes.append((modality, len(items)))
        return super()._encode(modality, items)


def with_batcher(batcher, work):
    async def run():
        batcher.start()
        try:
            return await work(batcher)
        finally:
            await batcher.stop()

    return asyncio.run(run())


async def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest.mark.slow
def test_requests_share_batches_by_modality():
    async def work(batcher):
        first = asyncio.create_task(batcher.embed("text", ["first"]))
        await until(lambda: not batcher._queues["text"] and batcher.num_waiting)
        others = [asyncio.create_task(batcher.embed("text", [f"a {n}"])) for n in range(10)]
        await until(lambda: len(batcher._queues["text"]) == 10)
        batcher.opened.set()
        return await asyncio.gather(first, *others)

    batcher = CountingBatcher()
    vectors = with_batcher(batcher, work)
    assert batcher.sizes == [("text", 1), ("text", 8), ("text", 2)]
    expected = served.binder().embed("text", ["first", *(f"a {n}" for n in range(10))])
    assert torch.allclose(torch.stack([z for (z,) in vectors]), expected, atol=1e-5)


def test_too_many_waiting_items_are_refused_and_what_was_given_up_is_not_embedded():
    async def work(batcher):
        first = asyncio.create_task(batcher.embed("text", ["a"]))
        await until(lambda: not batcher._queues["text"] and batcher.num_waiting)
        with pytest.raises(RefusedError) as refused:
            await batcher.embed("text", ["b", "c", "d"])
        assert refused.value.status == 429
        given_up = asyncio.create_task(batcher.embed("text", ["b"]))
        await until(lambda: batcher._queues["text"])
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        assert batcher.num_waiting == 1
        batcher.opened.set()
        await first
        await batcher.embed("text", ["c"])
        assert batcher.num_waiting == 0

    batcher = CountingBatcher(max_waiting=3)
    with_batcher(batcher, work)
    assert batcher.sizes == [("text", 1), ("text", 1)]


def test_an_item_that_breaks_its_batch_fails_alone(monkeypatch):
    batcher = CountingBatcher()
    batcher.opened.set()
    together = batcher._encode_together

    def encode(modality, items):
        if any(item is poison for item in items):
            raise RuntimeError("shapes differ")
        return together(modality, items)

    poison = batcher._prepare("text", "poison")
    monkeypatch.setattr(batcher, "_encode_together", encode)
    good = [batcher._prepare("text", word) for word in ("a", "b")]
    outcomes = batcher._encode("text", [good[0], poison, good[1]])
    assert [isinstance(outcome, ValueError) for outcome in outcomes] == [False, True, False]
