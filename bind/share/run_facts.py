"""Facts of a finished run that its model card says: data, figures, licences, hardware; what is unknown is None."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bind.data.counts import Counts
from bind.evaluation.fused import fused_modalities
from bind.evaluation.queries import retrieval_key
from bind.files.reading import read_bytes
from bind.model.binder import Binder
from bind.model.description import HUB_ID, TOY
from bind.model.licence import LICENCE_FILE
from bind.types import Modality, Pair

IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9.+-]*", re.ASCII)
MAX_LICENCE_BYTES = 2**20
LICENCE_OF_TOY = "apache-2.0"
"""The toy's weights come with bind, under its licence."""


@dataclass(frozen=True)
class Licences:
    """Licences as identifiers of model cards (`apache-2.0`); None: nobody has said which.

    Attributes:
        weights: of what is shared.
        anchor: of the model whose space it is.
        data: of what was trained on.
        texts: name of a part → text that came with its weights, which has to travel along.

    Raises:
        ValueError: for one that is no identifier.
    """

    weights: str | None = None
    anchor: str | None = None
    data: str | None = None
    texts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key, licence in self._by_key().items():
            if licence is not None and not IDENTIFIER.fullmatch(licence):
                raise ValueError(
                    f"{key}={licence}: give the identifier that model cards have, such as apache-2.0, cc-by-nc-4.0, or "
                    "other for one that is on no list"
                )

    @property
    def unknown(self) -> list[str]:
        """The keys of those that nobody has said."""
        return [f"{key}=" for key, licence in self._by_key().items() if licence is None]

    def _by_key(self) -> dict[str, str | None]:
        return {"licence": self.weights, "anchor_licence": self.anchor, "data_licence": self.data}


@dataclass(frozen=True)
class RunFacts:
    """What a model card is written from.

    Attributes:
        name: of the model.
        repo: ORG/NAME on the hub; None: only a folder.
        binder: what is shared.
        config: of its run.
        metrics: what the run's `metrics.json` holds.
        pairs: what its loss pulled together.
        counts: split → modality → counts of its data; None: the data were not at hand.
        licences: of weights, anchor and data.
        dataset: the data's name on the hub, ORG/NAME; None: it has none that is known.
        packages: besides bind, those whose classes the binder is built of.
        about: what it is for, in a sentence or several.
    """

    name: str
    repo: str | None
    binder: Binder
    config: Mapping[str, Any]
    metrics: Mapping[str, Any]
    pairs: Sequence[Pair]
    counts: Mapping[str, Mapping[Modality | None, Counts]] | None
    licences: Licences
    dataset: str | None = None
    packages: Sequence[str] = ()
    about: str | None = None

    @property
    def num_leaked(self) -> int:
        """Evaluated samples that share something with what was trained on, as far as the audit has found."""
        return int((self.metrics.get("leakage") or {}).get("leaked", 0))

    @property
    def base_models(self) -> list[str]:
        """Hub ids of the models that anchor and encoders are made of."""
        parts = [self.config["anchor"], *(self.config["encoder"].get(m) or {} for m in self.binder.encoders)]
        names = [part.get("pretrained") for part in parts]
        return list(
            dict.fromkeys(n for n in names if isinstance(n, str) and HUB_ID.fullmatch(n) and not Path(n).exists())
        )

    @property
    def sources(self) -> list[str]:
        """What the data are called: a table by its file and folder, anything else by its name in the config."""
        data = self.config["data"]
        tables = {name: {"manifest": path} for name, path in (data.get("manifests") or {}).items()}
        named = {name: options for name, options in (data.get("sources") or {}).items() if options} | tables
        return [_source_name(name, options) for name, options in named.items()]

    def pairs_title(self, kind: str) -> str:
        """The measured pairs of a kind, `trained` or `emergent`, such as "audio with image"; "" where there is none."""
        fused = fused_modalities(self.binder)
        measured = self.figures_by_pair()["retrieval"]
        pairs = [
            frozenset(pair)
            for pair, entry in measured.items()
            if entry.get("kind") == kind and not fused.keys() & set(pair)
        ]
        order = {name: place for place, name in enumerate((*self.binder.encoders, *self.binder.anchor.modalities))}
        return ", ".join(" with ".join(sorted(pair, key=order.__getitem__)) for pair in dict.fromkeys(pairs))

    def figures_by_pair(self) -> dict[str, Any]:
        """The metrics with retrieval under (query, pool), as tables take them."""
        fused = fused_modalities(self.binder)
        names = (*self.binder.modalities, *fused)
        pairs = {retrieval_key(a, b): (a, b) for a in names for b in names if a != b}
        retrieval = {pairs[key]: entry for key, entry in self.metrics["retrieval"].items() if key in pairs}
        return {**self.metrics, "retrieval": retrieval}


def _source_name(name: str, options: Mapping[str, Any]) -> str:
    place = options.get("manifest") or options.get("annotations")
    if isinstance(place, str):
        return f"{name} ({'/'.join(Path(place).parts[-2:])})"
    return f"{name} ({str(options.get('_target_', '')).rpartition('.')[2]})" if options.get("_target_") else name


def licence_of_anchor(config: Mapping[str, Any]) -> str | None:
    """The anchor's licence where bind itself knows it."""
    return LICENCE_OF_TOY if config["anchor"].get("pretrained") == TOY else None


def licence_texts(places: Mapping[str, str]) -> dict[str, str]:
    """Name of a part → the licence that lies beside the weights it was made of, as `bindspace convert` writes it.

    Args:
        places: name of a part → folder or file of its weights.
    """
    texts = {}
    for name, place in places.items():
        path = Path(place).expanduser()
        files = [folder / LICENCE_FILE for folder in (path, path.parent) if (folder / LICENCE_FILE).is_file()]
        if files:
            texts[name] = read_bytes(files[0], max_bytes=MAX_LICENCE_BYTES).decode(errors="replace").strip()
    return texts
