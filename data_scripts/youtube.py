"""Clips of YouTube videos: lists of them are published, the media are each user's own download."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from common import relative_path, sound_problem

SOUND = (".wav", ".flac", ".ogg", ".mp3")
VIDEO = (".mp4", ".webm", ".mkv")
HOW_FILES_ARE_NAMED = (
    "Each clip is a file of its own, anywhere under the folder, named ID_START.ext, ID_00START.ext (six digits),\n"
    "YID.ext or ID.ext: sound as "
    + ", ".join(SOUND)
    + ", video as "
    + ", ".join(VIDEO)
    + "; or both. The sound of a clip\n"
    "that has no sound file is the sound track of its video. Many videos are gone by now: --allow-bad 0.2."
)


class Clip(NamedTuple):
    """A stretch of a video, from `start_seconds` on."""

    video_id: str
    start_seconds: int

    @property
    def key(self) -> str:
        return f"{self.video_id}_{self.start_seconds:06d}"

    @property
    def stems(self) -> tuple[str, ...]:
        """Names that a downloaded file may have, the most specific first."""
        return (f"{self.video_id}_{self.start_seconds}", self.key, f"Y{self.video_id}", self.video_id)


class Downloads:
    """The media files under a folder, found by the name of their clip."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.by_stem: dict[str, dict[str, Path]] = {}
        for parent, folders, names in os.walk(folder):
            folders.sort()
            for name in sorted(names):
                stem, suffix = os.path.splitext(name)
                kind = "audio" if suffix.lower() in SOUND else "video" if suffix.lower() in VIDEO else None
                if kind:
                    self.by_stem.setdefault(stem, {}).setdefault(kind, Path(parent, name))

    def media(self, clip: Clip, out: Path, *, decode: bool) -> tuple[dict[str, str], dict[Path, str]]:
        """The manifest's cells for a clip, and what is wrong with which of its files."""
        files = next((self.by_stem[stem] for stem in clip.stems if stem in self.by_stem), {})
        if not files:
            return {}, {self.folder / f"{clip.key}.*": "missing"}
        bad = {path: problem for kind, path in files.items() if (problem := _problem(path, kind, decode))}
        cells = {"audio": relative_path(files.get("audio", files.get("video", Path())), out)}
        if "video" in files:
            cells["video"] = relative_path(files["video"], out)
        return cells, bad


def _problem(path: Path, kind: str, decode: bool) -> str | None:
    if kind == "audio":
        return sound_problem(path, decode)
    return None if path.stat().st_size else "empty"
