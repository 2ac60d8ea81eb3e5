"""Licences of published weights, carried into the folders that are written from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bind.files.writing import write_text

LICENCE_FILE = "LICENSE.txt"


@dataclass(frozen=True, slots=True)
class Licence:
    """Terms of published weights.

    Attributes:
        model: whose weights they are, and of whom.
        name: of the licence, as it is usually written.
        spdx: as model cards have it.
        url: of its text.
        terms: what it asks for, in a sentence.
        source: where the weights are published.
        notes: what a reader of the card has to know of the conversion.
    """

    model: str
    name: str
    spdx: str
    url: str
    terms: str
    source: str
    notes: str

    def summary(self) -> str:
        """Two lines for a terminal and a file."""
        return f"{self.model}: {self.name}, {self.url}\n{self.terms}"


IMAGEBIND = Licence(
    model="ImageBind's weights (Meta Platforms, Inc.)",
    name="CC BY-NC-SA 4.0",
    spdx="cc-by-nc-sa-4.0",
    url="https://creativecommons.org/licenses/by-nc-sa/4.0/legalcode",
    terms=(
        "Not for commercial use; name the authors, say what was changed, and pass on what is made of them only under "
        "the same licence."
    ),
    source="https://github.com/facebookresearch/ImageBind",
    notes=(
        "Image and text towers are in the folder `anchor`, as a CLIP of transformers; audio, depth, thermal and IMU "
        "are encoders of bind. The weights were put into other files and names and not trained further; the two steps "
        "in time of the image stem were added up, and class tokens have their positions added.\n\n"
        "How the authors prepared depth, thermal and IMU is not published: for these the architecture is exact, and "
        "what is fed to them is a guess."
    ),
)

LANGUAGEBIND = Licence(
    model="LanguageBind's weights (PKU-YuanGroup)",
    name="CC BY-NC 4.0",
    spdx="cc-by-nc-4.0",
    url="https://creativecommons.org/licenses/by-nc/4.0/legalcode",
    terms="Not for commercial use; name the authors, and say what was changed.",
    source="https://github.com/PKU-YuanGroup/LanguageBind",
    notes=(
        "The encoders are LanguageBind's, with their low-rank adapters added to the weights; they were put into other "
        "names and not trained further. The anchor is the CLIP that they were made from, under its own licence: its "
        "text tower is the one that the checkpoints hold."
    ),
)


def write_licence(licence: Licence, folder: Path, *more: Path) -> None:
    """Write a card and the licence into `folder`, and the licence into the folders `more`, which may travel alone."""
    for place in (folder, *more):
        write_text(place / LICENCE_FILE, f"{licence.summary()}\nSource: {licence.source}\n")
    card = f"""---
license: {licence.spdx}
library_name: bindspace
---

# {licence.model}, converted for bind

Licence: [{licence.name}]({licence.url}). {licence.terms}

Source: {licence.source}

{licence.notes}
"""
    write_text(folder / "README.md", card)
