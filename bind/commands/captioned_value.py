"""One caption, and what it is of."""

from __future__ import annotations

from dataclasses import dataclass

from bind.types import Modality


@dataclass(frozen=True, slots=True)
class CaptionedValue:
    """One caption: the key of its sample or the file, and its modality."""

    key: str
    modality: Modality
    caption: str

    def as_json(self) -> dict[str, str]:
        """Plain values."""
        return {"key": self.key, "modality": self.modality, "caption": self.caption}
