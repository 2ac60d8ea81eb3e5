"""The data of a report's script, ready for JSON: a split's points with their samples, and the galleries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import torch

from bind.evaluation.fused import NO_FUSION, FusedModalities, modality_title
from bind.report.media import as_media
from bind.report.nearest import Gallery
from bind.report.sample_words import caption_of
from bind.report.scatter import projections, shown_samples
from bind.report.values import SplitValues
from bind.types import Modality

HitConcepts = dict[tuple[Modality, int, Modality, int], list[tuple[str, float]]]
"""Modality and position of a query, and of a hit → the words that both share, and what each adds to their cosine."""

NO_NOTES: Mapping[tuple[Modality, Modality], str] = MappingProxyType({})

MAX_MEDIA_BYTES = 10_000_000
SAMPLES_AT_A_TIME = 50


class ShownValues(Protocol):
    """Values that a page shows, by modality and position."""

    def fetch(self, modality: Modality, positions: Sequence[int]) -> list[Any]:
        """What `as_media` takes of each."""


class Media:
    """The media of a page, each once; `num_bytes` is roughly their size."""

    def __init__(self, values: ShownValues) -> None:
        self.values = values
        self.items: list[dict[str, Any]] = []
        self.num_bytes = 0
        self._numbers: dict[tuple[Modality, int], int] = {}

    def numbers(self, modality: Modality, positions: Sequence[int]) -> list[int]:
        """Places in `items` of the values behind these vectors, added where they are new."""
        new = [p for p in dict.fromkeys(positions) if (modality, p) not in self._numbers]
        for position, value in zip(new, self.values.fetch(modality, new) if new else (), strict=True):
            self._numbers[modality, position] = len(self.items)
            self.items.append(as_media(value))
            self.num_bytes += len(str(self.items[-1]))
        return [self._numbers[modality, p] for p in positions]

    def add_text(self, text: str) -> int:
        """The place in `items` of a text that is no sample's."""
        self.items.append(as_media(text))
        return len(self.items) - 1


def page_media(
    values: SplitValues,
    modalities: Sequence[Modality],
    galleries: Sequence[Gallery],
    num_samples: int,
    *,
    fused: FusedModalities = NO_FUSION,
    concepts: HitConcepts | None = None,
    captions: Mapping[tuple[Modality, int], str] | None = None,
    notes: Mapping[tuple[Modality, Modality], str] = NO_NOTES,
    labels: Sequence[str] = (),
) -> dict[str, Any]:
    """The galleries, and up to `num_samples` samples with all of their vectors as points; none where that is 0.

    Samples are drawn with a fixed seed, and fewer where their media take more than `MAX_MEDIA_BYTES`.

    Args:
        modalities: those of the split whose vectors are shown, in the order of the legend.
        concepts: why a hit was found.
        captions: what a language model says of queries: modality and place among its vectors → words.
        notes: query and pool of a gallery → a sentence above it.
        labels: classes in the order in which they are listed; others follow, the most frequent first.
    """
    media = Media(values)
    inputs = {modality: tuple(fused.get(modality, (modality,))) for modality in modalities}
    titles = {modality: modality_title(modality, fused) for modality in modalities}
    shown = [_gallery(gallery, values, media, concepts or {}, captions or {}) for gallery in galleries]
    for gallery, of_page in zip(galleries, shown, strict=True):
        if (gallery.query, gallery.pool) in notes:
            of_page["note"] = notes[gallery.query, gallery.pool]
    scatter = _scatter(values, inputs, titles, media, num_samples) if num_samples else None
    if scatter:
        scatter["labels"] = list(labels)
    return {"galleries": shown, "scatter": scatter, "media": media.items}


def _gallery(
    gallery: Gallery,
    values: SplitValues,
    media: Media,
    concepts: HitConcepts,
    captions: Mapping[tuple[Modality, int], str],
) -> dict[str, Any]:
    def cell(modality: Modality, position: int) -> dict[str, Any]:
        row = int(values.split.rows[modality][position])
        return {
            "key": values.sample(row).key,
            "caption": caption_of(values.sample(row)),
            "facts": values.facts(modality, position),
            "media": media.numbers(modality, [position])[0],
        }

    def word(position: int) -> dict[str, Any]:
        text = gallery.words[position]
        return {"key": text, "caption": "", "facts": [], "media": media.add_text(text)}

    def query_cell(position: int) -> dict[str, Any]:
        shown = cell(gallery.query, position)
        said = captions.get((gallery.query, position))
        return shown if said is None else shown | {"facts": [f"in words: {said or '(nothing)'}", *shown["facts"]]}

    media.numbers(gallery.query, [query.position for query in gallery.rows])
    if not gallery.words:
        media.numbers(gallery.pool, [hit.position for query in gallery.rows for hit in query.hits])
    rows = [
        {
            "query": query_cell(query.position),
            "hits": [
                (word(hit.position) if gallery.words else cell(gallery.pool, hit.position))
                | {"score": round(hit.score, 4), "relevant": hit.relevant}
                | _why(concepts.get((gallery.query, query.position, gallery.pool, hit.position), ()))
                for hit in query.hits
            ],
        }
        for query in gallery.rows
    ]
    return {"query": gallery.query, "pool": gallery.pool, "rows": rows}


def _why(concepts: Sequence[tuple[str, float]]) -> dict[str, Any]:
    """The words that say why a hit was found; nothing where none do."""
    return {"why": [[word, round(value, 3)] for word, value in concepts]} if concepts else {}


def _scatter(
    values: SplitValues,
    inputs: Mapping[Modality, Sequence[Modality]],
    titles: Mapping[Modality, str],
    media: Media,
    num_samples: int,
) -> dict[str, Any]:
    split = values.split
    unfused = [m for m, inputs_m in inputs.items() if len(inputs_m) == 1]
    drawn = shown_samples(len(split.keys), num_samples)
    samples: list[dict[str, Any]] = []
    for start in range(0, len(drawn), SAMPLES_AT_A_TIME):
        if samples and media.num_bytes > MAX_MEDIA_BYTES:
            break
        rows = drawn[start : start + SAMPLES_AT_A_TIME]
        media_of_row: dict[int, dict[Modality, list[int]]] = {row: {} for row in rows}
        for modality in unfused:
            positions = torch.isin(split.rows[modality], torch.tensor(rows)).nonzero().flatten()
            numbers = media.numbers(modality, positions.tolist())
            for row, number in zip(split.rows[modality][positions].tolist(), numbers, strict=True):
                media_of_row[row].setdefault(modality, []).append(number)
        samples += [_sample(values, row) | {"media": media_of_row[row]} for row in rows]
    place = {row: number for number, row in enumerate(drawn[: len(samples)])}
    shown = {m: torch.isin(split.rows[m], torch.tensor(list(place))).nonzero().flatten() for m in inputs}
    points: dict[str, list[int]] = {"modality": [], "sample": [], "value": []}
    for number, (modality, positions) in enumerate(shown.items()):
        rows_m = split.rows[modality]
        points["modality"] += [number] * len(positions)
        points["sample"] += [place[row] for row in rows_m[positions].tolist()]
        points["value"] += (positions - torch.searchsorted(rows_m, rows_m[positions])).tolist()
    return {
        "split": values.split_name,
        "num_samples": len(split.keys),
        "modalities": [{"name": m, "title": titles[m], "parts": list(inputs_m)} for m, inputs_m in inputs.items()],
        "samples": samples,
        "points": points,
        "projections": [
            {"name": p.name, "note": p.note, "x": _rounded(p.points_n2[:, 0]), "y": _rounded(p.points_n2[:, 1])}
            for p in projections(split, shown)
        ],
    }


def _sample(values: SplitValues, row: int) -> dict[str, Any]:
    sample = values.sample(row)
    return {"key": sample.key, "group": sample.group, "label": sample.label, "source": values.source_name(row)}


def _rounded(x: torch.Tensor) -> list[float]:
    return [round(value, 4) for value in x.tolist()]
