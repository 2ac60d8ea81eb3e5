"""Index of the frames of an MP3 file, by which a part of a long one is decoded without all that comes before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bind.media.decoded import Sound
from bind.media.soundtrack import MP3_DECODER, frame_bytes, open_content, samples_of, stated_mp3_frames
from bind.media.video import discard_other_streams, open_container
from bind.media.whole_file import CUT_SHORT
from bind.types import Clip

LEAD_IN_BYTES = 4096
LEAD_IN_FRAMES = 10
"""What is decoded before a part and thrown away. A frame takes up to 511 bytes of sound from the frames before it (the
bit reservoir of ISO 11172-3), overlaps with the one before it, and its filters remember another."""
FIRST_FRAMES = 8
"""Among which encoders have what is not to be heard."""


@dataclass(frozen=True, slots=True)
class Mp3Index:
    """Where the frames of an MP3 begin: `starts_N` and `sizes_N` in bytes, in a file whose frames are all alike.

    Each has `frame_samples` samples of sound; of all of them `num_skipped` come before the first that is heard, and
    `num_frames` are heard.
    """

    sample_rate_hz: int
    num_channels: int
    frame_samples: int
    num_skipped: int
    num_frames: int
    starts_N: np.ndarray
    sizes_N: np.ndarray


def index_mp3(clip: Clip) -> Mp3Index | None:
    """Read the heads of all frames; None where they are not all of one kind, or not where the demuxer says.

    Only the first and the last frames are decoded: with them what encoders added before and behind the sound.
    """
    starts, sizes, kinds = [], [], set()
    last: list[Any] = []
    counts: list[int] = []
    with open_container(clip, "mp3") as container:
        stream = container.streams.audio[0]
        discard_other_streams(container, stream)
        if stream.codec_context.name != MP3_DECODER:
            return None
        for packet in container.demux(stream):
            content = bytes(packet)
            if not content:
                break
            if packet.pos is None or len(content) != frame_bytes(content[:6]):
                return None
            kinds.add((content[1] & 0xFE, content[2] & 0x0C, content[3] & 0xC0 == 0xC0))
            starts.append(packet.pos)
            sizes.append(len(content))
            if len(starts) <= FIRST_FRAMES:
                counts.append(sum(frame.samples for frame in packet.decode()))
            last.append(packet)
            del last[: -FIRST_FRAMES - LEAD_IN_FRAMES]
        if len(starts) < 4 * (FIRST_FRAMES + LEAD_IN_FRAMES) or len(kinds) > 1:
            return None
        ending = [sum(frame.samples for frame in packet.decode()) for packet in last]
        ending.append(sum(frame.samples for frame in stream.codec_context.decode(None)))
        rate_hz, num_channels = stream.codec_context.sample_rate, stream.codec_context.channels
    frame_samples = max(counts)
    stated = stated_mp3_frames(clip)
    if stated is not None and stated != len(starts):
        return None
    if frame_samples == 0 or set(ending[:FIRST_FRAMES]) != {frame_samples}:
        return None
    starts_N, sizes_N = np.array(starts), np.array(sizes)
    if not _lie_behind_one_another(clip, starts_N, sizes_N):
        return None
    num_skipped = FIRST_FRAMES * frame_samples - sum(counts)
    num_frames = sum(counts) + (len(starts) - FIRST_FRAMES - len(last)) * frame_samples + sum(ending)
    return Mp3Index(rate_hz, num_channels, frame_samples, num_skipped, num_frames, starts_N, sizes_N)


def _lie_behind_one_another(clip: Clip, starts_N: np.ndarray, sizes_N: np.ndarray) -> bool:
    """Whether frames follow on one another without anything between them, from the stated place of the first on."""
    if np.any(starts_N[:-1] + sizes_N[:-1] != starts_N[1:]):
        return False
    with open_content(clip) as file:
        file.seek(int(starts_N[0]))
        head = file.read(6)
    return frame_bytes(head) == int(sizes_N[0])


def indexed_sound(clip: Clip, index: Mp3Index) -> Sound:
    """The sound of an MP3 whose parts are decoded from a little before them on."""

    def read(first: int, last: int) -> np.ndarray:
        first_raw, last_raw = first + index.num_skipped, last + index.num_skipped
        begin, end = first_raw // index.frame_samples, -(-last_raw // index.frame_samples)
        by_bytes = int(np.searchsorted(index.starts_N, index.starts_N[begin] - LEAD_IN_BYTES))
        lead = max(0, min(begin - LEAD_IN_FRAMES, by_bytes))
        parts = list(_decode_frames(clip, index, lead, end))[begin - lead :]
        offset = begin * index.frame_samples
        samples_TC: np.ndarray = np.concatenate(parts)[first_raw - offset : last_raw - offset]
        return samples_TC

    return Sound(index.sample_rate_hz, index.num_frames, index.num_channels, read)


def _decode_frames(clip: Clip, index: Mp3Index, begin: int, end: int) -> Iterator[np.ndarray]:
    """The samples (`frame_samples`, C) of each of the frames from `begin` to `end`, as if they were a file's first."""
    import av

    decoder: Any = av.CodecContext.create(MP3_DECODER, "r")
    with open_content(clip) as file:
        for start, size in zip(index.starts_N[begin:end].tolist(), index.sizes_N[begin:end].tolist(), strict=True):
            file.seek(start)
            try:
                (frame,) = decoder.decode(av.Packet(file.read(size)))
            except (av.FFmpegError, ValueError) as error:
                seconds = (begin * index.frame_samples) / index.sample_rate_hz
                raise ValueError(
                    f"{clip.path}: decoding stopped after {seconds:g} s. It is damaged. {CUT_SHORT}"
                ) from error
            yield samples_of(frame)
            begin += 1
