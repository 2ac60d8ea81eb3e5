"""Report pages of splits with made-up embeddings: real sources and transforms, no training."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch.nn.functional import normalize

from bind.data.counts import count_samples
from bind.data.sources.toy.world import ToySource
from bind.data.transforms.audio import AudioTransform
from bind.data.transforms.imu import ImuTransform
from bind.evaluation.embedded import EmbeddedSplit
from bind.report.data_table import data_cells
from bind.report.html import write_report
from bind.report.nearest import Gallery, GalleryHit, GalleryQuery
from bind.report.page_media import page_media
from bind.report.values import SplitValues
from support import runs

DIM = 16
METRICS = {
    "split": "test",
    "anchor": {"name": "toy", "fingerprint": "0123456789abcdef"},
    "retrieval": {
        ("audio", pool): {
            "R@1": r1, "R@5": 0.75, "R@10": 0.875, "median_rank": rank, "mrr": 0.6, "map": 0.55, "queries": 20,
            "pool": 10, "chance_R@1": 0.1, "ci95_R@1": [r1 - 0.1, r1 + 0.1], "kind": "trained",
        }
        for pool, r1, rank in (("image", 0.5, 2), ("text", 0.25, 11), ("imu", 0.75, 1))
    },
    "zero_shot": {},
}  # fmt: skip
TRANSFORMS = {"audio": AudioTransform(window_seconds=0.25), "imu": ImuTransform(window_seconds=0.5)}


def embedded(source: Any, split_name: str = "test", seed: int = 0) -> EmbeddedSplit:
    """Random unit vectors, one for each value of each sample, a cluster per modality; and a sum of two of them."""
    generator = torch.Generator().manual_seed(seed)
    samples = source.samples(split_name)
    z, rows = {}, {}
    for modality in source.modalities():
        fetched = source.fetch(split_name, range(len(samples)), [modality], None)
        counts = torch.tensor([len(values.get(modality, ())) for values in fetched])
        rows[modality] = torch.arange(len(samples)).repeat_interleave(counts)
        around = torch.randn(DIM, generator=generator)
        z[modality] = normalize(around + torch.randn(len(rows[modality]), DIM, generator=generator), dim=1)
    groups = torch.tensor([sample.group_id for sample in samples])
    return EmbeddedSplit([sample.key for sample in samples], groups, z, rows)


def values_of(source: Any) -> SplitValues:
    return SplitValues(embedded(source), [source], "test", TRANSFORMS)


def one_gallery(split: EmbeddedSplit, query: str, pool: str) -> Gallery:
    """The first two queries, each with the first three of the pool."""
    rows = [GalleryQuery(q, [GalleryHit(p, 0.5 - 0.1 * p, p == q) for p in range(3)]) for q in range(2)]
    assert min(len(split.rows[query]), len(split.rows[pool])) >= 3
    return Gallery(query, pool, rows)


def write_page(
    folder: Path,
    source: Any,
    num_samples: int,
    *,
    config: str = "",
    pairs: Any = (("audio", "image"), ("imu", "text")),
    words: Sequence[str] = (),
    pngs: Mapping[str, Path] = MappingProxyType({}),
    with_data: bool = False,
    notes: Mapping[tuple[str, str], str] = MappingProxyType({}),
    labels: Sequence[str] = (),
) -> Path:
    """A page with a gallery for each of `pairs`, and one of `words` for a sound; `with_data` the table of the data."""
    values = values_of(source)
    galleries = [one_gallery(values.split, *pair) for pair in pairs]
    if words:
        hits = [GalleryHit(k, 0.5 - 0.1 * k, k == 1) for k in range(len(words))]
        galleries.append(Gallery("audio", "words", [GalleryQuery(0, hits)], words))
    path = folder / "a run" / "report.html"
    path.parent.mkdir(exist_ok=True)
    media = page_media(values, source.modalities(), galleries, num_samples, notes=notes, labels=labels)
    made_with = {"config_yaml": config, "seed": 7, "command": "python train.py", "versions": {"torch": "2"}}
    data = data_cells(count_samples([source], ["train", "test"]), source.modalities()) if with_data else None
    write_report(path, METRICS, pngs, media, data=data, **made_with)
    return path


def toy_page(folder: Path, num_samples: int = 40) -> Path:
    return write_page(folder, ToySource(num_test_queries=1), num_samples)


def data_of(path: Path) -> Any:
    """What the page's script reads."""
    text = path.read_text(encoding="utf-8")
    start = text.index('id="page-data">') + len('id="page-data">')
    return json.loads(text[start : text.index("</script>", start)])


def nasty_manifest(recordings: Path, folder: Path, text: str) -> Path:
    """The recordings of `runs.write_recordings` with `text` in every name and caption."""
    rows = runs.read_manifest(recordings)
    for row in rows:
        row.update(key=f"{row['key']}{text}", label=f"{row['label']}{text}", text=[f"{t}{text}" for t in row["text"]])
        row.update({m: str(recordings.parent / row[m]) for m in ("audio", "imu", "image") if m in row})
    return runs.write_manifest(folder / "nasty.jsonl", rows)
