import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from bind.evaluation import QueryResults
from bind.report.queries import read_queries, write_queries
from bind.studies.compare import compare_runs, main

NUM = 60


def results(hit_rate, *, seed=0, order=None, clusters=None, pool=(10, "abc"), title="x → y"):
    rng = np.random.default_rng(seed)
    ranks = np.where(rng.random(NUM) < hit_rate, 1, 1 + rng.integers(1, 9, NUM)).astype(float)
    order = np.arange(NUM) if order is None else order
    per_query = {"R@1": (ranks == 1) * 1.0, "R@5": (ranks <= 5) * 1.0, "mean_rank": ranks, "map": 1 / ranks}
    return QueryResults(
        title=title,
        keys=[f"sample {i // 2}" for i in order],
        values_Q=order % 2,
        clusters_Q=(np.arange(NUM) // 2 if clusters is None else clusters)[order],
        per_query={name: x[order] for name, x in per_query.items()},
        resampled="owners",
        pool=pool,
    )


def run(folder, tasks, split="test", name="queries.parquet"):
    folder.mkdir(exist_ok=True)
    write_queries(folder / name, split, tasks)
    return folder


def by_figure(differences):
    return {d.figure: d for d in differences}


def test_what_is_written_is_read(tmp_path):
    tasks = {"a_to_b": results(0.5), "zero_shot/a": results(0.9, seed=1, pool=(50, "def"))}
    split, read = read_queries(run(tmp_path / "run", tasks) / "queries.parquet")
    assert (split, list(read)) == ("test", list(tasks))
    for task, r in tasks.items():
        assert (read[task].title, read[task].keys) == (r.title, r.keys)
        assert (read[task].resampled, read[task].pool) == (r.resampled, r.pool)
        np.testing.assert_array_equal(read[task].values_Q, r.values_Q)
        np.testing.assert_array_equal(read[task].clusters_Q, r.clusters_Q)
        assert read[task].per_query.keys() == r.per_query.keys()
        for name, x in r.per_query.items():
            np.testing.assert_array_equal(read[task].per_query[name], x)


def test_queries_are_paired_whatever_their_order(tmp_path):
    a = run(tmp_path / "a", {"x_to_y": results(0.5)})
    b = run(tmp_path / "b", {"x_to_y": results(0.5, order=np.random.default_rng(1).permutation(NUM))})
    for d in compare_runs(a, b).differences:
        assert (d.difference, d.ci95, d.better) == (pytest.approx(0), pytest.approx((0, 0)), "")
        assert (d.queries, d.clusters, d.resampled) == (NUM, NUM // 2, "owners")


@pytest.mark.slow
def test_pairing_sees_a_small_difference_that_two_intervals_would_not(tmp_path):
    worse = results(0.5)
    ranks = worse.per_query["mean_rank"].copy()
    ranks[np.flatnonzero(ranks > 1)[:6]] = 1  # six of sixty queries become right
    better = {"R@1": (ranks == 1) * 1.0, "R@5": (ranks <= 5) * 1.0, "mean_rank": ranks, "map": 1 / ranks}
    a = run(tmp_path / "a", {"x_to_y": worse})
    b = run(tmp_path / "b", {"x_to_y": replace(worse, per_query=better)})
    found = by_figure(compare_runs(a, b).differences)
    assert found["R@1"].difference == pytest.approx(0.1)
    assert 0 < found["R@1"].ci95[0] < 0.1 < found["R@1"].ci95[1]
    assert {d.better for name, d in found.items() if name != "median_rank"} == {"B"}  # a lower mean rank is better
    other_way = by_figure(compare_runs(b, a).differences)
    assert other_way["mean_rank"].better == "A"
    # A quarter of the queries differ at random: the same 0.1 between other queries is no evidence.
    assert (
        by_figure(compare_runs(a, run(tmp_path / "c", {"x_to_y": results(0.6, seed=9)})).differences)["R@1"].better
        == ""
    )


@pytest.mark.slow
def test_a_difference_of_one_owner_is_not_real(tmp_path):
    one_owner = np.where(np.arange(NUM) < 20, 0, np.arange(NUM))
    a = results(0.0, clusters=one_owner)
    right = {name: x.copy() for name, x in a.per_query.items()}
    right["R@1"][:20] = 1
    runs = [run(tmp_path / n, {"x_to_y": r}) for n, r in (("a", a), ("b", replace(a, per_query=right)))]
    assert by_figure(compare_runs(*runs).differences)["R@1"].better == ""
    alone = [replace(r, clusters_Q=np.arange(NUM)) for r in (a, replace(a, per_query=right))]
    runs = [run(tmp_path / n, {"x_to_y": r}) for n, r in zip("cd", alone, strict=True)]
    assert by_figure(compare_runs(*runs).differences)["R@1"].better == "B"


@pytest.mark.slow
def test_a_difference_over_few_owners_is_shown_without_a_verdict(tmp_path, capsys):
    better = {}
    for num_owners in (2, 9, 10):
        owners = np.arange(NUM) % num_owners
        tasks = [
            {"x_to_y": results(rate, seed=1, clusters=owners), "y_to_x": results(rate, title="y → x")}
            for rate in (0.2, 0.9)
        ]
        runs = [run(tmp_path / f"{name}{num_owners}", t) for name, t in zip("ab", tasks, strict=True)]
        found = [d for d in compare_runs(*runs).differences if d.figure == "R@1"]
        assert min(d.ci95[0] for d in found) > 0
        better[num_owners] = [d.better for d in found]
    assert better == {2: ["", "B"], 9: ["", "B"], 10: ["B", "B"]}
    main([str(tmp_path / "a2"), str(tmp_path / "b2"), "--figures", "R@1,map"])
    text = capsys.readouterr().out
    assert "test split: 2 of 2 differences are real, 1 task cannot be decided\n" in text
    assert "intervals over under 10 miss the truth too often" in " ".join(text.split())
    shown = [line for line in text.splitlines() if "x → y" in line]
    assert len(shown) == 2
    assert all(" … " in line for line in shown)
    assert all(line.split()[-7:] == ["too", "few", "owners", "to", "conclude", "60/2", "owners"] for line in shown)
    alone = [
        run(tmp_path / n, {"x_to_y": results(r, clusters=np.arange(NUM) % 3)}) for n, r in (("c", 0.2), ("d", 0.9))
    ]
    main([*map(str, alone), "--figures", "R@1"])
    text = capsys.readouterr().out
    assert "test split: 1 task cannot be decided\n" in text
    assert "differences are real" not in text


@pytest.mark.slow
def test_tasks_that_cannot_be_paired_are_named_with_the_reason(tmp_path):
    fewer = results(0.5)
    fewer = replace(
        fewer,
        keys=fewer.keys[:-1],
        values_Q=fewer.values_Q[:-1],
        clusters_Q=fewer.clusters_Q[:-1],
        per_query={name: x[:-1] for name, x in fewer.per_query.items()},
    )
    a = {"same": results(0.5), "p": results(0.5), "q": results(0.5), "r": results(0.5), "only_a": results(0.5)}
    b = {"same": results(0.6), "p": results(0.5, pool=(9, "x")), "q": results(0.5, pool=(10, "x")), "r": fewer}
    a |= {"g": results(0.5, pool=(10, "items:1 groups:1")), "i": results(0.5, pool=(10, "items:1 groups:1"))}
    b |= {"g": results(0.5, pool=(10, "items:1 groups:2")), "i": results(0.5, pool=(10, "items:2 groups:2"))}
    comparison = compare_runs(run(tmp_path / "a", a), run(tmp_path / "b", b))
    assert {d.task for d in comparison.differences} == {"same"}
    left_out = comparison.left_out
    assert left_out["p"] == "the pool has 10 items in A and 9 in B"
    assert left_out["q"] == "the pools, 10 items each, have different items, groups or prompts"
    assert left_out["g"] == "the pools, 10 items each, have different groups"
    assert left_out["i"] == "the pools, 10 items each, have different items"
    assert left_out["r"] == "1 queries are only in one of the runs, such as sample 29"
    assert left_out["only_a"] == "only in A"
    with pytest.raises(ValueError, match="no task to compare on split 'test': p: the pool has 10"):
        compare_runs(run(tmp_path / "c", {"p": a["p"]}), run(tmp_path / "d", {"p": b["p"]}))


@pytest.mark.slow
def test_the_split_is_that_of_the_runs_or_the_one_asked_for(tmp_path):
    a = run(tmp_path / "a", {"x_to_y": results(0.5)})
    b = run(tmp_path / "b", {"x_to_y": results(0.5)}, split="val")
    with pytest.raises(ValueError, match=r"bindspace evaluate run=.*b split=test"):
        compare_runs(a, b)
    run(a, {"x_to_y": results(0.5)}, split="val", name="queries_val.parquet")
    assert compare_runs(a, b, "val").split_name == "val"
    with pytest.raises(ValueError, match="no run directory"):
        compare_runs(a, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="evaluate run="):
        compare_runs(tmp_path / "empty", a)


@pytest.mark.slow
def test_the_command_prints_a_table_and_writes_all_figures(tmp_path, capsys):
    fused, classes = "audio ⊕ imu → image", results(0.2, title="audio, zero-shot")
    a = run(tmp_path / "a", {"audio_and_imu_to_image": results(0.2, title=fused), "zero_shot/audio": classes})
    b = run(tmp_path / "b", {"audio_and_imu_to_image": results(0.9, seed=1, title=fused), "zero_shot/audio": classes})
    for suffix in ("json", "csv"):
        main([str(a), str(b), "--figures", "R@1,top1", "--out", str(tmp_path / f"out.{suffix}")])
    text = capsys.readouterr().out
    assert text.startswith(f"A: {a}\nB: {b}\n")
    assert "test split: 1 of 1 differences are real" in text
    assert "audio ⊕ imu → image" in text
    assert "the same in A and B, query by query: audio, zero-shot\n" in text
    written = json.loads((tmp_path / "out.json").read_text())
    assert (written["split"], written["not_compared"]) == ("test", {})
    figures = [(d["task"], d["figure"]) for d in written["differences"]]
    assert ("audio_and_imu_to_image", "median_rank") in figures
    assert [f for t, f in figures if t == "zero_shot/audio"] == ["top1", "top5"]
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(figures)
    real = next(r for r in rows if r["figure"] == "R@1")
    assert real["better"] == "B"
    assert 0 < float(real["ci95_low"]) < float(real["difference"]) < float(real["ci95_high"])


def test_a_run_compared_with_itself_has_no_table(tmp_path, capsys):
    a = run(tmp_path / "a", {"x_to_y": results(0.5)})
    main([str(a), str(a), "--figures", "R@1"])
    assert capsys.readouterr().out == f"A: {a}\nB: {a}\n\nthe same in A and B, query by query: x → y\n"


@pytest.mark.slow
def test_runs_that_share_nothing_but_a_classification_are_compared(tmp_path, capsys):
    a = run(tmp_path / "a", {"zero_shot/audio": results(0.3), "x_to_y": results(0.5)})
    b = run(tmp_path / "b", {"zero_shot/audio": results(0.9, seed=1), "x_to_y": results(0.5, pool=(9, "x"))})
    main([str(a), str(b)])
    text = capsys.readouterr().out
    assert [line.strip() for line in text.splitlines() if line.strip() in ("top1", "R@1")] == ["top1"]
    assert "1 of 1 differences are real" in text
    assert "not compared: x_to_y: the pool has 10 items" in text
    main([str(a), str(b), "--figures", "top5,top1"])
    assert "top5" in capsys.readouterr().out
    with pytest.raises(ValueError, match="no figure R@1; there are top1, top5"):
        main([str(a), str(b), "--figures", "R@1"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--out", "table.txt"], r"\.json or \.csv"), (["--figures", "R@1,r@7"], "no figure r@7; there are R@1, R@5")],
)
def test_refuses_what_it_cannot_do(tmp_path, arguments, message):
    a = run(tmp_path / "a", {"x_to_y": results(0.5)})
    with pytest.raises(ValueError, match=message):
        main([str(a), str(a), *arguments])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: replace(r, clusters_Q=r.clusters_Q + 0.5), "its clusters are no numbers of clusters"),
        (lambda r: replace(r, clusters_Q=r.clusters_Q - 1), "its clusters are no numbers of clusters"),
        (
            lambda r: replace(r, keys=[], values_Q=r.values_Q[:0], clusters_Q=r.clusters_Q[:0], per_query={}),
            "it has no queries of a_to_b",
        ),
    ],
)
def test_results_that_can_not_be_are_refused_by_name(tmp_path, change, message):
    folder = run(tmp_path / "a", {"a_to_b": change(results(0.5))})
    with pytest.raises(ValueError, match=rf"queries\.parquet: .*{message}"):
        compare_runs(folder, folder)
