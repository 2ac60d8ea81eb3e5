"""The examples run, on small data that they make."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import documents

EXAMPLES = documents.ROOT / "examples"


def run_example(name, *arguments, cwd):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_sensor_of_ones_own_finds_the_words_of_its_colours(tmp_path):
    last = run_example("own_sensor.py", tmp_path, cwd=tmp_path).splitlines()[-1]
    num_right, _, num_readings = last.split()[:3]
    assert int(num_right) > 0.9 * int(num_readings) > 80
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["retrieval"]["light_to_image"]["kind"] == "trained"
    assert metrics["retrieval"]["light_to_image"]["R@1"] > 0.9


def test_the_nearest_sounds_of_a_picture(toy_run, tmp_path):
    lines = run_example("nearest_sounds.py", toy_run, cwd=tmp_path).splitlines()
    cosines = [float(line.split()[0]) for line in lines[1:]]
    assert len(cosines) == 5
    assert cosines == sorted(cosines, reverse=True)
    assert list(tmp_path.iterdir()) == []  # what it made is gone


def test_sounds_and_picture_belong_together(toy_run, tmp_path):
    command = [sys.executable, str(EXAMPLES / "nearest_sounds.py"), str(toy_run), "--sounds", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert "--picture and --sounds belong together" in done.stderr


def test_the_notebook_runs(tmp_path):
    """With the smallest training, which changes one line."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(EXAMPLES / "quickstart.ipynb", as_version=4)
    (training,) = [cell for cell in notebook.cells if "bind.train(" in cell.source]
    assert "trainer.max_epochs=1" in training.source
    training.source = training.source.replace("trainer.max_epochs=1", "debug=tiny")
    nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = [
        "".join(output.get("text", "") for output in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
    assert "run directory: runs/" in printed[0]
    assert "audio_to_text" in printed[1]
    assert printed[-1].startswith("heard: ")
    assert len(printed[-1].splitlines()) == 6
    assert Path(tmp_path / "runs").is_dir()


def test_the_notebook_shows_what_it_printed():
    notebook = json.loads((EXAMPLES / "quickstart.ipynb").read_text())
    assert all(cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code")
