import csv
import itertools
import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from PIL import Image

from bind.commands.cli import main
from bind.studies.sweeps import plot as sweep_plot
from bind.studies.sweeps.jobs import RECORD, read_jobs, starting_order, swept_keys, write_plan
from bind.studies.sweeps.plot import plot_sweep
from bind.studies.sweeps.report import fold_cells, job_cells, report_sweep, setting_cells

MONITOR = "val/mean_R@1"
RETRIEVAL = {
    "audio_to_image": {"R@1": 0.2, "kind": "trained"},
    "image_to_audio": {"R@1": 0.3, "kind": "trained"},
    "audio_to_text": {"R@1": 0.1, "kind": "emergent"},
    "image_to_text": {"R@1": 0.98, "kind": "anchor"},
}


def write_job(folder, name, overrides, score=None, status="done", retrieval=RETRIEVAL, zero_shot=None, **more):
    job = folder / str(name)
    job.mkdir(parents=True)
    assigned = [f"{key}={value}" for key, value in overrides.items()]
    record = {"overrides": assigned, "monitor": MONITOR, "host": socket.gethostname(), "pid": os.getpid()}
    record |= {"status": status} | ({"score": score, "seconds": 61.4} if status == "done" else {}) | more
    (job / RECORD).write_text(json.dumps(record))
    (job / "metrics.json").write_text(
        json.dumps({"split": "test", "retrieval": retrieval, "zero_shot": zero_shot or {}})
    )


def grid(**values):
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]


@pytest.fixture
def sweep(tmp_path):
    """Two widths with three seeds each; one job has failed, one is running."""
    scores = {0: 0.1, 1: 0.3, 2: 0.2, 5: 0.25}
    for number, overrides in enumerate(grid(**{"debug": ["tiny"], "encoder.audio.width": [8, 16], "+seed": [0, 1, 2]})):
        status = {3: "failed", 4: "running"}.get(number, "done")
        error = {"error": "out of memory", "seconds": 3.0} if status == "failed" else {}
        write_job(tmp_path / "sweep", number, overrides, scores.get(number), status, **error)
    return tmp_path / "sweep"


def test_jobs_are_best_first_and_those_without_a_score_last(sweep):
    jobs = read_jobs(sweep)
    assert [job.name for job in jobs] == ["1", "5", "2", "0", "4", "3"]
    assert swept_keys(jobs) == ["encoder.audio.width", "seed"]
    assert [job.name for job in sorted(jobs, key=starting_order)] == ["0", "1", "2", "3", "4", "5"]


def test_folders_are_counted_not_spelt(tmp_path):
    for name in ("10", "9", "2"):
        write_job(tmp_path, name, {"seed": name}, 0.5)
    assert [job.name for job in read_jobs(tmp_path)] == ["2", "9", "10"]


def test_held_out_figures_are_means_over_pairs(sweep):
    best, *_, failed = read_jobs(sweep)
    assert (best.split, best.trained, best.emergent) == ("test", pytest.approx(0.25), pytest.approx(0.1))
    assert (failed.status, failed.trained, failed.emergent) == ("failed", None, None), "an earlier run's figures"


def test_the_anchors_own_pair_counts_where_it_was_trained(tmp_path):
    own = {key: {"R@1": 0.5, "kind": "trained"} for key in ("image_to_text", "text_to_image")}
    write_job(tmp_path, 0, {}, 0.5, retrieval=own)
    (job,) = read_jobs(tmp_path)
    assert (job.trained, job.emergent) == (0.5, None)


@pytest.mark.slow
def test_a_job_whose_process_is_gone_has_failed(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    write_job(tmp_path, 0, {}, status="running", pid=gone.pid)
    write_job(tmp_path, 1, {}, status="running", pid=gone.pid, host="elsewhere")
    write_job(tmp_path, 2, {}, status="running")
    assert {job.name: job.status for job in read_jobs(tmp_path)} == {"0": "failed", "1": "running", "2": "running"}


def test_the_table_shows_what_changed_and_says_what_not_to_choose_by(sweep):
    cells = job_cells(read_jobs(sweep))
    assert cells.headers[:4] == ("rank", "job", "encoder.audio.\nwidth", "seed")
    assert [row[:5] for row in cells.sections[""]] == [
        ("1", "1", "8", "1", "0.300"),
        ("2", "5", "16", "2", "0.250"),
        ("3", "2", "8", "2", "0.200"),
        ("4", "0", "8", "0", "0.100"),
        ("–", "4", "16", "1", "–"),
        ("–", "3", "16", "0", "–"),
    ]
    assert [row[-1] for row in cells.sections[""]] == ["done"] * 4 + ["running", "failed"]
    assert f"chosen by {MONITOR}" in cells.caption
    assert "not chosen by" in cells.caption
    assert cells.caption.endswith("in all jobs: debug=tiny")


def test_seeds_of_a_setting_are_averaged(sweep):
    cells = setting_cells(read_jobs(sweep))
    assert cells.headers[0] == "encoder.audio.\nwidth"
    best, second = cells.sections[""]
    scores = [0.1, 0.3, 0.2]
    assert best == ("16", "0.250", "0.250", "0.100", "1 of 3")
    assert second[:2] == ("8", f"{np.mean(scores):.3f} ± {np.std(scores, ddof=1):.3f}")
    assert second[-1] == "3"


def test_a_sweep_over_seeds_alone_is_one_setting(tmp_path):
    for seed, score in enumerate((0.2, 0.4)):
        write_job(tmp_path, seed, {"seed": seed}, score)
    (row,) = setting_cells(read_jobs(tmp_path)).sections[""]
    assert row == ("all jobs", "0.300 ± 0.141", "0.250 ± 0.000", "0.100 ± 0.000", "2")


@pytest.mark.slow
def test_folds_end_with_the_mean_of_every_figure(tmp_path, capsys):
    for number, score in enumerate((0.2, 0.4, 0.9)):
        zero_shot = {"audio": {"top1": score}, "image": {"map": 0.5 + score / 10}}
        pairs = {"audio_to_image": {"R@1": 0.5 - score / 2, "kind": "trained"}}
        overrides = {"data.manifest": f"fold{number}.csv", "data": "manifest"}
        write_job(tmp_path, number, overrides, score, retrieval=pairs, zero_shot=zero_shot)
    write_job(tmp_path, 3, {"data.manifest": "fold3.csv", "data": "manifest"}, status="failed", error="no such file")
    cells = fold_cells(read_jobs(tmp_path))
    scores = np.array([0.2, 0.4, 0.9])
    expected = {"R@1 audio_to_image": 0.5 - scores / 2, "top-1 audio": scores, "mAP image": 0.5 + scores / 10}
    assert [row[0] for row in cells.sections[""]] == list(expected)
    for row in cells.sections[""]:
        x = expected[row[0]]
        assert row[1:] == (f"{x.mean():.3f} ± {x.std(ddof=1):.3f}", f"{x.min():.3f}", f"{x.max():.3f}", "3 of 4")
    assert "over 3 of 4 folds" in cells.title
    assert "1 of 4 jobs have no figures" in cells.caption
    report_sweep(tmp_path)
    printed = capsys.readouterr().out
    assert printed.index("Sweep, 4 tried") < printed.index("Held-out figures, mean") < printed.index("job 3 failed")


BASIC = {"_target_": "hydra._internal.core_plugins.basic_sweeper.BasicSweeper", "params": None}
FOLDS = ["-m", "data=manifest", "data.manifest=a.csv,b.csv,c.csv", "seed=0", "~logger", "+x='a b'"]


@pytest.fixture
def stopped_folds(tmp_path, monkeypatch):
    """Folds of which one is done, one was stopped by Ctrl-C and one has never started."""
    monkeypatch.setattr(sys, "argv", ["train.py", *FOLDS])
    write_plan(tmp_path, OmegaConf.create(BASIC))
    same = {"data": "manifest", "seed": 0, "~logger": "null", "+x": "'a b'"}
    pairs = {"audio_to_image": {"R@1": 0.5, "kind": "trained"}}
    write_job(tmp_path, 0, same | {"data.manifest": "a.csv"}, 0.4, retrieval=pairs)
    stopped = {"status": "stopped", "error": "stopped by SIGINT after step 3", "seconds": 9.0}
    write_job(tmp_path, 1, same | {"data.manifest": "b.csv"}, **stopped)
    return tmp_path


@pytest.mark.slow
def test_a_stopped_sweep_says_what_is_missing_and_how_it_goes_on(stopped_folds, capsys):
    jobs = read_jobs(stopped_folds)
    assert [(job.name, job.status) for job in jobs] == [("0", "done"), ("1", "stopped"), ("2", "not started")]
    assert swept_keys(jobs) == ["data.manifest"]
    report_sweep(stopped_folds)
    printed = " ".join(capsys.readouterr().out.split())
    assert "Sweep, 2 of 3 tried" in printed
    assert "mean ± standard deviation over 1 of 3 folds" in printed
    assert "2 of 3 jobs have no figures (yet), so these are not the means of the whole sweep" in printed
    assert "job 1 stopped by SIGINT after step 3 go on with: python train.py -m" in printed
    assert f"hydra.sweep.dir={stopped_folds} ckpt=auto" in printed
    assert "failed" not in printed
    assert fold_cells(jobs).sections[""] == [("R@1 audio_to_image", "0.500", "0.500", "0.500", "1 of 3")]
    assert setting_cells(jobs).sections[""][0][-1] == "1 of 3"
    assert (stopped_folds / "sweep.png").stat().st_size > 0


@pytest.mark.slow
def test_a_sweep_that_has_gone_on_is_whole(stopped_folds, capsys):
    same = {"data": "manifest", "seed": 0, "~logger": "null", "+x": "'a b'", "ckpt": "auto"}
    (stopped_folds / "1" / RECORD).unlink()
    (stopped_folds / "1" / "metrics.json").unlink()
    (stopped_folds / "1").rmdir()
    for number, fold in ((1, "b.csv"), (2, "c.csv")):
        write_job(stopped_folds, number, same | {"data.manifest": fold}, 0.5)
    jobs = read_jobs(stopped_folds)
    assert [job.status for job in jobs] == ["done"] * 3
    report_sweep(stopped_folds)
    printed = capsys.readouterr().out
    assert "over 3 folds" in printed
    assert "go on with" not in printed


def test_a_sweeper_that_chooses_as_it_goes_has_no_plan(tmp_path):
    write_plan(tmp_path, OmegaConf.create({"_target_": "hydra_plugins.optuna.OptunaSweeper"}))
    assert not list(tmp_path.iterdir())


def test_folds_of_several_settings_are_averaged_apart(tmp_path):
    values = {"data.manifest": ["a.csv", "b.csv"], "optimizer.lr": [0.1, 0.2], "seed": [0, 1]}
    for number, overrides in enumerate(grid(**values)):
        write_job(tmp_path, number, overrides, number / 10, zero_shot={"audio": {"top1": number / 10}})
    jobs = read_jobs(tmp_path)
    cells = fold_cells(jobs)
    assert sorted(cells.sections) == ["optimizer.lr=0.1", "optimizer.lr=0.2"]
    assert next(row for row in cells.sections["optimizer.lr=0.1"] if row[0] == "top-1 audio")[-1] == "4"
    assert cells.title.endswith("over seeds and folds")
    assert [row[-1] for row in setting_cells(jobs).sections[""]] == ["4", "4"]


@pytest.mark.slow
def test_the_report_is_made_again_from_the_command_line(sweep, as_command, capsys):
    assert as_command(main, "sweep-report", str(sweep)) == 0
    printed = capsys.readouterr().out
    assert "0.200 ± 0.100" in printed
    assert "job 3 failed: out of memory\n" in printed
    assert printed.endswith(f"sweep directory: {sweep}\n")
    with (sweep / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4", "", ""]
    assert {key: rows[0][key] for key in ("job", "seed", "encoder.audio.width", MONITOR, "status", "error")} == {
        "job": "1",
        "seed": "1",
        "encoder.audio.width": "8",
        MONITOR: "0.3",
        "status": "done",
        "error": "",
    }
    assert float(rows[0]["test/mean_R@1/trained"]) == pytest.approx(0.25)
    assert rows[-1]["error"] == "out of memory"
    assert Image.open(sweep / "sweep.png").size[0] > 600


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["."], 1, "error: .: no job of a sweep there"),
        ([], 2, "usage: bindspace sweep-report PATH"),
        (["a", "b"], 2, "usage: bindspace sweep-report PATH"),
        (["--help"], 0, "usage: bindspace sweep-report PATH"),
    ],
)
def test_a_folder_without_jobs_and_wrong_arguments_are_reported(arguments, status, message, as_command, capsys):
    assert as_command(main, "sweep-report", *arguments) == status
    printed = capsys.readouterr()
    assert message in (printed.err if status else printed.out)


def test_without_a_score_there_is_a_table_and_no_plot(tmp_path, capsys):
    write_job(tmp_path, 0, {"seed": 0}, status="failed", error="no data")
    report_sweep(tmp_path)
    assert "job 0 failed: no data" in capsys.readouterr().out
    assert not (tmp_path / "sweep.png").exists()


# The plot


def panel(jobs, key, colours=None):
    ax = Figure().subplots()
    best = max(jobs, key=lambda job: job.score or 0)
    sweep_plot._draw_panel(ax, sorted(jobs, key=starting_order), best, key, colours or {})
    return ax


def tick_names(ax):
    return [label.get_text() for label in ax.get_xticklabels()]


def write_swept(folder, key, scores):
    for number, (value, score) in enumerate(scores):
        write_job(folder, number, {key: value}, score)
    return read_jobs(folder)


@pytest.mark.slow
def test_values_of_a_grid_lie_a_step_apart_with_their_means(tmp_path):
    ax = panel(write_swept(tmp_path, "lr", [("1e-3", 0.2), ("1e-4", 0.1), ("1e-3", 0.4)]), "lr")
    assert tick_names(ax) == ["1e-4", "1e-3"]
    line = ax.lines[0]
    assert line.get_xdata().tolist() == [0, 1]
    assert line.get_ydata() == pytest.approx([0.1, 0.3])


def test_names_stand_in_the_order_of_the_sweep_without_a_line_between_them(tmp_path):
    ax = panel(write_swept(tmp_path, "fusion", [("none", 0.2), ("late", 0.1), ("early", 0.4)]), "fusion")
    assert tick_names(ax) == ["none", "late", "early"]
    bars = [line for line in ax.lines if len(line.get_xdata()) > 1]
    assert [line.get_ydata()[0] for line in bars] == [0.2, 0.1, 0.4]


@pytest.mark.slow
@pytest.mark.parametrize(("low", "high", "scale"), [(1e-4, 1e-2, "log"), (0.5, 1.0, "linear"), (-1.0, 1.0, "linear")])
def test_values_that_a_sampler_drew_are_numbers_on_an_axis(low, high, scale, tmp_path):
    drawn = [*np.random.default_rng(0).uniform(low, high, 6).tolist(), low + 1e-9, high - 1e-9]
    ax = panel(write_swept(tmp_path, "lr", [(repr(value), 0.1) for value in drawn]), "lr")
    assert ax.get_xscale() == scale
    places = sorted(line.get_xdata()[0] for line in ax.lines if line.get_markersize() < 10)
    assert places == pytest.approx(sorted(drawn))


@pytest.mark.slow
@pytest.mark.parametrize(("num_keys", "num_jobs"), [(0, 1), (0, 7), (1, 50), (4, 7), (5, 7)])
def test_any_sweep_can_be_drawn(num_keys, num_jobs, tmp_path):
    values = [[8, 16], ["none", "late", "early"], ["true", "false"], [0.5, "null"], ["[a]", "[a,b]"]][:num_keys]
    for number in range(num_jobs):
        overrides = {f"key{index}": options[number % len(options)] for index, options in enumerate(values)}
        status = ("failed" if number % 5 == 1 else "running" if number % 5 == 3 else "done") if number else "done"
        write_job(tmp_path, number, overrides | {"seed": number % 3}, 0.2 if status == "done" else None, status)
    png = plot_sweep(read_jobs(tmp_path), tmp_path / "sweep.png")
    num_columns = 0 if num_jobs == 1 else min(num_keys, 4)
    num_rows = 2 if num_keys > 4 else 1
    inches = (0.8 + 3 * max(1.6, num_columns), 1.2 + 2.9 * num_rows)
    assert Image.open(png).size == tuple(round(150 * length) for length in inches)
