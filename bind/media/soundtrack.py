"""Decoders of sound by PyAV: MP3, Ogg, and the sound tracks of videos and other containers."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from bind.media.decoded import Blocks
from bind.media.mp3_tags import id3_bytes, sound_bytes
from bind.media.notices import warn_once
from bind.media.recording import EDGE_SECONDS
from bind.media.video import VIDEO_SUFFIXES, clock_start_seconds, discard_other_streams, open_container
from bind.media.whole_file import ASF_HEADER, CUT_SHORT, EBML
from bind.types import Clip, PackedFile

CONTAINER_SUFFIXES = VIDEO_SUFFIXES | {".m4a", ".mka", ".aac", ".wma"}
SILENT_BLOCK_FRAMES = 1 << 16
MAX_SILENCE_SECONDS = 3600.0
MP3_BITRATES = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Version of MPEG (2 stands for 2.5 too) and layer → kilobits per second by the index in a frame's head, from 1 on."""
MP3_DECODER = "mp3float"
MP3_SUFFIXES = (".mp3", ".mp2", ".mpga")
TAG_STARTS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")
MAX_TAG_BYTES = 200
"""Where in the first frame of an MP3 the number of its frames stands at the latest."""


def decode_mp3(clip: Clip) -> Blocks:
    """The whole of an MP3 file, frame after frame; several that are joined are read one after the other.

    Raises:
        ValueError: naming the file, where it can't be decoded, or ends within a frame or before the last frame that
            its head states.
    """
    num_packets, last_packet = 0, b""
    for frame, packet in _frames_of_format(clip, "mp3"):
        if packet is not last_packet:
            num_packets, last_packet = num_packets + 1, packet
        yield frame.sample_rate, samples_of(frame)
    stated = stated_mp3_frames(clip)
    if stated is not None and num_packets < stated - 1:
        raise ValueError(f"{clip.path}: cut short: {num_packets} of the {stated} frames that it states. {CUT_SHORT}")
    if len(last_packet) < frame_bytes(last_packet[:6]):
        raise ValueError(f"{clip.path}: cut short: it ends within a frame. {CUT_SHORT}")


def decode_format(clip: Clip, format_name: str) -> Blocks:
    """The whole of an Ogg (`ogg`) or FLAC (`flac`) file, frame after frame; ValueError where it can't be decoded."""
    for frame, _ in _frames_of_format(clip, format_name):
        yield frame.sample_rate, samples_of(frame)


def _frames_of_format(clip: Clip, format_name: str) -> Iterator[tuple[Any, bytes]]:
    with open_container(clip, format_name) as container:
        if not container.streams.audio:
            raise ValueError(f"{clip.path}: there is no sound in it. Replace the file or drop its row")
        stream = container.streams.audio[0]
        discard_other_streams(container, stream)
        yield from _decoded_frames(container, stream, clip)


def decode_soundtrack(clip: Clip) -> Blocks:
    """The whole first sound track of a container, from the moment at which its pictures start.

    Where the track has no sound, before it starts or in a gap, there is silence, as in a player; the log says so once.

    Raises:
        ValueError: naming the file, where there is no sound, it can't be decoded, or its clock jumps.
    """
    with open_container(clip) as container:
        if not container.streams.audio:
            raise ValueError(f"{clip.path}: there is no sound track in it. Leave its cell empty, or replace the file")
        stream = container.streams.audio[0]
        discard_other_streams(container, stream)
        is_raw_aac = container.format.name == "aac"
        clock_start = clock_start_seconds(container)
        position, last_packet = 0, b""
        for frame, packet in _decoded_frames(container, stream, clip):
            last_packet = packet
            x_TC, rate_hz = samples_of(frame), frame.sample_rate
            ticks = None if is_raw_aac else frame.pts if frame.pts is not None else frame.dts
            if ticks is not None:
                by_clock = round(float(ticks * frame.time_base - clock_start) * rate_hz)
                missing = by_clock - position
                if position == 0 and missing < 0:
                    x_TC = x_TC[-missing:]  # encoders begin with a little that is not to be heard
                # Pieces follow on one another: rounded times must not cut samples out or in between.
                elif abs(missing) > EDGE_SECONDS * rate_hz or (position == 0 and missing):
                    yield from _silence(clip, missing, rate_hz, x_TC.shape[1], position)
                    position += missing
            if len(x_TC):
                yield rate_hz, x_TC
                position += len(x_TC)
        if position == 0:
            raise ValueError(f"{clip.path}: there is no sound in its sound track. Leave its cell empty")
        if is_raw_aac and len(last_packet) < frame_bytes(last_packet[:6]):
            raise ValueError(f"{clip.path}: cut short: it ends within a frame. {CUT_SHORT}")


def _silence(clip: Clip, num_frames: int, rate_hz: int, num_channels: int, position: int) -> Blocks:
    seconds = num_frames / rate_hz
    if not 0 <= seconds <= MAX_SILENCE_SECONDS:
        raise ValueError(
            f"{clip.path}: the clock of its sound jumps by {seconds:g} s after {position / rate_hz:g} s, as where "
            "files were joined. Write it again: ffmpeg -i FILE NEW_FILE"
        )
    if seconds > EDGE_SECONDS:
        warn_once("a sound track that starts late or has gaps is silent there", str(clip.path))
    for first in range(0, num_frames, SILENT_BLOCK_FRAMES):
        yield rate_hz, np.zeros((min(SILENT_BLOCK_FRAMES, num_frames - first), num_channels), dtype=np.float32)


def _decoded_frames(container: Any, stream: Any, clip: Clip) -> Iterator[tuple[Any, bytes]]:
    """Decoded frames of float or integers, each with the packet that it came out of."""
    import av

    num_frames, rate_hz, content = 0, 1, b""
    junk_seconds: float | None = None
    try:
        for packet in container.demux(stream):
            content = bytes(packet) or content
            try:
                frames = packet.decode()
            except av.InvalidDataError:
                if stream.codec_context.name != MP3_DECODER or frame_bytes(content[:6]):
                    raise
                # No frame of sound: a tag, or what somebody wrote after the last frame.
                junk_seconds = None if content.startswith(TAG_STARTS) else num_frames / rate_hz
                continue
            if frames and junk_seconds is not None:
                raise ValueError(
                    f"{clip.path}: damaged after {junk_seconds:g} s: there are bytes that are no sound, and then sound "
                    f"again. {CUT_SHORT}"
                )
            for frame in frames:
                num_frames, rate_hz = num_frames + frame.samples, frame.sample_rate
                yield frame, content
    except av.FFmpegError as error:
        raise ValueError(
            f"{clip.path}: decoding stopped after {num_frames / rate_hz:g} s ({error.strerror}). It is damaged or cut "
            f"short. {CUT_SHORT}"
        ) from error


def samples_of(frame: Any) -> np.ndarray:
    """A frame's samples (T, C) float32; integers are divided by the size of their range."""
    if frame.format.name == "fltp":
        channels_CT = [np.frombuffer(plane, dtype=np.float32, count=frame.samples) for plane in frame.planes]
        samples_TC: np.ndarray = np.stack(channels_CT, axis=1)  # a copy: the decoder uses its memory again
        return samples_TC
    stored: np.ndarray = frame.to_ndarray()
    stored_TC = stored.T if frame.format.is_planar else stored.reshape(frame.samples, -1)
    size = 1.0 if stored.dtype.kind == "f" else float(1 << 8 * stored.dtype.itemsize - 1)
    zero = size if stored.dtype.kind == "u" else 0.0
    return np.asarray((stored_TC.astype(np.float64) - zero) / size, dtype=np.float32)


def frame_bytes(head: bytes) -> int:
    """Length of an MP3 or ADTS frame by its first bytes; 0 where that is not known."""
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return 0
    layer = 4 - (head[1] >> 1 & 3)
    if layer == 4:
        return (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5  # ADTS
    version = 1 if head[1] >> 3 & 3 == 3 else 2
    index, rate_index = head[2] >> 4, head[2] >> 2 & 3
    if index in (0, 15) or rate_index == 3:
        return 0
    rate_hz = (44100, 48000, 32000)[rate_index] // {3: 1, 2: 2, 0: 4}.get(head[1] >> 3 & 3, 1)
    bits_per_second, padding = 1000 * MP3_BITRATES[version, layer][index - 1], head[2] >> 1 & 1
    if layer == 1:
        return int(12 * bits_per_second // rate_hz + padding) * 4
    return int((72 if (version, layer) == (2, 3) else 144) * bits_per_second // rate_hz + padding)


def is_mp3(clip: Clip) -> bool:
    """Whether a file starts with a frame of MPEG audio, behind tags too, or is called .mp3 and starts with a tag."""
    with open_content(clip) as file:
        is_called_so = clip.path.suffix.lower() in MP3_SUFFIXES
        begin = sound_bytes(file)[0] if is_called_so or file.read(8).startswith(TAG_STARTS) else 0
        file.seek(begin)
        return _is_mp3_frame(file.read(6)) or (is_called_so and begin > 0)


def _is_mp3_frame(head: bytes) -> bool:
    return frame_bytes(head) > 0 and head[1] >> 1 & 3 != 0  # 0 is ADTS


def without_tags(clip: Clip) -> tuple[Clip, int]:
    """`clip`, or an MP3's sound in memory without the tags around it; and the byte of the file with which it begins.

    With tags behind the sound, decoders would leave what the encoder added there. Of those in front they know one ID3.

    Raises:
        ValueError: naming the file, where several tags or one of another kind are in front, and no sound behind them.
    """
    with open_content(clip) as file:
        begin, end = sound_bytes(file)
        num_bytes = file.seek(0, 2)
        file.seek(0)
        if begin == id3_bytes(file.read(10)):
            if end == num_bytes:
                return clip, 0
            begin = 0
        file.seek(begin)
        content = file.read(end - begin)
    following = content[frame_bytes(content[:6]) :][:6]
    if begin and not (_is_mp3_frame(content[:6]) and (len(following) < 6 or _is_mp3_frame(following))):
        raise ValueError(
            f"{clip.path}: damaged: the tags in front of its sound end after {begin} bytes, and no sound begins there. "
            f"{CUT_SHORT}"
        )
    return Clip(PackedFile(str(clip.path), content)), begin


def without_tag_in_front(clip: Clip) -> Clip:
    """`clip`, or what is behind the tags that a file other than an MP3 starts with, in memory."""
    with open_content(clip) as file:
        if not file.read(8).startswith(TAG_STARTS) or is_mp3(clip):
            return clip
        begin, _ = sound_bytes(file)
        file.seek(begin)
        return Clip(PackedFile(str(clip.path), file.read())) if begin else clip


def is_container(clip: Clip) -> bool:
    """Whether a file is MP4 or a relative of it, Matroska, AVI or WMA, whatever it is called."""
    with open_content(clip) as file:
        head = file.read(16)
    return head[4:8] == b"ftyp" or head[:4] == EBML or head == ASF_HEADER or (head[:4], head[8:11]) == (b"RIFF", b"AVI")


def stated_mp3_frames(clip: Clip) -> int | None:
    """The number of frames that the head of an MP3 states (Xing, Info or VBRI), if it does."""
    with open_content(clip) as file:
        return _stated_frames(file)


def open_content(clip: Clip) -> BinaryIO:
    """The content of a file on disk or in a shard, from its first byte on."""
    file = clip.file
    return file.open("rb") if isinstance(file, Path) else file


def _stated_frames(file: BinaryIO) -> int | None:
    file.seek(id3_bytes(file.read(10)))
    content = file.read(4096)
    sync = next((i for i in range(len(content) - 6) if frame_bytes(content[i : i + 6])), None)
    if sync is None:
        return None
    frame = content[sync : sync + MAX_TAG_BYTES]
    for tag in (b"Xing", b"Info"):
        place = frame.find(tag)
        if place >= 0 and len(frame) >= place + 12 and frame[place + 7] & 1:
            return int(struct.unpack(">I", frame[place + 8 : place + 12])[0])
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        return int(struct.unpack(">I", frame[50:54])[0])
    return None
