"""What the README tells people to type works as written."""

import importlib
import re
import sys

import numpy as np
import pytest
import soundfile
from PIL import Image
from support import documents, runs

from bind.commands.command_table import COMMANDS
from bind.runs.jobs import train

README = (documents.ROOT / "README.md").read_text()
MAX_LINES = 180
COMMANDS_OF_README = documents.commands(README)


def only_block(language: str, holds: str) -> str:
    (block,) = [block for block in documents.blocks(README, language) if holds in block]
    return block


def test_it_is_short_enough_to_be_read():
    assert len(README.splitlines()) <= MAX_LINES


def test_every_link_leads_somewhere():
    assert documents.broken_links(documents.ROOT / "README.md") == []


def test_the_walk_over_links_sees_what_is_wrong(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A page\n[a](page.md#a-page) [b](#nothing) [c](gone.md) [d](https://example.org)\n")
    assert documents.broken_links(page) == ["#nothing", "gone.md"]


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in COMMANDS_OF_README if documents.is_hydra(c)], ids=" ".join)
def test_every_command_composes(command):
    documents.composed(command)


@pytest.mark.parametrize("command", [c for c in COMMANDS_OF_README if not documents.is_hydra(c)], ids=" ".join)
def test_every_other_command_parses(command):
    """Up to the files it names, which are not there."""
    module, _, function = COMMANDS[command[1]].job.partition(":")
    with pytest.raises(ValueError, match=re.escape(command[2])):
        getattr(importlib.import_module(module), function)(command[2:])


def test_the_table_of_commands_has_them_all():
    section = README.partition("## Commands")[2].partition("\n## ")[0]
    named = {
        name
        for row in re.findall(r"^\| (`.*?) \|", section, flags=re.MULTILINE)
        for name in re.findall(r"`([\w-]+)", row)
    }
    assert named - {"bindspace"} == {"train", *COMMANDS}


def test_the_tree_is_that_of_the_architecture():
    architecture = (documents.ROOT / "docs" / "architecture.md").read_text()
    (tree,) = [block for block in documents.blocks(README, "text") if block.startswith("train.py")]
    assert tree == documents.blocks(architecture, "text")[0]


def test_the_check_runs_the_install_and_test_commands_of_the_readme():
    check = (documents.ROOT / ".ci" / "run").read_text()
    install, test = re.search(r'`(pip install -e "\.\[dev\]") && (pytest[^`]*)`', README).groups()
    assert install.replace("pip install", "pip install --quiet --no-compile") in check
    assert re.search(rf"^{test}$", check, flags=re.MULTILINE)


@pytest.mark.slow
def test_the_finished_run_finds_the_nearest_caption(recorded_run, tmp_path, monkeypatch, capsys):
    code = only_block("python", "Binder.load")
    runs.write_sound(tmp_path / "sound.wav", 440, np.random.default_rng(0))
    monkeypatch.chdir(tmp_path)
    (path,) = re.findall(r'Binder\.load\("([^"]+)"\)', code)
    exec(compile(code.replace(path, str(recorded_run)), "README", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    cosines = [float(line.split()[0]) for line in lines]
    assert len(lines) == len(re.findall(r'"a [^"]+"', code))
    assert cosines == sorted(cosines, reverse=True)


@pytest.mark.slow
def test_the_table_of_own_data_trains(tmp_path, no_pictures):
    (table,) = documents.blocks(README, "csv")
    rng = np.random.default_rng(0)
    for row in table.splitlines()[1:]:
        sound, picture = (tmp_path / cell for cell in row.split(",")[3:5])
        sound.parent.mkdir(exist_ok=True)
        picture.parent.mkdir(exist_ok=True)
        soundfile.write(sound, rng.normal(0, 0.1, 8000), 16_000)
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(picture)
    (tmp_path / "table.csv").write_text(table)
    values = {
        "data.manifest": str(tmp_path / "table.csv"),
        "modalities": ["audio"],
        "data.batch_size": 2,
        "trainer.max_epochs": 1,
        "run_dir": str(tmp_path / "run"),
    }
    train(runs.config("data=manifest", **runs.QUICK, **values))
    assert (tmp_path / "run" / "metrics.json").is_file()


@pytest.mark.slow
def test_the_new_modality_trains(tmp_path, monkeypatch, no_pictures):
    package = tmp_path / "mylab"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "pressure.py").write_text(only_block("python", "PressureCNN"))
    rng = np.random.default_rng(0)
    rows = ["key,split,pressure,image"]
    for index, split in enumerate(["train"] * 4 + ["val"] * 2 + ["test"] * 2):
        np.save(tmp_path / f"{index}.npy", rng.normal(50, 9, (48, 48)).astype(np.float32))
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(tmp_path / f"{index}.png")
        rows.append(f"{index},{split},{index}.npy,{index}.png")
    (tmp_path / "pressure.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (command,) = [c for c in COMMANDS_OF_README if any("pressure" in word for word in c)]
    cfg = documents.composed(command)
    values = {
        "data.batch_size": 2,
        "trainer.max_epochs": 1,
        "trainer.accelerator": "cpu",
        "trainer.enable_progress_bar": False,
        "evaluation.num_gallery_queries": 0,
        "run_dir": str(tmp_path / "run"),
    }
    for key, value in values.items():
        runs.OmegaConf.update(cfg, key, value, merge=False)
    train(cfg)
    assert "pressure_to_image" in (tmp_path / "run" / "metrics.json").read_text()
    sys.modules.pop("mylab", None)
