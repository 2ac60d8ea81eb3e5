"""What a bridge was made of: a run, whose texts it says. Runs over one anchor share a space, and so may read it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bind.files.plain_data import Kind, require_kinds
from bind.model.binder import Binder
from bind.search.binder_folder import fingerprint_of

log = logging.getLogger("bind")

KINDS: dict[str, Kind] = {"run": str, "binder_fingerprint": str, "example": str}
MAX_EXAMPLE = 60
"""Characters of a text that are shown."""


@dataclass(frozen=True, slots=True)
class BridgeOrigin:
    """What a bridge was made of.

    Attributes:
        run: its name, or that of a saved binder.
        binder_fingerprint: see `bind.search.binder_folder.fingerprint_of`.
        example: the first text that was learned, cut; empty where none was.
    """

    run: str
    binder_fingerprint: str
    example: str = ""

    @classmethod
    def of(cls, place: str, binder: Binder, texts: Sequence[str]) -> BridgeOrigin:
        """Of a run directory, or a saved binder's folder or hub id; no more of a path than a name is kept."""
        folder = Path(place).expanduser().resolve()
        name = folder.parent.name if folder.name == "binder" else folder.name  # runs/mine/binder is of run mine
        return cls(name if folder.is_dir() else place, fingerprint_of(binder), cut(texts[0]) if texts else "")

    @classmethod
    def read(cls, values: Any, where: str) -> BridgeOrigin | None:
        """Out of plain values, None of bridges that have none.

        Raises:
            ValueError: naming `where`.
        """
        if not values:
            return None
        require_kinds(values, KINDS, where)
        return cls(**{name: values[name] for name in KINDS})

    def as_json(self) -> Mapping[str, str]:
        """Plain values."""
        return asdict(self)

    def warn_if_other(self, folder: Path, binder: Binder) -> None:
        """Say so where `binder` is not the one that the bridge in `folder` was made of."""
        if binder.adapted or fingerprint_of(binder) == self.binder_fingerprint:
            return
        example = f", such as {self.example!r}" if self.example else ""
        log.warning(
            "bridge=%s was made of run %s, and this is another one of the same space: it speaks of that run's texts%s",
            folder,
            self.run,
            example,
        )


def cut(text: str) -> str:
    """The beginning of a text, on one line.

    Examples:
        >>> cut("a dog " * 20)
        'a dog a dog a dog a dog a dog a dog a dog a dog a dog a dog …'
    """
    line = " ".join(text.split())
    return line if len(line) <= MAX_EXAMPLE else line[:MAX_EXAMPLE].rstrip() + " …"
