"""Small files for generated data sets, and a script run on one."""

import csv
import importlib
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from bind.data.sources.manifest import ManifestSource


def write_sound(path: Path, seconds: float = 0.1, rate_hz: int = 8000, silent: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(len(path.name)).uniform(-0.5, 0.5, round(seconds * rate_hz))
    soundfile.write(path, 0 * samples if silent else samples, rate_hz)
    return path


def write_picture(path: Path, size=(16, 12), colour="red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def write_csv(path: Path, header, rows, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding=options.pop("encoding", "utf-8")) as file:
        writer = csv.writer(file, **options)
        writer.writerows([*([header] if header else []), *rows])
    return path


def converted(script: str, source: Path, out: Path, *more: str) -> ManifestSource:
    importlib.import_module(script).main(["--source", str(source), "--out", str(out), *more])
    return ManifestSource(out / "manifest.jsonl")


def sizes(manifest: ManifestSource) -> dict[str, int]:
    return {split: len(manifest.samples(split)) for split in manifest.splits}


def dropped(out: Path) -> dict[str, str]:
    """Name → reason, of `dropped.tsv`."""
    lines = (out / "dropped.tsv").read_text(encoding="utf-8").splitlines()
    return {Path(name).name: reason for name, reason in (line.split("\t") for line in lines)}
