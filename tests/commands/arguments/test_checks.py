"""Checks of commands: they tell mistakes from arguments, the config of a run and names of files, and load nothing."""

import importlib
import json
import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from bind.commands.checkout import CONFIG_DIR
from bind.commands.command_table import COMMANDS, TRAIN
from bind.runs.run_config import CONFIG_VERSION, KINDS

HEAVY = ("torch", "transformers", "lightning", "matplotlib", "scipy", "uvicorn", "fastapi")
CHECKS = {name: command.check for name, command in {"train": TRAIN, **COMMANDS}.items() if command.check}


def check(name, arguments):
    module, _, function = CHECKS[name].partition(":")
    return getattr(importlib.import_module(module), function)(arguments)


def config(name, **values):
    loaded = OmegaConf.load(CONFIG_DIR / f"{name}.yaml")
    loaded.pop("defaults")
    loaded.pop("hydra")
    return OmegaConf.merge(loaded, values)


@pytest.fixture
def run(tmp_path):
    """A run of imu, as far as it is read before it is loaded, with a recording beside it."""
    folder = tmp_path / "run"
    (folder / "binder").mkdir(parents=True)
    values = {name: kind() for name, kind in KINDS.items()} | {"data": {"zero_shot": {"basic6": {}}}}
    OmegaConf.save(OmegaConf.create({"version": CONFIG_VERSION, **values}), folder / "config.yaml")
    saved = {"version": 1, "modalities": ["imu"], "anchor_modalities": ["image", "text"]}
    (folder / "binder" / "binder.json").write_text(json.dumps(saved))
    (folder / "bridge.json").write_text("{}")
    for name in ("a.npy", "a.wav"):
        (tmp_path / name).touch()
    (tmp_path / "twice.txt").write_text("walking\nsitting\nwalking\n")
    return folder


@pytest.mark.slow
def test_checks_load_nothing_heavy():
    modules = sorted({place.partition(":")[0] for place in CHECKS.values()})
    code = f"import sys, {', '.join(modules)}; print(sorted({set(HEAVY)} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_works_on_a_run_is_checked():
    unchecked = [name for name, command in COMMANDS.items() if "run=PATH" in command.arguments and not command.check]
    assert not unchecked


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("caption", ["audio={a.wav}"], "this run embeds no audio but image, text, imu"),
        ("caption", ["imu={b.npy}"], "no such file"),
        ("caption", ["imu={a.npy}", "gap=loud"], "gap=loud: choose noise"),
        ("caption", ["imu={a.npy}", "gap.audio=mean"], r"gap\.audio=mean: this run embeds"),
        ("ask", ["What is it?"], "a question needs something that it is about, such as imu=FILE"),
        ("ask", ["imu={a.npy}"], "ask one question"),
        ("ask", ["What is it?", "audio={a.wav}"], "this run embeds no audio"),
    ],
)
def test_a_command_line_is_refused(name, words, message, run):
    paths = {"{" + path.name + "}": str(path) for path in (run.parent / n for n in ("a.npy", "a.wav", "b.npy"))}
    for mark, path in paths.items():
        words = [word.replace(mark, path) for word in words]
    with pytest.raises(ValueError, match=message):
        check(name, [f"run={run}", f"bridge={run}", *words])
    with pytest.raises(ValueError, match=r"no config\.yaml there"):
        check(name, [f"run={run}_not", f"bridge={run}", "What?" if name == "ask" else "text=a dog"])


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("evaluate", {"run": "nowhere"}, "run=nowhere: no config.yaml there"),
        ("share", {"run": None}, "pass either run=PATH"),
        ("mteb", {"run": None, "binder": "./nowhere"}, "nowhere: no such folder"),
        ("leakage", {"run": "nowhere"}, "run=nowhere: no config.yaml there"),
        ("timeline", {"imu": "a.npy", "labels": "basic7", "out": "t.csv"}, "neither a label set of the run .basic6"),
        ("timeline", {"imu": "a.npy", "labels": "twice.txt", "out": "t.csv"}, "'walking' is there twice"),
        ("timeline", {"audio": "a.wav", "labels": "basic6", "out": "t.csv"}, "audio: the run embeds image, text, imu"),
        ("timeline", {"imu": "b.npy", "labels": "basic6", "out": "t.csv"}, r"imu=b\.npy: no such file"),
        ("explain", {"a": "audio:a.wav", "b": "text:x", "out": "o"}, "a=audio:a.wav: write MODALITY:VALUE"),
        ("explain", {"a": "imu:a.npy", "out": "o"}, "name the other side"),
        ("explain", {"a": "imu:a.npy", "b": "text:x", "out": "run"}, "out=run: holds something else"),
        ("explain", {"a": "imu:a", "b": "text:x", "out": "o", "concepts": "twice.txt"}, "'walking' is there twice"),
        ("bridge", {"out": "run"}, "out=run: holds a finished bridge"),
        ("embed", {"files": "a.wav", "out": "x.parquet"}, "no modality of this run .image, text, imu. is read from"),
        ("embed", {"files": "a.npy", "out": "x.csv"}, r"choose a name that ends in \.parquet"),
        ("embed", {"manifest": "no.csv", "out": "x.parquet"}, r"no\.csv: no such manifest"),
        ("index", {"files": "a.wav", "out": "i"}, "is read from"),
        ("index", {"files": "a.npy", "out": "i", "batch_size": 0}, "batch_size=0"),
        ("index", {"delete": "a", "out": "i"}, r"i: no index\.json there"),
        ("serve", {"port": 99999}, "port=99999"),
        ("serve", {"port": 0, "index": "i"}, r"i: no index\.json there"),
        ("serve", {"port": 0, "gap": {"audio": "mean"}}, r"gap\.audio=mean: this run embeds image, text, imu"),
    ],
)
def test_a_config_is_refused(name, values, message, run, monkeypatch):
    if name == "serve":
        pytest.importorskip("uvicorn", reason='pip install "bindspace[serve]"')
    monkeypatch.chdir(run.parent)
    with pytest.raises(ValueError, match=message):
        check(name, config(name, **{"run": "run", **values}))


@pytest.mark.parametrize(
    ("name", "module", "values"), [("serve", "uvicorn", {}), ("mteb", "mteb", {"tasks": ["ESC50_Zeroshot"]})]
)
def test_a_missing_extra_is_named(name, module, values, run, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=rf'bindspace {name} needs {module}: pip install "bindspace\[{name}\]"'):
        check(name, config(name, run=str(run), **values))


def test_what_a_binder_of_before_embeds_is_left_to_the_job(run):
    saved = run / "binder" / "binder.json"
    saved.write_text(json.dumps({"version": 1, "modalities": ["imu"]}))
    read = check("caption", [f"run={run}", f"bridge={run}", f"audio={run.parent / 'a.wav'}"])
    assert read.inputs == [("audio", str(run.parent / "a.wav"))]
    with pytest.raises(ValueError, match="such as imu=FILE"):
        check("ask", [f"run={run}", f"bridge={run}", "What is it?"])


@pytest.mark.parametrize("name", ["compare", "doctor", "sync"])
def test_tables_and_folders_that_are_not_there(name):
    words = ["nowhere.csv", "elsewhere.csv"][: 2 if name == "compare" else 1]
    with pytest.raises(ValueError, match=r"nowhere\.csv(: no such manifest| is no run directory)"):
        check(name, words)


@pytest.mark.slow
def test_what_asks_and_searches_does_without_lightning():
    jobs = [COMMANDS[name].job.partition(":")[0] for name in ("ask", "caption", "search", "index", "timeline", "serve")]
    code = f"import sys, {', '.join(jobs)}; print('lightning' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
