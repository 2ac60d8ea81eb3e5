"""Live time lines over a WebSocket: samples in, segments out."""

import dataclasses
import json

import pytest
from support import timelines

pytest.importorskip("fastapi")
pytest.importorskip("httpx")
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from bind.report.label_colours import label_colours
from bind.serve.app import create_app
from bind.serve.limits import Limits
from bind.serve.live import LiveRun, live_routes
from bind.timeline.segments import NONE
from bind.timeline.stream import Stream

VALUES = timelines.motion(40)
SETS = {"moves": {"modalities": ["imu"], "templates": ["a person {}"], "classes": list(timelines.LABELS)}}


@pytest.fixture(scope="module")
def run():
    return LiveRun(timelines.tiny_binder(), label_sets=SETS)


def client(run, token=None, **limits):
    app = FastAPI()
    app.include_router(live_routes(run, dataclasses.replace(Limits(), **limits), token))
    return TestClient(app)


def start(**values):
    return json.dumps({"modality": "imu", "labels": list(timelines.LABELS)} | values)


@pytest.mark.slow
def test_segments_come_as_the_stream_says_them(run):
    expected = Stream(run.binder, "imu", labels=timelines.LABELS)
    expected.push(VALUES)
    segments = []
    with client(run).websocket_connect("/live/stream") as socket:
        socket.send_text(start())
        about = socket.receive_json()
        assert about.pop("colours") == label_colours(timelines.LABELS, NONE)
        assert about == {"look_ahead_seconds": expected.look_ahead_seconds, "num_channels": 6}
        for first in range(0, len(VALUES), 97):
            socket.send_bytes(VALUES[first : first + 97].tobytes())
            message = socket.receive_json()
            segments[message["from"] :] = message["segments"]
        socket.send_text("finish")
        message = socket.receive_json()
        segments[message["from"] :] = message["segments"]
        assert message["is_finished"]
    assert segments == [[s.start_seconds, s.end_seconds, s.label, round(s.confidence, 4)] for s in expected.finish()]


@pytest.mark.slow
def test_a_set_of_the_run_and_a_pause(run):
    with client(run).websocket_connect("/live/stream") as socket:
        socket.send_text(start(labels="moves"))
        socket.receive_json()
        for text in ("pause", None, "pause"):
            if text:
                socket.send_text(text)
            else:
                socket.send_bytes(VALUES[:60].tobytes())
            message = socket.receive_json()
        assert message["final_seconds"] == 3.0
        assert {label for *_, label, _ in message["segments"]} <= set(timelines.LABELS)


def test_what_can_be_asked_for(run):
    sets = SETS | {"labels of the data": SETS["moves"] | {"classes": None}}
    about = client(dataclasses.replace(run, label_sets=sets)).get("/live/about").json()
    assert about["label_sets"] == {"moves": {"modalities": ["imu"], "labels": list(timelines.LABELS)}}
    assert about["modalities"]["imu"]["channels"] == list(timelines.CHANNELS)
    assert set(about["modalities"]) == {"imu", "audio"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        ("{", None, "the first message: no readable JSON"),
        (b"{}", None, "send the first message as text"),
        ("[" * 9_000, None, "more than 64 levels"),
        (" " * 10_001, None, "more than 10000 characters"),
        (start(labels="walks"), None, "labels: no set 'walks' in the run; it has moves"),
        (start(labels=["a"]), None, "a time line needs two or more"),
        (start(modality="depth"), None, "depth: a time line is made of sound"),
        (start(none=True), None, "none: the run has no fit"),
        (start(path="/etc/passwd"), None, "path: Extra inputs are not permitted"),
        (start(channels=["a"], units=["g"]), None, "no channel acc_x"),
        (start(sample_rate_hz=1e9), None, "sample_rate_hz: Input should be less than"),
        (start(sample_rate_hz=0), None, "sample_rate_hz: Input should be greater than"),
        (start(), b"12345", "a message of 5 bytes: no whole samples of 6 channels"),
        (start(), b"0" * 4800, "a message of 4800 bytes; send up to 2400"),
        (start(), "walk", "send samples as bytes, or the text pause or finish"),
        (start(), "finish", "nothing in it, up to 0 s, is as long as the window of 1 s"),
        (start(), (VALUES[:5] * float("nan")).tobytes(), "values are NaN"),
    ],
)
def test_what_can_not_be_is_said_and_ends_the_stream(run, first, then, message):
    with client(run, max_stream_bytes=2400).websocket_connect("/live/stream") as socket:
        socket.send_bytes(first) if isinstance(first, bytes) else socket.send_text(first)
        if then is not None:
            assert "error" not in socket.receive_json()
            socket.send_bytes(then) if isinstance(then, bytes) else socket.send_text(then)
        assert message in socket.receive_json()["error"]
        assert socket.receive()["type"] == "websocket.close"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limits", "num_messages", "message"),
    [
        ({"max_media_seconds": 2.0}, 1, "a message of 3 s; send up to 2 s at a time"),
        ({"max_stream_seconds": 7.0}, 3, "a stream ends after 7 s; begin another"),
        ({"stream_idle_seconds": 0.05}, 0, "nothing came for 0.05 s"),
    ],
)
def test_a_stream_costs_no_more_than_its_limits(run, limits, num_messages, message):
    with client(run, **limits).websocket_connect("/live/stream") as socket:
        socket.send_text(start())
        socket.receive_json()
        for _ in range(num_messages):
            socket.send_bytes(VALUES[:60].tobytes())
        answers = [socket.receive_json() for _ in range(max(1, num_messages))]
        assert answers[-1] == {"error": message}


@pytest.mark.slow
def test_a_stream_needs_the_token_and_a_place(run):
    asked = client(run, token="a long token", max_streams=1)
    with asked.websocket_connect("/live/stream") as socket:
        socket.send_text(start(token="another"))
        assert "token" in socket.receive_json()["error"]
    with asked.websocket_connect("/live/stream") as first:
        first.send_text(start(token="a long token"))
        assert "error" not in first.receive_json()
        with asked.websocket_connect("/live/stream") as second:
            second.send_text(start(token="a long token"))
            assert "1 streams are all there are" in second.receive_json()["error"]
    with asked.websocket_connect("/live/stream") as third:  # a place is free again
        third.send_text(start(token="a long token"))
        assert "error" not in third.receive_json()


@pytest.mark.slow
def test_the_service_offers_it_to_its_own_pages_and_programs():
    service = create_app(timelines.tiny_binder(), token="a long token", label_sets=SETS)
    with TestClient(service, base_url="http://localhost:8080") as asked:
        assert asked.get("/live").status_code == asked.get("/live.js").status_code == 200
        assert asked.get("/live/about").status_code == 401
        allowed = {"Authorization": "Bearer a long token"}
        assert list(asked.get("/live/about", headers=allowed).json()["label_sets"]) == ["moves"]
        for headers in ({}, {"Origin": "http://localhost:8080"}):
            with asked.websocket_connect("ws://localhost:8080/live/stream", headers=headers) as socket:
                socket.send_text(start(labels="moves", token="a long token"))
                assert socket.receive_json()["num_channels"] == 6
        for address, origin in [
            ("ws://localhost:8080/live/stream", "http://evil.org"),
            ("ws://localhost:8080/live/stream", "http://localhost:9"),
            ("ws://localhost:8080/live/stream", "null"),
            ("ws://evil.org/live/stream", "http://evil.org"),
        ]:
            with (
                pytest.raises(WebSocketDisconnect),
                asked.websocket_connect(address, headers={"Origin": origin}) as socket,
            ):
                pytest.fail(f"{origin} was let in to {address}")
