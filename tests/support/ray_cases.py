"""What the tests of `engine=ray` run in Ray's workers."""

import os
import signal
from pathlib import Path

import bind.data.sources.shards.writer as writer
from support.cache_cases import Watched


def die_once(marker: Path) -> None:
    """Kill this process, unless any has died of this before."""
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)


class DiesOnce(Watched):
    """An anchor that notes which processes embed, and kills the first one that comes to the second batch of a part."""

    def __init__(self, folder: str, notes: Path) -> None:
        super().__init__(folder, seconds=0.05)
        self.notes = notes

    def embed(self, modality, inputs):
        (self.notes / f"pid-{os.getpid()}").touch()
        if len(self.sizes) == 3:
            die_once(self.notes / "dead")
        return super().embed(modality, inputs)


def begin_and_die_once(begin, marker: Path, folder: Path):
    """`bind.commands.pack._begin`, but for a death in the middle of a shard."""
    members, seen = writer._members, []

    def dying(sample):
        seen.append(sample)
        if len(seen) == 6:
            die_once(marker)
        return members(sample)

    writer._members = dying
    return begin(folder)


def begin_with(what: str):
    """Fails, or dies each time, at piece 3."""

    def piece(number: int) -> int:
        if number == 3 and what == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 3:
            raise ValueError(f"{number}.wav is damaged") if what == "fails" else OSError(28, "No space left on device")
        return number

    return piece
