import json

import pytest
import torch
from PIL import Image
from support import runs
from torch.nn.functional import normalize

from bind.commands.cli import main
from bind.runs.jobs import train
from bind.studies.probe.command import Labelled, choose_label_sets, measure_few_shot, measure_linear

NOTHING = lambda: None  # noqa: E731
DIM, NUM_CLASSES = 16, 4


def vectors(num_samples, seed, noise=0.5):
    generator = torch.Generator().manual_seed(seed)
    target = torch.arange(num_samples) % NUM_CLASSES
    z = torch.eye(DIM)[target] + noise * torch.randn(num_samples, DIM, generator=generator)
    return Labelled(normalize(z, dim=-1), target, torch.arange(num_samples))


@pytest.mark.slow
def test_more_examples_help_and_draws_repeat():
    train_, test = vectors(200, 0), vectors(400, 1)
    found = measure_few_shot(train_, test, [1, 16], 5, seed=0, advance=NOTHING)
    assert found == measure_few_shot(train_, test, [1, 16], 5, seed=0, advance=NOTHING)
    assert found != measure_few_shot(train_, test, [1, 16], 5, seed=1, advance=NOTHING)
    assert found["1"]["accuracy"] + 0.1 < found["16"]["accuracy"]
    assert found["1"]["std"] > found["16"]["std"]
    assert len(found["1"]["draws"]) == 5


@pytest.mark.slow
def test_a_class_without_examples_is_never_right():
    train_, test = vectors(200, 0, noise=0.01), vectors(400, 1, noise=0.01)
    kept = train_.target != 2
    without = Labelled(train_.z[kept], train_.target[kept], train_.rows[kept])
    assert measure_few_shot(train_, test, [4], 1, seed=0, advance=NOTHING)["4"]["accuracy"] == 1
    assert measure_few_shot(without, test, [4], 1, seed=0, advance=NOTHING)["4"]["accuracy"] == 0.75
    assert measure_linear(without, test, test, test.rows.numpy(), NOTHING)["accuracy"] == 0.75


@pytest.mark.slow
def test_the_penalty_is_chosen_on_val_and_test_has_no_say():
    train_, val, test = vectors(40, 0, 1.0), vectors(200, 1, 1.0), vectors(400, 2, 1.0)
    found = measure_linear(train_, val, test, test.rows.numpy(), NOTHING)
    wrong = Labelled(test.z, (test.target + 1) % NUM_CLASSES, test.rows)
    misled = measure_linear(train_, val, wrong, test.rows.numpy(), NOTHING)
    assert (found["C"], found["val_accuracy"]) == (misled["C"], misled["val_accuracy"])
    assert found["ci95_accuracy"][0] < found["accuracy"] < found["ci95_accuracy"][1]
    assert found["accuracy"] > 0.4 > misled["accuracy"]


def test_one_class_is_no_task_for_a_line():
    one = Labelled(torch.eye(2), torch.tensor([0, 0]), torch.arange(2))
    assert measure_linear(one, one, one, one.rows.numpy(), NOTHING) is None


def test_without_label_sets_the_labels_of_the_training_are_the_classes():
    [label_set] = choose_label_sets({}, ["b", None, "a", "b"])
    assert list(label_set.classes) == ["a", "b"]
    several = {"s": {"modalities": [], "templates": ["{}"], "classes": ["a"], "multi_label": True}}
    with pytest.raises(ValueError, match="one class per sample"):
        choose_label_sets(several, ["a"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probed")
    manifest = runs.write_recordings(folder)
    made = {"data.manifest": str(manifest), "run_dir": str(folder / "run"), "trainer.max_epochs": 1}
    train(runs.config("data=manifest", **runs.RECORDED | made))
    return folder


@pytest.mark.slow
def test_the_command_writes_a_table_a_file_and_a_plot(finished, as_command, capsys):
    sets = "+data.zero_shot.two={modalities: [audio], templates: ['a {}'], classes: [label 0, label 1]}"
    assert as_command(main, "probe", f"run={finished / 'run'}", "k=[1,2]", "draws=2", sets) == 0
    shown = capsys.readouterr().out
    assert "Probes of frozen embeddings, test split" in shown
    found = json.loads((finished / "run" / "probe.json").read_text())
    assert set(found["tasks"]) == {"audio", "imu", "image"}
    for task in found["tasks"].values():
        assert (task["num_classes"], task["chance"]) == (2, 0.5)
        assert set(task["few_shot"]) == {"1", "2"}
        assert 0 <= task["zero_shot"]["accuracy"] <= 1
    assert Image.open(finished / "run" / "probe.png").size[0] > 500


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("k=abc", "k=['abc'] draws=5: pass numbers of at least 1"),
        ("k=[1,x]", "k=[1, 'x'] draws=5"),
        ("k=0", "k=[0] draws=5"),
        ("draws=x", "draws=x: pass numbers of at least 1, such as k=[1,4,16] draws=5"),
    ],
)
def test_what_is_no_number_of_examples_is_refused(option, message, finished, as_command, capsys):
    assert as_command(main, "probe", f"run={finished / 'run'}", option) == 1
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_one_number_of_examples_needs_no_brackets(as_command, capsys):
    assert as_command(main, "probe", "run=nowhere", "k=4") == 1
    assert "run=nowhere: no config.yaml there" in capsys.readouterr().err


@pytest.mark.slow
def test_other_prompts_evaluate_a_finished_run(finished, as_command):
    sets = "+data.zero_shot.many={modalities: [audio, imu], templates: ['a {}'], classes: null, multi_label: true}"
    assert as_command(main, "evaluate", f"run={finished / 'run'}", sets) == 0
    metrics = json.loads((finished / "run" / "metrics.json").read_text())
    assert set(metrics["zero_shot"]) == {"audio", "imu"}
    assert metrics["zero_shot"]["audio"]["label_set"] == "many"
    assert 0 < metrics["zero_shot"]["audio"]["map"] <= 1


@pytest.mark.slow
def test_without_labels_it_says_what_to_do(finished, as_command, capsys):
    rows = [{k: v for k, v in row.items() if k != "label"} for row in runs.read_manifest(finished / "manifest.jsonl")]
    before = (finished / "manifest.jsonl").read_text()
    runs.write_manifest(finished / "manifest.jsonl", rows)
    try:
        assert as_command(main, "probe", f"run={finished / 'run'}") == 1
    finally:
        (finished / "manifest.jsonl").write_text(before)
    assert "give the manifest a column `label`" in capsys.readouterr().err
