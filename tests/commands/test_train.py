"""`bind.train` and `bind.Run`: the training command from Python, wherever it is called."""

import json
import subprocess
import sys

import lightning as L
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from support import runs
from support.runs import assigned

import bind
from bind.commands.checkout import CONFIG_DIR
from bind.commands.cli import main


class StepCounter(L.Callback):
    """Counts the steps of a training."""

    def __init__(self):
        self.num_steps = 0

    def on_train_batch_end(self, *args):
        self.num_steps += 1


def overrides(recordings, run_dir, **values):
    own = {"data.manifest": str(recordings), "trainer.max_epochs": 1, "run_dir": str(run_dir)}
    return ["data=manifest", *assigned(runs.RECORDED | own | values)]


@pytest.fixture(scope="module")
def trained(recordings, tmp_path_factory):
    """A run, and the callback that was there."""
    counter = StepCounter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bind.runs.evaluation.draw_run", lambda *args, **kwargs: {})
        run = bind.train(overrides(recordings, tmp_path_factory.mktemp("python") / "run"), callbacks=[counter])
    return run, counter


@pytest.mark.slow
def test_a_training_gives_the_run_that_it_filled(trained):
    run, counter = trained
    assert counter.num_steps == 3
    assert run.metrics == json.loads((run.path / "metrics.json").read_text())
    assert (run.config["data"]["batch_size"], run.config["seed"]) == (4, 0)
    assert run.binder is run.binder
    assert run.binder.embed("text", ["a door slams"]).shape == (1, run.binder.dim)
    assert repr(bind.Run(run.path)) == f"Run({str(run.path)!r})"
    assert "bind.train([&#x27;data=manifest" in (run.path / "report.html").read_text(), "what the page says was run"


@pytest.mark.slow
def test_a_run_is_evaluated_again_on_another_split(trained, no_pictures, capsys):
    run, _ = trained
    figures = run.evaluate("val")
    assert figures["split"] == "val"
    assert json.loads((run.path / "metrics_val.json").read_text()) == figures
    assert run.metrics["split"] == "test"
    assert f"run directory: {run.path}" in capsys.readouterr().out


@pytest.mark.slow
def test_the_command_and_the_function_train_the_same(trained, recordings, tmp_path, no_pictures):
    from bind.runs.jobs import train

    run, _ = trained
    values = runs.RECORDED | {"data.manifest": str(recordings), "trainer.max_epochs": 1, "run_dir": str(tmp_path)}
    train(runs.config("data=manifest", **values))
    other = json.loads((tmp_path / "metrics.json").read_text())
    assert {**other, "seconds": None} == {**run.metrics, "seconds": None}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data.batchsize=3"], "data.batchsize: did you mean data.batch_size?"),
        (["anchor=clpi"], r"anchor=clpi: did you mean anchor=clip\?"),
        (["seed"], "seed: write seed=VALUE"),
        (["data.batch_size=["], "no viable alternative at input|missing"),
        (["data=manifest"], r"not set: data\.manifest"),
        (["-m", "seed=0,1"], "-m: bind.train takes KEY=VALUE; a sweep is a loop over calls"),
        ("seed=1", r"give a list of overrides, bind.train\(\['seed=1'\]\)"),
    ],
)
def test_what_the_command_would_print_is_raised(arguments, message):
    with pytest.raises(ValueError, match=message):
        bind.train(arguments)


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["a missing table", "a missing file", "a picture that is none"])
def test_a_start_that_fails_leaves_no_folder(recordings, tmp_path, monkeypatch, wrong):
    monkeypatch.chdir(tmp_path)
    rows = runs.read_manifest(recordings)
    for row in rows:
        row |= {m: str(recordings.parent / row[m]) for m in ("audio", "imu", "image") if m in row}
    if wrong == "a missing file":
        rows[3]["image"] = "nowhere.png"
    if wrong == "a picture that is none":
        rows[3]["image"] = str(recordings)
    table = runs.write_manifest(tmp_path / "table.jsonl", rows)
    if wrong == "a missing table":
        table = tmp_path / "nowhere.jsonl"
    with pytest.raises(ValueError, match=r"nowhere|manifest"):
        bind.train(overrides(table, "runs/deep/mine"))
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [[], ["data.manifest=nowhere.csv"], ["data.manifest=nowhere.csv", "run_dir=mine"]]
)
def test_a_command_that_fails_at_the_start_leaves_no_folder(tmp_path, as_command, arguments, capfd):
    assert as_command(main, "train", "data=manifest", *arguments) == 1
    assert "error: " in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no config\.yaml there; pass a run directory"):
        bind.Run(tmp_path)


@pytest.mark.slow
def test_a_run_without_figures_says_how_to_go_on(trained, tmp_path):
    (tmp_path / "config.yaml").write_text((trained[0].path / "config.yaml").read_text())
    with pytest.raises(ValueError, match=r"the training has not finished; go on with\s+bind.train"):
        _ = bind.Run(tmp_path).metrics


@pytest.mark.slow
def test_a_notebook_refuses_several_processes_with_the_command(monkeypatch):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    command = r"python train\.py trainer=ddp trainer\.devices=2"
    with pytest.raises(ValueError, match=f"a notebook can't start several processes(.|\n)*{command}"):
        bind.train(["trainer=ddp", "trainer.devices=2"])


@pytest.mark.slow
def test_callbacks_can_not_travel_to_other_processes():
    with pytest.raises(ValueError, match=r"\+callbacks\.NAME="):
        bind.train(["trainer=ddp", "trainer.devices=2"], callbacks=[StepCounter()])


@pytest.mark.slow
def test_an_application_of_hydra_is_left_as_it_was(recordings, tmp_path, no_pictures):
    """As within `@hydra.main`: its config and its folder are not those of the training."""
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        app = compose("evaluate", ["run=somewhere"], return_hydra_config=True)
        app.hydra.runtime.output_dir = str(tmp_path / "folder of the app")
        app.hydra.mode = "MULTIRUN"
        HydraConfig.instance().set_config(app)
        hydra = GlobalHydra.instance().hydra
        try:
            run = bind.train(overrides(recordings, tmp_path / "run", **{"trainer.max_steps": 1}))
            assert GlobalHydra.instance().hydra is hydra
            assert HydraConfig.get().runtime.output_dir == str(tmp_path / "folder of the app")
        finally:
            HydraConfig.instance().cfg = None
    assert run.path == tmp_path / "run"
    assert not (tmp_path / "folder of the app").exists()


SCRIPT = """
import sys
import bind

print("imported by", __name__)
for seed in (0, 1):
    run = bind.train([*sys.argv[1:], f"seed={seed}", f"run_dir=run{seed}"])
    print("trained", run.path.name, sorted(run.metrics)[0])
"""


@pytest.mark.ranks
@pytest.mark.slow
def test_a_script_trains_with_two_processes_several_times(recordings, tmp_path):
    (tmp_path / "mine.py").write_text(SCRIPT)
    choices = ["trainer=ddp", "trainer.devices=2", *overrides(recordings, "unused", **{"data.batch_size": 2})]
    arguments = [choice for choice in choices if not choice.startswith("run_dir")]
    done = subprocess.run(
        [sys.executable, "mine.py", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.splitlines()
    assert lines.count("imported by __main__") == 1, "other processes run train.py and not the script"
    assert [line.split()[1] for line in lines if line.startswith("trained")] == ["run0", "run1"]


UNGUARDED = """
import multiprocessing
import bind

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=print)  # as a loader's processes are started
    process.start()
    process.join()
    raise SystemExit(process.exitcode)
bind.train(["debug=tiny", "run_dir=run"])
"""


@pytest.mark.slow
def test_a_script_that_trains_where_its_own_processes_import_it_needs_a_guard(tmp_path):
    (tmp_path / "mine.py").write_text(UNGUARDED)
    command = [sys.executable, "mine.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 1
    assert 'put the call under\nif __name__ == "__main__":' in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_training_whose_output_nobody_reads_says_that_it_stopped(tmp_path):
    options = f"debug=tiny trainer.max_steps=2 run_dir={tmp_path}/run"
    command = f"{sys.executable} train.py {options} | head -n 1 >/dev/null; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", command], cwd=CONFIG_DIR.parent, capture_output=True, text=True, check=False)
    assert ended.returncode == 141
    assert "the training stopped: nobody reads its output now, as behind `| head`" in ended.stderr
    assert "Traceback" not in ended.stderr
