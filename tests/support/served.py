"""A small random binder of pictures, texts, sounds and motion, files for it, and a service of both in this process."""

import base64
import functools
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bind.model.binder import Binder
from bind.search.index import Index

CHANNELS, UNITS = ("acc_x", "acc_y", "acc_z"), ("g", "g", "g")
RATE_HZ, WINDOW_SECONDS = 50.0, 1.0
CONFIG = {
    "anchor": {"_target_": "bind.anchors.dual_encoder.PretrainedAnchor", "pretrained": "toy"},
    "modalities": ["audio", "imu", "depth"],
    "encoder": {
        "audio": {"_target_": "bind.encoders.audio_cnn.AudioCNN", "width": 8, "sample_rate_hz": 8000},
        "imu": {"_target_": "bind.encoders.imu_cnn.ImuCNN", "num_channels": 3, "width": 8},
        "depth": {"_target_": "bind.encoders.map_cnn.MapCNN", "width": 8},
    },
    "head": {"_target_": "bind.encoders.heads.ProjectionHead"},
    "transform": {
        "audio": {"_target_": "bind.data.transforms.audio.AudioTransform", "sample_rate_hz": 8000},
        "imu": {
            "_target_": "bind.data.transforms.imu.ImuTransform",
            "channels": list(CHANNELS),
            "units": list(UNITS),
            "sample_rate_hz": RATE_HZ,
            "window_seconds": WINDOW_SECONDS,
        },
        "depth": {"_target_": "bind.data.transforms.depth.DepthTransform"},
    },
}


@functools.cache
def binder() -> Binder:
    """The same one for all tests."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Binder.from_config(CONFIG).eval()


def wav(seed: int = 0, seconds: float = 1.0) -> bytes:
    """A sound in a file."""
    import soundfile

    rng = np.random.default_rng(seed)
    file = io.BytesIO()
    tone = np.sin(np.arange(round(8000 * seconds)) * rng.uniform(0.05, 1.0)) * 0.5
    soundfile.write(file, tone.astype(np.float32), 8000, subtype="PCM_16", format="WAV")
    return file.getvalue()


def png(seed: int = 0, size: tuple[int, int] = (40, 30)) -> bytes:
    """A picture in a file."""
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def motion(seed: int = 0, num_rows: int = 60) -> np.ndarray:
    """Rows of acceleration (T, 3) in g."""
    return np.random.default_rng(seed).normal(0.0, 0.3, (num_rows, 3)) + np.array([0.0, 0.0, 1.0])


def csv(values_TC: np.ndarray, *, is_described: bool = True, names: tuple[str, ...] = CHANNELS) -> bytes:
    """A sensor file that describes itself, or bare columns."""
    if not is_described:
        lines = [",".join(names), *(",".join(f"{x:.6f}" for x in row) for row in values_TC)]
    else:
        head = ",".join(["time_seconds", *(f"{c} [{u}]" for c, u in zip(CHANNELS, UNITS, strict=True))])
        rows = [",".join([f"{n / RATE_HZ:.4f}", *(f"{x:.6f}" for x in row)]) for n, row in enumerate(values_TC)]
        lines = [head, *rows]
    return "\n".join([*lines, ""]).encode()


def b64(content: bytes) -> str:
    """As JSON carries files."""
    return base64.b64encode(content).decode()


def write_index(folder: Path) -> Index:
    """An index of three pictures, three sounds and three walks, with their files beside it."""
    index = Index.create(folder / "index", binder())
    makers = {"image": (png, "png"), "audio": (wav, "wav"), "imu": (lambda n: csv(motion(n)), "csv")}
    for modality, (make, suffix) in makers.items():
        paths = [folder / f"{modality}{n}.{suffix}" for n in range(3)]
        for n, path in enumerate(paths):
            path.write_bytes(make(n))
        index.add(
            modality,
            binder().embed(modality, paths),
            {"key": [path.stem for path in paths], "path": list(map(str, paths)), "split": ["test", "test", "val"]},
        )
    index.add("text", binder().embed("text", ["a red circle"]), {"key": ["words"], "caption": ["a red circle"]})
    return index
