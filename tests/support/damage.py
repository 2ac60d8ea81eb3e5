"""Damaged files for the fuzz of all readers: valid ones of every kind, and what may happen to them on their way."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import soundfile
from omegaconf import OmegaConf
from PIL import Image

from bind.data.sources.manifest import ManifestSource
from bind.data.sources.shards.patterns import read_listing
from bind.data.sources.shards.source import IndexedShardSource
from bind.data.sources.shards.stream import StreamingShardSource
from bind.data.sources.shards.tar_index import TarIndex, index_tar
from bind.data.transforms.depth import DepthTransform
from bind.data.transforms.thermal import ThermalTransform
from bind.evaluation import QueryResults
from bind.evaluation.figures import read_metrics
from bind.media.audio import open_audio
from bind.media.pictures import open_image, read_picture_size, read_pixels
from bind.media.sensor import open_sensor
from bind.media.video import open_video
from bind.model.binder import Binder
from bind.model.description import WEIGHTS_NAME
from bind.model.places import CONFIG_NAME
from bind.report.queries import read_queries, write_queries
from bind.runs.directory import prepare_run_dir
from bind.runs.ownership import confined
from bind.runs.parts import Parts, binder_config
from bind.runs.run_config import open_run
from bind.studies.compare import compare_runs
from bind.types import Clip, PackedFile
from support import runs, videos

RNG = np.random.default_rng(0)
SMOOTH = np.linspace(0, 255, 24 * 32).reshape(24, 32)
COLOURS = np.stack([SMOOTH, SMOOTH[::-1], RNG.integers(0, 256, (24, 32))], axis=-1).astype(np.uint8)
DEPTH_MM = (SMOOTH * 30 + 500).astype(np.uint16)
SOUND = (0.3 * np.sin(np.arange(4000) / 8) + 0.01 * RNG.standard_normal(4000)).astype(np.float32)
MOTION = RNG.standard_normal((200, 3)).astype(np.float32)
ABOUT_MOTION = json.dumps({"channels": ["a", "b", "c"], "units": ["g", "g", "g"], "sample_rate_hz": 50})
ROWS = [
    {"key": f"k{i}", "split": split, "group": f"g{i // 2}", "owner": f"person of {split}", "text": f"a dog {i}"}
    for i, split in enumerate(("train", "val") * 6)
]

Read = Callable[[Path], object]
"""Reads a file as the package does; the value is checked by who asks for it."""


@dataclass(frozen=True)
class Kind:
    """A kind of file: a valid one, and how it is read.

    `beside` are files that lie beside it, under its stem. A file that is `whole` is refused where it is cut off, or
    what it gives is the same: text that ends early can't be told from a shorter one.
    """

    suffix: str
    content: bytes
    reads: tuple[Read, ...]
    beside: Mapping[str, bytes] | None = None
    whole: bool = True


def _picture(format: str, pixels: np.ndarray = COLOURS, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **options)
    return file.getvalue()


def _sound(format: str, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, SOUND, 8000, subtype, format=format)
    return file.getvalue()


def _array(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def _motion_table() -> pa.Table:
    columns = {"time_seconds": np.arange(200) / 50, **{f"acc_{c} [g]": MOTION[:, i] for i, c in enumerate("xyz")}}
    return pa.table(columns)


def _parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def _csv(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pyarrow.csv.write_csv(table, file)
    return file.getvalue()


def _tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for row in ROWS:
            meta = {"key": row["key"], "split": row["split"], "owners": [row["owner"]], "spans": {"a.png": [0, 1]}}
            members = {"meta.json": json.dumps(meta).encode(), "text.txt": row["text"].encode(), "image.png": b"png"}
            for suffix, content in members.items():
                info = tarfile.TarInfo(f"{row['key']}.{suffix}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def _read_shown(path: Path) -> object:
    return np.asarray(open_image(path))


def _read_packed_picture(path: Path) -> object:
    return np.asarray(open_image(Clip(PackedFile(str(path), path.read_bytes()))))


def _read_numbers(path: Path) -> object:
    return read_pixels(Clip(path))


def _read_depth(path: Path) -> object:
    return DepthTransform(size_px=16)(Clip(path), None).numpy()


def _read_packed_depth(path: Path) -> object:
    return DepthTransform(size_px=16)(Clip(PackedFile(str(path), path.read_bytes())), None).numpy()


def _read_thermal(path: Path) -> object:
    return ThermalTransform(size_px=16, low=0.0, high=50.0)(Clip(path), None).numpy()


def _read_sound(path: Path) -> object:
    with open_audio(Clip(path)) as recording:
        assert recording.sample_rate_hz > 0
        return recording.read(0, recording.num_frames)


def _read_part_of_sound(path: Path) -> object:
    with open_audio(Clip(path, 0.1, 0.3)) as recording:
        return recording.read(0, recording.num_frames)


def _read_video(path: Path) -> object:
    with open_video(Clip(path)) as video:
        return np.stack(video.frames([0.0, video.seconds / 2]))


def _read_sensor(path: Path) -> object:
    recording = open_sensor(Clip(path))
    assert len(recording.channels) == len(recording.units) > 0
    assert recording.sample_rate_hz > 0
    values_TC = recording.read(0, recording.num_frames)
    assert values_TC.shape == (recording.num_frames, len(recording.channels))
    return values_TC


def _read_packed_sensor(path: Path) -> object:
    sidecar = path.with_suffix(".json")
    return open_sensor(Clip(PackedFile(str(path), path.read_bytes(), sidecar.read_bytes()))).read(0, 1)


def _read_manifest(path: Path) -> object:
    source = ManifestSource(path)
    for split in source.splits:
        rows = source.fetch(split, range(len(source.samples(split))), source.modalities(), None)
        assert all(isinstance(text, str) and text for row in rows for text in row.get("text", ()))
    return [[(sample.key, sample.values) for sample in source.samples(split)] for split in source.splits]


def _read_tar(path: Path) -> object:
    with path.open("rb") as file:
        index, _ = index_tar(file, str(path))
    assert len(index.first) == len(index) + 1
    return index.key


def _read_shard(path: Path) -> object:
    source = IndexedShardSource(str(path), cache_dir=path.parent / "indices")
    return [
        source.fetch(split, range(len(source.samples(split))), source.modalities(), None) for split in source.splits
    ]


def _read_stream(path: Path) -> object:
    source = StreamingShardSource(str(path), samples_per_shard=len(ROWS))
    return source.fetch("train", range(len(ROWS)), ["text"], None)


def _read_index(path: Path) -> object:
    return TarIndex.from_bytes(path.read_bytes(), str(path)).key


def _read_listing(path: Path) -> object:
    return read_listing(path.read_bytes(), str(path))


@contextlib.contextmanager
def _in_folder(path: Path, name: str, others: Mapping[str, Path]) -> Iterator[Path]:
    """A folder, named after `path`, that has its content as the file `name` and links to `others`."""
    with tempfile.TemporaryDirectory(prefix=f"{path.stem}-", dir=path.parent) as folder:
        for other, source in {**others, name: path}.items():
            target = Path(folder) / other
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        yield Path(folder)


def _reads_in_folder(name: str, others: Mapping[str, Path], read: Read) -> Read:
    def read_there(path: Path) -> object:
        with _in_folder(path, name, others) as folder:
            return read(folder)

    read_there.__name__ = f"{read.__name__} of {name}"
    return read_there


def _embed_by_binder(folder: Path) -> object:
    return Binder.load(folder).embed("depth", [np.full((8, 8), 2.0, np.float32)]).numpy()


def _read_config(folder: Path) -> object:
    run_dir, config = open_run(str(folder))
    return confined(config, run_dir, [])["modalities"]


def _read_parts_of_a_run(folder: Path) -> object:
    run_dir, config = open_run(str(folder))
    parts = Parts.load(run_dir, config, trust=[])
    return [len(source.samples("val")) for source in parts.datamodule.sources]


def _read_metrics(path: Path) -> object:
    return read_metrics(path)


def _read_queries(path: Path) -> object:
    split, tasks = read_queries(path)
    return [split, *((name, task.keys, task.pool) for name, task in tasks.items())]


def _compare(folder: Path) -> object:
    return compare_runs(folder, folder, "test").differences


def _of_a_run(folder: Path) -> dict[str, Kind]:
    """What a training leaves: a binder, its config, figures and the results of queries."""
    parts: dict[str, Any] = {
        "modalities": ["depth"],
        "encoder.depth": {"_target_": "bind.encoders.map_cnn.MapCNN", "width": 4, "num_layers": 2},
        "data.num_train": 64,
        "data.num_val_queries": 1,
        "data.num_test_queries": 1,
    }
    cfg = runs.config("debug=tiny", run_dir=str(folder / "run"), **parts)
    _, config = prepare_run_dir(cfg)
    (folder / "run" / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(config)))
    binder = Binder.from_config(binder_config(config)).save(folder / "run" / "binder")
    description = json.loads((binder / CONFIG_NAME).read_text())
    description.pop("checksums")  # who changes a file on purpose can change them too
    (binder / CONFIG_NAME).write_text(json.dumps(description))
    results = QueryResults(
        title="depth → image",
        keys=[f"k{i}" for i in range(20)],
        values_Q=np.zeros(20, np.int64),
        clusters_Q=np.arange(20),
        per_query={"R@1": RNG.integers(0, 2, 20).astype(float), "mean_rank": RNG.uniform(1, 9, 20)},
        resampled="samples",
        pool=(20, "f" * 16),
    )
    write_queries(folder / "run" / "queries.parquet", "test", {"depth_to_image": results})
    figures = {"R@1": 0.5, "ci95_R@1": [0.4, 0.6], "queries": 20, "pool": 20}
    metrics = {"split": "test", "anchor": {"name": "toy"}, "retrieval": {"depth_to_image": figures}, "seconds": {}}
    of_binder = {f"binder/{name}": binder / name for name in (CONFIG_NAME, WEIGHTS_NAME)}
    config_file, queries = folder / "run" / "config.yaml", folder / "run" / "queries.parquet"

    def reads(name: str, *readers: Read) -> tuple[Read, ...]:
        others = {**of_binder, "config.yaml": config_file}
        return tuple(_reads_in_folder(name, others, read) for read in readers)

    return {
        "binder.json": Kind(
            "json", (binder / CONFIG_NAME).read_bytes(), reads(f"binder/{CONFIG_NAME}", _embed_by_binder)
        ),
        "model.safetensors": Kind(
            "safetensors", (binder / WEIGHTS_NAME).read_bytes(), reads(f"binder/{WEIGHTS_NAME}", _embed_by_binder)
        ),
        "config.yaml": Kind(
            "yaml", config_file.read_bytes(), reads("config.yaml", _read_config, _read_parts_of_a_run), whole=False
        ),
        "metrics.json": Kind("json", json.dumps(metrics).encode(), (_read_metrics,)),
        "queries.parquet": Kind("parquet", queries.read_bytes(), (_read_queries, *reads("queries.parquet", _compare))),
    }


def kinds(folder: Path) -> dict[str, Kind]:
    """Every kind of file that the package reads; `folder` is for what can only be made on disk."""
    (folder / "a.tar").write_bytes(_tar())
    with (folder / "a.tar").open("rb") as file:
        index, _ = index_tar(file, "a.tar")
    frames = [videos.plain((9 * i, 99, 0)) for i in range(12)]
    mp4, avi = (
        videos.write_video(folder / f"a.{suffix}", frames, videos.tones([400], 1.2)) for suffix in ("mp4", "avi")
    )
    shown = (_read_shown, _read_packed_picture, read_picture_size, _read_numbers)
    by_picture = {
        "png": _picture("PNG"),
        "jpg": _picture("JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"),
        "webp": _picture("WEBP"),
        "tif": _picture("TIFF"),
        "tiff": _picture("TIFF", compression="tiff_lzw"),
        "bmp": _picture("BMP"),
        "gif": _picture("GIF"),
        "jp2": _picture("JPEG2000"),
        "ppm": _picture("PPM"),
        "avif": _picture("AVIF"),
    }
    made = {f"picture.{suffix}": Kind(suffix, content, shown) for suffix, content in by_picture.items()}
    made["grey picture"] = Kind("png", _picture("PNG", (SMOOTH * 257).astype(np.uint16)), shown)
    transparent = np.dstack([COLOURS, COLOURS[..., 0]])
    made["transparent picture"] = Kind("png", _picture("PNG", transparent), shown)
    made["plain pgm"] = Kind("pgm", b"P2 4 3 999\n" + b" ".join(b"%d" % n for n in range(12)), shown, whole=False)
    made["depth.png"] = Kind("png", _picture("PNG", DEPTH_MM), (_read_depth, _read_packed_depth))
    made["depth.npy"] = Kind("npy", _array((DEPTH_MM / 1000).astype(np.float32)), (_read_depth, _read_packed_depth))
    made["thermal.npy"] = Kind("npy", _array(SMOOTH.astype(np.float32) / 5), (_read_thermal,))
    made["thermal.tif"] = Kind("tif", _picture("TIFF", SMOOTH.astype(np.uint8)), (_read_thermal,))
    by_sound = {
        "wav": "PCM_16", "flac": "PCM_16", "ogg": "VORBIS", "mp3": "MPEG_LAYER_III", "aiff": "PCM_16",
        "caf": "PCM_16", "w64": "PCM_16", "nist": "PCM_16",
    }  # fmt: skip
    for name, subtype in by_sound.items():
        made[f"sound.{name}"] = Kind(name, _sound(name.upper(), subtype), (_read_sound, _read_part_of_sound))
    made["opus"] = Kind("opus", _sound("OGG", "OPUS"), (_read_sound,))
    made["float sound"] = Kind("wav", _sound("WAV", "FLOAT"), (_read_sound,))
    made["sound track of mp4"] = Kind("mp4", mp4.read_bytes(), (_read_sound,))
    made["sound track of avi"] = Kind("avi", avi.read_bytes(), (_read_sound,))
    made["video.mp4"] = Kind("mp4", mp4.read_bytes(), (_read_video, _read_shown), whole=False)
    made["video.avi"] = Kind("avi", avi.read_bytes(), (_read_video,), whole=False)
    made["sensor.npy"] = Kind(
        "npy", _array(MOTION), (_read_sensor, _read_packed_sensor), {".json": ABOUT_MOTION.encode()}
    )
    made["sensor's json"] = Kind("json", ABOUT_MOTION.encode(), (), {".npy": _array(MOTION)}, whole=False)
    made["sensor.csv"] = Kind("csv", _csv(_motion_table()), (_read_sensor,), whole=False)
    made["sensor.parquet"] = Kind("parquet", _parquet(_motion_table()), (_read_sensor,))
    rows = pa.Table.from_pylist(ROWS)
    lines = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    made["manifest.csv"] = Kind("csv", _csv(rows), (_read_manifest,), whole=False)
    made["manifest.jsonl"] = Kind("jsonl", lines, (_read_manifest,), whole=False)
    made["manifest.parquet"] = Kind("parquet", _parquet(rows), (_read_manifest,))
    made["shard"] = Kind("tar", _tar(), (_read_tar, _read_shard, _read_stream), whole=False)
    made["index of a shard"] = Kind("index.parquet", index.to_bytes(), (_read_index,))
    made |= _of_a_run(folder)
    made["list of shards"] = Kind("json", b'{"shards": ["train-000000.tar", "val-000000.tar"]}', (_read_listing,))
    return made


def damage(content: bytes, other: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """What happened to a file, and its content now; `other` is that of a file of another kind."""
    how = str(rng.choice(["cut off", "bits", "bits", "head", "zeros", "gap", "twice", "swapped", "tail", "bytes"]))
    damaged = bytearray(content)
    size = len(damaged)
    start = int(rng.integers(size))
    length = int(rng.integers(1, max(2, size // 4)))
    if how == "cut off":
        return how, content[:start]
    if how == "swapped":
        return how, other
    if how in ("bits", "head"):
        for place in rng.integers(min(size, 128) if how == "head" else size, size=rng.integers(1, 9)):
            damaged[place] ^= 1 << int(rng.integers(8))
    elif how == "zeros":
        damaged[start : start + length] = bytes(len(damaged[start : start + length]))
    elif how == "gap":
        del damaged[start : start + length]
    elif how == "twice":
        damaged[start:start] = damaged[start : start + length]
    elif how == "tail":
        damaged += rng.bytes(length)
    else:
        place = int(rng.integers(size))
        damaged[place : place + 4] = rng.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\x80", b"[[[["])
    return how, bytes(damaged)
