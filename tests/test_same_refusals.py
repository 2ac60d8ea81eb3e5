"""A file that training refuses is refused by embed, evaluate and the doctor too, with the same message."""

import numpy as np
import pytest
import soundfile
from media.test_stored_pixels import jpeg_stating, png_stating
from PIL import Image
from support import runs
from support.planted import write_motion

from bind.commands.embed import embed_files, embed_manifest
from bind.data.datamodule import BindDataModule
from bind.data.sources.manifest import ManifestSource
from bind.evaluation.embed import embed_split
from bind.model.binder import Binder
from bind.studies.doctor.examine import STOPS_TRAINING, FileTask, examine

RNG = np.random.default_rng(0)
SOUND = RNG.normal(0, 0.1, 8000)


def write_wav(path, samples, share=1.0, times=1, **options):
    soundfile.write(path, samples, 8000, format=path.suffix[1:].upper(), **options)
    content = path.read_bytes()
    path.write_bytes(content[: round(share * len(content))] * times)


def write_sensor(path, values, rate_hz=100, times=1.0):
    write_motion(path, values, rate_hz)
    if times != 1.0:
        header, *lines = path.read_text().splitlines()
        cells = [line.split(",", 1) for line in lines]
        path.write_text("\n".join([header, *(f"{float(time) * times:.6f},{rest}" for time, rest in cells)]) + "\n")


MOTION = RNG.normal(size=(300, 6)) * 0.1 + [0, 0, 1, 0, 0, 0]
BAD = {
    "image": {
        "rows.jpg": lambda p: p.write_bytes(jpeg_stating(500)),
        "rows.png": lambda p: p.write_bytes(png_stating(60, np.full((8, 8), 7, np.uint8))),
        "integers.tif": lambda p: Image.fromarray(np.arange(64, dtype=np.int32).reshape(8, 8) * 9999).save(p),
        "script.png": lambda p: p.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n"),
        "text.jpg": lambda p: p.write_text("no such thing"),
    },
    "audio": {
        "cut.wav": lambda p: write_wav(p, SOUND, share=0.5),
        "joined.flac": lambda p: write_wav(p, SOUND, times=2),
        "cut.mp3": lambda p: write_wav(p, SOUND, share=0.5),
        "integers.wav": lambda p: write_wav(p, 32768 * SOUND, subtype="FLOAT"),
        "nan.wav": lambda p: write_wav(p, np.full(8000, np.nan), subtype="FLOAT"),
        "empty.ogg": lambda p: p.touch(),
    },
    "imu": {
        "milliseconds.csv": lambda p: write_sensor(p, MOTION, times=1000.0),
        "nan.csv": lambda p: write_sensor(p, np.full_like(MOTION, np.nan)),
        "short.csv": lambda p: write_sensor(p, MOTION[:20]),
        "words.csv": lambda p: p.write_text("time_seconds,acc_x [g]\n0,soon\n"),
        "array.npy": lambda p: np.save(p, MOTION),
    },
}


def message_of(call):
    with pytest.raises(ValueError, match=r"\w") as caught:
        call()
    return str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("modality", list(BAD))
def test_every_door_refuses_with_the_same_message(recorded_run, tmp_path, modality):
    binder = Binder.load(recorded_run).eval()
    transform = binder.transforms[modality]
    for name, write in BAD[modality].items():
        path = tmp_path / name
        write(path)
        rows = [{"key": "a", "split": "test", "text": "x", modality: name}]
        source = ManifestSource(runs.write_manifest(tmp_path / "manifest.jsonl", rows))
        datamodule = BindDataModule({"manifest": source}, binder.transforms, [], [modality], batch_size=2)
        (clip,) = source.samples("test")[0].values[modality]
        trained = message_of(lambda clip=clip: transform(clip, np.random.default_rng(0)))
        assert trained.startswith(str(path))
        for refuse in (
            lambda path=path: embed_files(binder, [str(path)], [modality]),
            lambda source=source: embed_manifest(binder, source, [modality], recorded_run),
            lambda datamodule=datamodule: embed_split(datamodule, binder, "test"),
        ):
            assert trained in message_of(refuse), name
        facts = examine(FileTask(modality, path, (clip,), transform=binder.transforms[modality]))
        faults = [*facts.faults, *(fault for stretch in facts.stretches for fault in stretch.faults)]
        assert any(fault.kind in STOPS_TRAINING for fault in faults), name
