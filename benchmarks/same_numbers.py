"""Whether a change of the code changed any number. python benchmarks/same_numbers.py [REVISION]

Runs `debug=tiny` and 50 steps of the default job with the code of REVISION (in a worktree of its own; HEAD by default)
and with that of the working tree, and compares bit for bit: metrics.json but for its seconds and
hardware, logs/metrics.csv (but for validations at steps where REVISION has none) and the binder's weights. Then both
load the binder of REVISION and have to get the same vectors of the same files.
Exit status 1 where anything differs.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import soundfile
from PIL import Image

HERE = Path(__file__).resolve().parents[1]
# Vectors of the anchor are computed anew by both sides; pictures say nothing of numbers and take time.
ALWAYS = ["cache.dir=null", "trainer.accelerator=cpu", "evaluation.num_gallery_queries=0"]
MONITOR = "val/mean_R@1"
RUNS = {
    "debug=tiny": ["debug=tiny", "seed=0"],
    "50 steps of the default job": ["trainer.max_steps=50", "trainer.max_epochs=1", "data.steps_per_epoch=50"],
}
EMBED = """
import sys
from pathlib import Path
import numpy as np
from bind import Binder
binder, inputs, out = map(Path, sys.argv[1:])
loaded = Binder.load(binder)
files = {"audio": ["a.wav"], "imu": ["i.npy"], "image": ["p.png"], "text": ["a small red metal star resting"]}
values = {m: [v if m == "text" else inputs / v for v in own] for m, own in files.items()}
np.savez(out, **{m: loaded.embed(m, own).numpy() for m, own in values.items()})
"""


@contextmanager
def worktree(revision: str) -> Iterator[Path]:
    """A checkout of `revision` beside the working tree."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "before"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", place, revision], cwd=HERE, check=True)
        try:
            yield place
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", place], cwd=HERE, check=True)


def train(code: Path, overrides: list[str], run_dir: Path) -> Path:
    """The run directory of a training by the code in `code`."""
    command = [sys.executable, "train.py", *overrides, *ALWAYS, f"run_dir={run_dir}"]
    done = subprocess.run(command, cwd=code, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} in {code} failed:\n{done.stderr}")
    return run_dir


def metrics_of(run_dir: Path) -> dict[str, Any]:
    metrics = json.loads((run_dir / "metrics.json").read_text())
    return {name: value for name, value in metrics.items() if name not in ("seconds", "hardware")}


def log_of(run_dir: Path) -> list[dict[str, str]]:
    with (run_dir / "logs" / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def same_logs(before: list[dict[str, str]], after: list[dict[str, str]]) -> bool:
    """Whether all rows are the same, but for validations of `after` at steps where `before` has none."""
    validated = {row["step"] for row in before if row.get(MONITOR)}
    return before == [row for row in after if not row.get(MONITOR) or row["step"] in validated]


def weights_of(run_dir: Path) -> dict[str, np.ndarray]:
    [path] = (run_dir / "binder").glob("*.safetensors")
    return safetensors.numpy.load_file(path)


def same_arrays(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(a[name].tobytes() == b[name].tobytes() for name in a)


def differences(before: Path, after: Path) -> list[str]:
    """Which of the things that two runs left behind are not equal."""
    checks = {
        "metrics.json": metrics_of(before) == metrics_of(after),
        "logs/metrics.csv": same_logs(log_of(before), log_of(after)),
        "weights of the binder": same_arrays(weights_of(before), weights_of(after)),
    }
    return [name for name, is_same in checks.items() if not is_same]


def write_inputs(folder: Path) -> None:
    """A sound, a motion trace and a picture, the same at every call."""
    rng = np.random.default_rng(0)
    soundfile.write(folder / "a.wav", 0.1 * rng.standard_normal(32_000), 16_000)
    np.save(folder / "i.npy", rng.standard_normal((400, 6)).astype(np.float32))
    channels = [f"{kind}_{axis}" for kind in ("acc", "gyro") for axis in "xyz"]
    about = {"channels": channels, "units": ["g"] * 3 + ["rad/s"] * 3, "sample_rate_hz": 50}
    (folder / "i.json").write_text(json.dumps(about))
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / "p.png")


def embed(code: Path, binder: Path, inputs: Path, out: Path) -> dict[str, np.ndarray]:
    """Vectors of the inputs by the code in `code`."""
    subprocess.run([sys.executable, "-c", EMBED, binder, inputs, out], cwd=code, check=True)
    with np.load(out) as vectors:
        return dict(vectors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", nargs="?", default="HEAD", help="the code to compare the working tree with")
    revision = parser.parse_args().revision
    found = []
    with worktree(revision) as old, tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for number, (name, overrides) in enumerate(RUNS.items()):
            before = train(old, overrides, work / f"before-{number}")
            after = train(HERE, overrides, work / f"after-{number}")
            different = differences(before, after)
            found += different
            print(f"{name}: {'DIFFERENT: ' + ', '.join(different) if different else 'the same, bit for bit'}")
        write_inputs(work)
        vectors = [embed(code, work / "before-1", work, work / f"{code.name}.npz") for code in (old, HERE)]
        is_same = same_arrays(*vectors)
        found += [] if is_same else ["vectors"]
        print(f"a binder saved by {revision}: {'the same vectors' if is_same else 'DIFFERENT vectors'}")
    raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()
