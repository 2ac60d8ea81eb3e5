"""A sensor of your own in one file: `python examples/own_sensor.py [FOLDER]` makes data, trains, and asks in words.

The sensor is a colour sensor: three photodiodes behind a red, a green and a blue filter, read 50 times. Its encoder is
trained with pictures only, against the small anchor that ships with bind. Colours in words are met after training.
"""

import csv
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import bind
from bind.data.sources.toy.image import COLOUR_RGB
from bind.data.sources.toy.world import FACTORS, ToySource
from bind.types import Clip

COLOURS = FACTORS["colour"]
NUM_SAMPLES = {"train": 512, "val": 96, "test": 96}


class LightTransform:
    """A `.npy` of readings (50, 3) → float32 (3, 50); in training, as if the lamp were brighter or darker."""

    def __call__(self, value: Clip, rng: np.random.Generator | None) -> Tensor:
        readings_TC = np.load(value.file, allow_pickle=False).astype(np.float32)
        if readings_TC.ndim != 2 or readings_TC.shape[1] != 3:
            raise ValueError(f"{value}: {readings_TC.shape} are no readings (T, 3) of three photodiodes")
        if rng is not None:  # in training only, and by this generator only, so that a run can be repeated
            readings_TC = readings_TC * np.float32(rng.uniform(0.7, 1.4))
        return torch.from_numpy(readings_TC.T.copy())

    def collate(self, items: list[Tensor]) -> Tensor:
        return torch.stack(items)


class LightEncoder(nn.Module):
    """Readings (B, 3, T) → features (B, num_features) of their mean colour."""

    def __init__(self, *, width: int = 64) -> None:
        super().__init__()
        self.num_features = width
        self.layers = nn.Sequential(
            nn.Linear(3, width), nn.LayerNorm(width), nn.GELU(), nn.Linear(width, width), nn.GELU()
        )

    def forward(self, x_BCT: Tensor) -> Tensor:
        mean_BC = x_BCT.mean(dim=2)
        return self.layers(mean_BC / mean_BC.norm(dim=1, keepdim=True))  # the colour without the brightness


def write_data(folder: Path) -> Path:
    """Pictures of the toy world with what the sensor would have measured in front of each; returns the table."""
    world = ToySource(num_train=NUM_SAMPLES["train"])
    rng = np.random.default_rng(0)
    with (folder / "table.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["key", "split", "group", "owner", "image", "light"])
        for split, num_samples in NUM_SAMPLES.items():
            colours = world.factor_table(split)[:num_samples, list(FACTORS).index("colour")]
            pictures = world.fetch(split, range(num_samples), ["image"], None)
            for index, (colour, picture) in enumerate(zip(colours, pictures, strict=True)):
                name = f"{split}_{index:03d}"
                Image.fromarray(picture["image"][0]).save(folder / f"{name}.png")
                light = rng.uniform(0.3, 1.0) * COLOUR_RGB[colour] / 255
                np.save(folder / f"{name}.npy", light + rng.normal(0, 0.05, (50, 3)))
                table.writerow([name, split, COLOURS[colour], name, f"{name}.png", f"{name}.npy"])
    return folder / "table.csv"


def main(folder: Path) -> float:
    """Train on what `write_data` made; returns the share of test readings whose colour is named rightly."""
    run = bind.train(
        [
            "data=manifest",
            f"data.manifest={write_data(folder)}",
            "modalities=[light]",
            "+transform.light._target_=own_sensor.LightTransform",
            "+encoder.light._target_=own_sensor.LightEncoder",
            "+pairs.light-image.weight=1",
            "trainer.max_epochs=10",
            f"run_dir={folder / 'run'}",
        ]
    )
    z_colours = run.binder.embed("text", [f"a {colour} thing" for colour in COLOURS])
    with (folder / "table.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    nearest = (run.binder.embed("light", [folder / row["light"] for row in rows]) @ z_colours.T).argmax(dim=1)
    num_right = sum(COLOURS[n] == row["group"] for n, row in zip(nearest.tolist(), rows, strict=True))
    print(f"{num_right} of {len(rows)} readings find the word of their colour; by chance 1 in {len(COLOURS)}")
    return num_right / len(rows)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]).resolve())
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made))
