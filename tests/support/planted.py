"""The toy world as files, and one fault at a time planted into it."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import soundfile
from PIL import Image

from bind.data.sources.toy.imu import CHANNELS, UNITS
from bind.data.sources.toy.world import ToySource

NUM_SAMPLES = {"train": 18, "val": 6, "test": 6}
COLUMNS = [f"{channel} [{unit}]" for channel, unit in zip(CHANNELS, UNITS, strict=True)]


def write_world(folder: Path) -> Path:
    """Pictures, depth maps, sounds, motion and captions of 30 samples with groups and owners; gives the manifest."""
    source, rows = ToySource(num_train=NUM_SAMPLES["train"]), []
    for split, number in NUM_SAMPLES.items():
        indices = list(range(number))
        for sample, values in zip(
            source.samples(split)[:number], source.fetch(split, indices, source.modalities(), None), strict=True
        ):
            name = sample.key.replace("/", "-")
            Image.fromarray(values["image"][0]).save(folder / f"{name}.png")
            millimetres = np.rint(values["depth"][0] * 1000).astype(np.uint16)
            Image.fromarray(millimetres).save(folder / f"{name}-depth.png")
            sound = values["audio"][0]
            soundfile.write(folder / f"{name}.wav", sound.samples, sound.sample_rate_hz)
            write_motion(folder / f"{name}.csv", values["imu"][0].values, values["imu"][0].sample_rate_hz)
            rows.append(
                {
                    "key": name,
                    "split": split,
                    "group": sample.group,
                    "owner": f"object:{name}",
                    "image": f"{name}.png",
                    "depth": f"{name}-depth.png",
                    "audio": f"{name}.wav",
                    "imu": f"{name}.csv",
                    "text": values["text"],
                }
            )
    return write_rows(folder, rows)


def write_rows(folder: Path, rows: list[dict]) -> Path:
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest


def write_motion(path: Path, values: np.ndarray, rate_hz: float, columns=COLUMNS, time=None) -> None:
    time = np.arange(len(values)) / rate_hz if time is None else time
    table = {"time_seconds": time} | dict(zip(columns, np.asarray(values, dtype=np.float64).T, strict=True))
    pyarrow.csv.write_csv(pa.table(table), path)


class World:
    """A copy of the written toy world that a test may damage: `rows` are its manifest, `key(i)` names sample i."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = folder / "manifest.jsonl"
        self.rows = [json.loads(line) for line in self.manifest.read_text().splitlines()]

    def key(self, index: int) -> str:
        return self.rows[index]["key"]

    def path(self, index: int, modality: str) -> Path:
        return self.folder / self.rows[index][modality]

    def edit_rows(self, edit) -> None:
        edit(self.rows)
        write_rows(self.folder, self.rows)

    def edit_sound(self, index: int, edit, subtype="FLOAT") -> None:
        samples, rate_hz = soundfile.read(self.path(index, "audio"), dtype="float32")
        soundfile.write(self.path(index, "audio"), edit(samples), rate_hz, subtype=subtype)

    def edit_motion(self, index: int, edit, columns=COLUMNS, time=None) -> None:
        """`edit` the values (T, 6) and, where it is given, make other times of (T,)."""
        values, times = self.read_motion(index)
        values = edit(values)
        write_motion(self.path(index, "imu"), values, 0, columns, times[: len(values)] if time is None else time(times))

    def read_motion(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        table = pyarrow.csv.read_csv(self.path(index, "imu"))
        time, *channels = (column.to_numpy() for column in table.columns)
        return np.stack(channels, axis=1), time

    def edit_picture(self, index: int, edit, modality="image") -> None:
        path = self.path(index, modality)
        pixels = np.asarray(Image.open(path))
        Image.fromarray(edit(pixels)).save(path)
