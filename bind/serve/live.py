"""Live time lines: samples come through a WebSocket, segments go back while they come."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from bind.data.transforms.imu import ImuTransform
from bind.evaluation.label_sets import LabelSet
from bind.files.plain_data import parse_json
from bind.model.binder import Binder
from bind.report.label_colours import label_colours
from bind.serve.bodies import Strict, validated
from bind.serve.limits import Limits
from bind.timeline.fits import fitted_parameters
from bind.timeline.labels import embed_labels
from bind.timeline.samples import require_modality
from bind.timeline.segments import NONE
from bind.timeline.stream import Stream
from bind.types import Modality

POLICY_VIOLATION = 1008
MAX_LABELS = 256
MAX_SAMPLE_RATE_HZ = 96_000.0
"""A window of samples is held in memory, so a rate that can't be would hold much."""


class Start(Strict):
    """The first message of a stream."""

    modality: str
    labels: str | list[str] = Field(description="a label set of the run, or phrases", max_length=MAX_LABELS)
    none: bool = Field(False, description='whether "none of these" is an answer, where the run has a fit of it')
    sample_rate_hz: float | None = Field(None, ge=1.0, le=MAX_SAMPLE_RATE_HZ, description="null: that of the training")
    channels: list[str] | None = Field(None, description="of a sensor's samples; null: those of the training")
    units: list[str] | None = None
    token: str | None = Field(None, description="where the service asks for one")


@dataclass(frozen=True, slots=True)
class LiveRun:
    """What live time lines are made of.

    Attributes:
        binder: on the device where it embeds.
        run_dir: of the run whose binder it is, which may hold fits; None: nothing was fitted.
        label_sets: of the run, `data.zero_shot` of its config.
        text_lock: held while texts become tokens: tokenizers are not made for several threads at a time.
    """

    binder: Binder
    run_dir: Path | None = None
    label_sets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    text_lock: threading.Lock = field(default_factory=threading.Lock)

    def streamed(self) -> dict[str, Any]:
        """Transforms by modality, of those that stream: they have a rate."""
        transforms = self.binder.transforms
        return {m: t for m, t in transforms.items() if m == "audio" or isinstance(t, ImuTransform)}

    def describe(self) -> dict[str, Any]:
        """The modalities that stream, with rate, channels and units, and the label sets, with modalities and labels."""
        modalities = {
            modality: {
                "sample_rate_hz": float(transform.sample_rate_hz),
                "channels": list(getattr(transform, "channels", ["sound"])),
                "units": list(getattr(transform, "units", [""])),
            }
            for modality, transform in self.streamed().items()
        }
        sets = [LabelSet.of(name, options, []) for name, options in self.label_sets.items()]
        known = [label_set for label_set in sets if len(label_set.classes) > 1]
        return {
            "modalities": modalities,
            "label_sets": {s.name: {"modalities": list(s.modalities), "labels": list(s.classes)} for s in known},
        }

    def open(self, start: Start) -> Stream:
        """A stream as `start` asks for it; ValueError where it can't be."""
        modality: Modality = start.modality
        require_modality(self.binder, modality)
        wanted: LabelSet | list[str]
        if isinstance(start.labels, str):
            if start.labels not in self.label_sets:
                known = ", ".join(self.label_sets) or "none"
                raise ValueError(f"labels: no set {start.labels[:60]!r} in the run; it has {known}. Or give phrases")
            wanted = LabelSet.of(start.labels, self.label_sets[start.labels], [])
        else:
            wanted = start.labels
        with self.text_lock:
            labels = embed_labels(self.binder, wanted)
        parameters = None
        if self.run_dir is not None:
            parameters = fitted_parameters(self.run_dir, self.binder, modality, labels, none=start.none)
        if start.none and parameters is None:
            raise ValueError("none: the run has no fit of these labels that could tell when none of them fits")
        return Stream(
            self.binder,
            modality,
            labels=labels,
            parameters=parameters,
            sample_rate_hz=start.sample_rate_hz,
            channels=start.channels,
            units=start.units,
        )


class SegmentFeed:
    """What a client that has the segments of the last message lacks."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._num_final = 0

    def update(self) -> dict[str, Any]:
        """Segments from the number `from` on, which take the place of those that the client has from there."""
        segments = self.stream.segments
        message = {
            "from": self._num_final,
            "segments": [
                [s.start_seconds, s.end_seconds, s.label, round(s.confidence, 4)] for s in segments[self._num_final :]
            ],
            "final_seconds": max(0.0, self.stream.final_seconds),
            "breaks": [str(lost) for lost in self.stream.breaks[-3:]],
        }
        while self._num_final < len(segments) and segments[self._num_final].end_seconds < self.stream.final_seconds:
            self._num_final += 1
        return message


def live_routes(run: LiveRun, limits: Limits, token: str | None = None) -> APIRouter:
    """The route of streams, `/live/stream`, and what can be asked for, `/live/about`.

    A client sends a `Start` as JSON, and hears how long a label may change, how many channels are awaited and what
    colours the labels have on pages; then bytes, float32 samples (T, C) in little-endian order, or the texts `pause`
    and `finish`; each is answered with what `SegmentFeed.update` says, or with `{"error": …}` and the end.
    """
    router = APIRouter(tags=["live"])
    places = asyncio.Semaphore(limits.max_streams)

    @router.get("/live/about")
    async def about() -> dict[str, Any]:
        """What streams, and which labels there are; the WebSocket `/live/stream` makes time lines of it."""
        return run.describe()

    @router.websocket("/live/stream")
    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        with contextlib.suppress(WebSocketDisconnect):
            try:
                async with asyncio.timeout(limits.body_seconds):
                    message = await socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                start = _start_of(message.get("text"), limits)
                if token is not None and not hmac.compare_digest((start.token or "").encode(), token.encode()):
                    raise ValueError("send the service's token with the first message")
                if places.locked():
                    raise ValueError(f"{limits.max_streams} streams are all there are at a time; try again later")
                async with places:
                    await _serve(socket, run, start, limits)
            except TimeoutError:
                await _refuse(socket, f"nothing came for {limits.stream_idle_seconds:g} s")
            except ValueError as error:
                await _refuse(socket, str(error))

    return router


async def _refuse(socket: WebSocket, message: str) -> None:
    await socket.send_json({"error": message})
    await socket.close(POLICY_VIOLATION)


async def _serve(socket: WebSocket, run: LiveRun, start: Start, limits: Limits) -> None:
    stream = await run_in_threadpool(run.open, start)
    num_channels = len(start.channels or run.describe()["modalities"][start.modality]["channels"])
    rate_hz = start.sample_rate_hz or float(run.streamed()[start.modality].sample_rate_hz)
    feed, num_seconds = SegmentFeed(stream), 0.0
    about = {"look_ahead_seconds": stream.look_ahead_seconds, "num_channels": num_channels}
    await socket.send_json(about | {"colours": label_colours(stream.label_names, NONE)})
    while True:
        async with asyncio.timeout(limits.stream_idle_seconds):
            message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        if (content := message.get("bytes")) is not None:
            samples_TC = _samples_of(content, num_channels, limits)
            seconds = len(samples_TC) / rate_hz
            if seconds > limits.max_media_seconds:
                raise ValueError(f"a message of {seconds:g} s; send up to {limits.max_media_seconds:g} s at a time")
            num_seconds += seconds
            if num_seconds > limits.max_stream_seconds:
                raise ValueError(f"a stream ends after {limits.max_stream_seconds:g} s; begin another")
            await run_in_threadpool(stream.push, samples_TC)
        elif message.get("text") == "pause":
            await run_in_threadpool(stream.pause)
        elif message.get("text") == "finish":
            await run_in_threadpool(stream.finish)
            await socket.send_json(feed.update() | {"is_finished": True})
            await socket.close()
            return
        else:
            raise ValueError("send samples as bytes, or the text pause or finish")
        await socket.send_json(feed.update())


def _start_of(text: str | None, limits: Limits) -> Start:
    if text is None:
        raise ValueError("send the first message as text")
    if len(text) > limits.max_text_characters:
        raise ValueError(f"the first message has more than {limits.max_text_characters} characters")
    return validated(Start, parse_json(text, "the first message"))


def _samples_of(data: bytes, num_channels: int, limits: Limits) -> np.ndarray:
    """Samples (T, C) of a message."""
    if len(data) > limits.max_stream_bytes:
        raise ValueError(f"a message of {len(data)} bytes; send up to {limits.max_stream_bytes} at a time")
    if len(data) % (4 * num_channels):
        raise ValueError(f"a message of {len(data)} bytes: no whole samples of {num_channels} channels in float32")
    return np.frombuffer(data, "<f4").reshape(-1, num_channels)
