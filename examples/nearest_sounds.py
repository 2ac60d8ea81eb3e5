"""The sounds nearest to a picture: `python examples/nearest_sounds.py RUN [--picture FILE --sounds FOLDER]`.

RUN is a run directory with audio, such as the one that `python train.py` made. Without a picture and sounds, those of
the toy world's test split take their place.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import soundfile
from PIL import Image

from bind import Binder
from bind.data.sources.toy.world import NUM_TEST_COMBINATIONS, ToySource
from bind.metrics import top_k

ENDINGS = {".wav", ".flac", ".ogg", ".mp3"}


def nearest_sounds(binder: Binder, picture: Path, sounds: Sequence[Path], k: int = 5) -> list[tuple[float, Path]]:
    """The `k` sounds with the highest cosine to the picture, best first."""
    z_picture = binder.embed("image", [picture])
    z_sounds = binder.embed("audio", sounds)
    cosines, places = top_k(z_picture, z_sounds, min(k, len(sounds)))
    return [(cosine, sounds[place]) for cosine, place in zip(cosines[0].tolist(), places[0].tolist(), strict=True)]


def write_toy_data(folder: Path) -> Path:
    """A sound of every test combination, named by what is heard, and the picture of the first; returns the picture."""
    world = ToySource()
    samples = world.samples("test")[:NUM_TEST_COMBINATIONS]
    values = world.fetch("test", range(NUM_TEST_COMBINATIONS), ["audio", "image"], None)
    for sample, value in zip(samples, values, strict=True):
        (wave,) = value["audio"]
        soundfile.write(folder / f"{sample.group}.wav", wave.samples, wave.sample_rate_hz)
    picture = folder / f"{samples[0].group}.png"
    Image.fromarray(values[0]["image"][0]).save(picture)
    return picture


def main(arguments: Sequence[str] | None = None) -> list[tuple[float, Path]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--sounds", type=Path)
    args = parser.parse_args(arguments)
    if (args.picture is None) != (args.sounds is None):
        parser.error("--picture and --sounds belong together")
    binder = Binder.load(args.run)
    with tempfile.TemporaryDirectory() as made:
        folder = args.sounds or Path(made)
        picture = args.picture or write_toy_data(folder)
        sounds = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS)
        hits = nearest_sounds(binder, picture, sounds)
    print(f"nearest to {picture.name}:")
    for cosine, sound in hits:
        print(f"  {cosine:.3f}  {sound.name}")
    return hits


if __name__ == "__main__":
    main()
