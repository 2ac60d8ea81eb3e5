"""What the README tells people to type works as written."""

import importlib
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from hydra import compose, initialize_config_dir
from PIL import Image
from support import runs

from bind.commands.cli import COMMANDS, CONFIG_DIR
from bind.runs.jobs import train

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[list[str]]:
    """Every `python train.py …` and `bindspace …` line, comments cut off, lines that end in a backslash joined."""
    lines = "\n".join(blocks("bash")).replace("\\\n", " ").splitlines()
    found = [part.strip() for line in lines for part in line.split("&&")]
    return [shlex.split(line, comments=True) for line in found if line.startswith(("python train.py", "bindspace"))]


def overrides_of(command: list[str]) -> tuple[str, list[str]]:
    config = "train" if command[:2] == ["python", "train.py"] else command[1]
    return config, [word for word in command[2:] if "=" in word]


def is_hydra(command: list[str]) -> bool:
    return command[0] == "python" or COMMANDS[command[1]].is_hydra


@pytest.mark.parametrize("command", [c for c in commands() if "--config-dir" not in c and is_hydra(c)], ids=" ".join)
def test_every_command_composes(command):
    config, overrides = overrides_of(command)
    if "-m" in command:  # one job of the sweep
        overrides = [re.sub(r"=([^,\[]+),.*", r"=\1", override) for override in overrides]
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        compose(config, overrides=overrides)


@pytest.mark.parametrize("command", [c for c in commands() if not is_hydra(c)], ids=" ".join)
def test_every_other_command_parses(command, monkeypatch, capsys):
    """Up to the files it names, which are not there."""
    module, _, function = COMMANDS[command[1]].job.partition(":")
    with pytest.raises(ValueError, match=re.escape(command[2])):
        getattr(importlib.import_module(module), function)(command[2:])


def test_the_check_runs_the_install_and_test_commands_of_the_readme():
    check = (ROOT / ".ci" / "run").read_text()
    (line,) = [line for line in "\n".join(blocks("bash")).splitlines() if "[dev]" in line]
    install, test = (part.strip() for part in line.split("&&"))
    assert test == "pytest -n 2"
    assert install.replace("pip install", "pip install --quiet") in check
    assert re.search(r"^pytest -n 2$", check, flags=re.MULTILINE)


def test_keys_of_the_table_exist():
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose("train")
    for key in ("loss.same_group", "optimizer.lr", "optimizer.weight_decay", "optimizer.warmup_fraction"):
        assert f"`{key}" in README
        node = cfg
        for part in key.split("."):
            node = node[part]


@pytest.mark.slow
def test_the_table_of_own_data_trains(tmp_path, no_pictures):
    (table,) = blocks("csv")
    rng = np.random.default_rng(0)
    for row in table.splitlines()[1:]:
        cells = row.split(",")
        for cell in cells[3:5]:
            (tmp_path / cell).parent.mkdir(exist_ok=True)
        runs.soundfile.write(tmp_path / cells[3], rng.normal(0, 0.1, 8000), 16_000)
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(tmp_path / cells[4])
    (tmp_path / "table.csv").write_text(table)
    train(
        runs.config(
            "data=manifest",
            **runs.QUICK,
            **{
                "data.manifest": str(tmp_path / "table.csv"),
                "modalities": ["audio"],
                "data.batch_size": 2,
                "trainer.max_epochs": 1,
                "run_dir": str(tmp_path / "run"),
            },
        )
    )
    assert (tmp_path / "run" / "metrics.json").is_file()


@pytest.mark.slow
def test_the_new_modality_trains_from_outside_the_checkout(tmp_path, monkeypatch, no_pictures):
    package = tmp_path / "mylab"
    package.mkdir()
    (package / "__init__.py").touch()
    (code,) = [block for block in blocks("python") if "PressureCNN" in block]
    (package / "pressure.py").write_text(code)
    for block in blocks("yaml"):
        path = tmp_path / re.search(r"# (conf/\S+)", block).group(1)
        path.parent.mkdir(parents=True)
        path.write_text(block)
        assert yaml.safe_load(block)["_target_"].startswith("mylab.pressure.")
    rng = np.random.default_rng(0)
    rows = ["key,split,pressure,image"]
    for index, split in enumerate(["train"] * 4 + ["val"] * 2 + ["test"] * 2):
        np.save(tmp_path / f"{index}.npy", rng.normal(50, 9, (48, 48)).astype(np.float32))
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(tmp_path / f"{index}.png")
        rows.append(f"{index},{split},{index}.npy,{index}.png")
    (tmp_path / "pressure.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (command,) = [c for c in commands() if "--config-dir" in c and any("pressure" in word for word in c)]
    searchpath = f"hydra.searchpath=[file://{tmp_path / command[command.index('--config-dir') + 1]}]"
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose("train", overrides=[*overrides_of(command)[1], searchpath])
    for key, value in {
        "data.batch_size": 2,
        "trainer.max_epochs": 1,
        "trainer.accelerator": "cpu",
        "trainer.enable_progress_bar": False,
        "evaluation.num_gallery_queries": 0,
        "run_dir": str(tmp_path / "run"),
    }.items():
        runs.OmegaConf.update(cfg, key, value, merge=False)
    train(cfg)
    assert "pressure_to_image" in (tmp_path / "run" / "metrics.json").read_text()
    sys.modules.pop("mylab", None)
