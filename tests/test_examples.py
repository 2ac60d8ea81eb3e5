"""The examples run, on small data that they make."""

import importlib
import json
import sys

import pytest
from support import documents

EXAMPLES = documents.ROOT / "examples"


@pytest.fixture
def example(monkeypatch):
    """Imports an example as its folder does when it is run as a script."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    names = []

    def load(name):
        names.append(name)
        return importlib.import_module(name)

    yield load
    for name in names:
        sys.modules.pop(name, None)


@pytest.mark.slow
def test_a_sensor_of_ones_own_finds_the_words_of_its_colours(example, tmp_path, capsys):
    share_right = example("own_sensor").main(tmp_path)
    assert share_right > 0.9
    assert "readings find the word of their colour" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["retrieval"]["light_to_image"]["kind"] == "trained"
    assert metrics["retrieval"]["light_to_image"]["R@1"] > 0.9


@pytest.mark.slow
def test_the_nearest_sounds_of_a_picture(example, toy_run, capsys):
    hits = example("nearest_sounds").main([str(toy_run)])
    cosines = [cosine for cosine, _ in hits]
    assert len(hits) == 5
    assert cosines == sorted(cosines, reverse=True)
    printed = capsys.readouterr().out
    assert all(f"{cosine:.3f}  {sound.name}" in printed for cosine, sound in hits)
    assert not hits[0][1].exists()  # what it made is gone


@pytest.mark.slow
def test_the_nearest_of_own_sounds(example, toy_run, tmp_path):
    module = example("nearest_sounds")
    picture = module.write_toy_data(tmp_path)
    assert len(module.main([str(toy_run), "--picture", str(picture), "--sounds", str(tmp_path)])) == 5
    assert len(list(tmp_path.glob("*.wav"))) == module.NUM_TEST_COMBINATIONS


def test_sounds_and_picture_belong_together(example, tmp_path, capsys):
    with pytest.raises(SystemExit):
        example("nearest_sounds").main([str(tmp_path), "--sounds", str(tmp_path)])
    assert "--picture and --sounds belong together" in capsys.readouterr().err


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    """With the smallest training, which changes one line."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(EXAMPLES / "quickstart.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    (training,) = [cell for cell in code if "bind.train(" in cell.source]
    assert "trainer.max_epochs=1" in training.source
    training.source = training.source.replace("trainer.max_epochs=1", "debug=tiny")
    nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = ["".join(output.get("text", "") for output in cell.outputs) for cell in code]
    assert f"run directory: {tmp_path}" in printed[0]
    assert "audio_to_text" in printed[1]
    assert printed[-1].startswith("heard: ")
    assert len(printed[-1].splitlines()) == 6


def test_the_notebook_shows_what_it_printed():
    notebook = json.loads((EXAMPLES / "quickstart.ipynb").read_text())
    assert all(cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code")
