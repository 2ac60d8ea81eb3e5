"""What cached vectors were made from, and with it the folder that they lie in."""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bind.types import Modality

FORMAT = 1
PART_SIZE = 4096
UNIT_VECTORS, FEATURES = "<f2", "<f4"
"""Numbers of the vectors: half precision where all have norm 1, single where they have any."""

MISMATCH_MESSAGES = {
    "anchor_fingerprint": "another anchor, or other preprocessing",
    "content": "another state of the data",
    "num_views": "other views",
    "dim": "towers of another width",
    "readers": "files as another version of this package reads them",
    "code": "other code of your own classes",
    "format": "another version's files",
}
UNSAID = {"dtype": UNIT_VECTORS, "code": ""}
"""What the files of a folder do not say, as those of earlier versions did not."""
IMPLIED_BY = {"num_samples": "content", "views": "num_views"}


@dataclass(frozen=True, slots=True)
class Origin:
    """What vectors were made from: they stand for one another where all of it but the two names is equal."""

    anchor: str
    source: str
    anchor_fingerprint: str
    content: str
    split: str
    modality: Modality
    num_samples: int
    num_views: int
    views: str
    dim: int
    part_size: int = PART_SIZE
    format: int = FORMAT
    readers: str = ""
    dtype: str = UNIT_VECTORS
    code: str = ""

    def as_dict(self) -> dict[str, Any]:
        """What `about.json` holds, without what earlier versions of this package did not write."""
        return {name: x for name, x in asdict(self).items() if UNSAID.get(name) != x}

    @property
    def folder_name(self) -> Path:
        anchor = re.sub(r"[^A-Za-z0-9.]+", "-", self.anchor).strip("-")[-60:]
        views = f"-{self.num_views}views" if self.num_views > 1 else ""
        made_of = f"{self.content} {self.readers}" + (f" {self.code}" if self.code else "")
        content = hashlib.blake2b(made_of.encode(), digest_size=8).hexdigest()
        return Path(f"{anchor}-{self.anchor_fingerprint[:12]}", f"{self.split}-{self.modality}-{content}{views}")

    def differences(self, other: dict[str, Any]) -> list[str]:
        """What `other`, as a file describes it, was made from instead, as parts of a message."""
        mine = {name: value for name, value in asdict(self).items() if name not in ("anchor", "source")}
        other = {**UNSAID, **other}
        differ = [name for name, value in mine.items() if other.get(name) != value]
        return [
            f"{MISMATCH_MESSAGES.get(name, f'another {name}')} "
            f"({name} {str(other.get(name))[:12] or 'none'}, here {str(mine[name])[:12] or 'none'})"
            for name in differ
            if IMPLIED_BY.get(name) not in differ
        ]
