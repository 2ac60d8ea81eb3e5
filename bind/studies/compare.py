"""Which differences between two runs are real: the same queries against the same pools, paired one by one."""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bind.evaluation import QueryResults
from bind.files import write_text
from bind.metrics.bootstrap import MIN_CLUSTERS, interval, resampled_means, resampled_medians
from bind.report.queries import read_queries
from bind.report.tables import Cells, pair_of, print_cells, readable

ZERO_SHOT = "zero_shot/"
LOWER_IS_BETTER = ("median_rank", "mean_rank")


@dataclass(frozen=True)
class Difference:
    """A figure of two runs, `b - a`, its 95 % interval and which run it says is `better` ("" where it cannot tell).

    Fewer than `MIN_CLUSTERS` clusters never tell.
    """

    task: str
    figure: str
    a: float
    b: float
    difference: float
    ci95: tuple[float, float]
    better: str
    queries: int
    clusters: int
    resampled: str


def main(arguments: list[str]) -> None:
    """`bindspace compare RUN_A RUN_B`."""
    parser = argparse.ArgumentParser(
        prog="bindspace compare", description="Pair the queries of two runs and say which differences are real."
    )
    parser.add_argument("run_a", type=Path, metavar="RUN_A", help="a run directory")
    parser.add_argument("run_b", type=Path, metavar="RUN_B", help="another one")
    parser.add_argument("--split", help="the split to compare on (the one that both were evaluated on last)")
    parser.add_argument("--figures", default="R@1,R@10,map,top1", help="rows of the table (%(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="all figures as .json or .csv")
    options = parser.parse_args(arguments)
    if options.out is not None and options.out.suffix not in (".json", ".csv"):
        raise ValueError(f"--out {options.out}: choose a name that ends in .json or .csv")
    split_name, found, left_out = compare_runs(options.run_a, options.run_b, options.split)
    wanted = options.figures.split(",")
    known = list(dict.fromkeys(d.figure for d in found))
    if unknown := [name for name in wanted if name not in {*known, "top1", "top5"}]:
        raise ValueError(f"--figures: no figure {', '.join(unknown)}; there are {', '.join(known)}")
    print(f"A: {options.run_a}\nB: {options.run_b}\n")
    same = equal_tasks(found)
    if differing := [d for d in found if d.task not in same]:
        print_cells(cells(differing, wanted, split_name))
    if same:  # those of the frozen anchor, normally
        print(f"the same in A and B, query by query: {'; '.join(map(_label, same))}")
    for task, reason in left_out.items():
        print(f"not compared: {task}: {reason}")
    if options.out is not None:
        write(options.out, options.run_a, options.run_b, split_name, found, left_out)
        print(f"all figures: {options.out}")


def compare_runs(
    run_a: Path, run_b: Path, split_name: str | None = None
) -> tuple[str, list[Difference], dict[str, str]]:
    """The split, the differences of every task that both runs have, and task → why it is left out.

    Raises:
        ValueError: a run that was not evaluated on the split, or no task with the same queries and pool in both.
    """
    split_a, tasks_a = queries_of(run_a, split_name)
    split_b, tasks_b = queries_of(run_b, split_name or split_a)
    assert split_a == split_b
    left_out = {task: "only in A" for task in tasks_a if task not in tasks_b}
    left_out |= {task: "only in B" for task in tasks_b if task not in tasks_a}
    found: list[Difference] = []
    for task, a in tasks_a.items():
        if task in tasks_b:
            if reason := why_not_paired(a, tasks_b[task]):
                left_out[task] = reason
            else:
                found += differences(task, a, tasks_b[task])
    if not found:
        tasks_of = {why: [t for t in left_out if left_out[t] == why] for why in left_out.values()}
        reasons = "; ".join(f"{', '.join(tasks)}: {why}" for why, tasks in tasks_of.items())
        raise ValueError(f"{run_a} and {run_b} have no task to compare on split {split_a!r}: {reasons or 'no tasks'}")
    return split_a, found, left_out


def queries_of(run: Path, split_name: str | None) -> tuple[str, dict[str, QueryResults]]:
    """The queries of a run on a split; without a name, on the one that it was made for."""
    path = run / "queries.parquet"
    if not run.is_dir():
        raise ValueError(f"{run} is no run directory")
    if split_name is None:
        return read_queries(path)
    if path.is_file() and (read := read_queries(path))[0] == split_name:
        return read
    path = run / f"queries_{split_name}.parquet"
    if not path.is_file():
        raise ValueError(
            f"{run}: split {split_name!r} was not evaluated: bindspace evaluate run={run} split={split_name}"
        )
    return read_queries(path)


def why_not_paired(a: QueryResults, b: QueryResults) -> str:
    """The reason why two results are not of the same queries against the same pool, or nothing."""
    if a.pool[0] != b.pool[0]:
        return f"the pool has {a.pool[0]} items in A and {b.pool[0]} in B"
    if a.pool[1] != b.pool[1]:
        return f"the pools, {a.pool[0]} items each, hold different items, groups or prompts"
    ours, theirs = names_of(a), names_of(b)
    if missing := set(ours) ^ set(theirs):
        return f"{len(missing)} queries are only in one of the runs, such as {min(missing)[0]}"
    if set(a.per_query) != set(b.per_query):
        return "the runs were evaluated with different figures"
    return ""


def names_of(results: QueryResults) -> list[tuple[str, int]]:
    return list(zip(results.keys, results.values_Q.tolist(), strict=True))


def differences(task: str, a: QueryResults, b: QueryResults) -> list[Difference]:
    """Every figure of one task; clusters are A's, as both runs saw the same data."""
    place = {name: row for row, name in enumerate(names_of(b))}
    same = np.array([place[name] for name in names_of(a)])
    clusters, cluster_Q = np.unique(a.clusters_Q, return_inverse=True)
    figures = list(a.per_query)
    values_a, values_b = (np.stack([r.per_query[f] for f in figures], axis=1) for r in (a, b))
    values_b = values_b[same]
    num_clusters = len(clusters)
    draws_BM = resampled_means(values_b - values_a, cluster_Q, num_clusters=num_clusters)
    rows = [(figure, values_a[:, m].mean(), values_b[:, m].mean(), draws_BM[:, m]) for m, figure in enumerate(figures)]
    # The same clusters are drawn for both, so medians are paired too.
    ranks = [values[:, figures.index("mean_rank")] for values in (values_a, values_b)]
    medians = [resampled_medians(r, cluster_Q, num_clusters=num_clusters) for r in ranks]
    rows.append(("median_rank", np.median(ranks[0]), np.median(ranks[1]), medians[1] - medians[0]))
    if task.startswith(ZERO_SHOT):
        rows = [(f"top{name[2:]}", *rest) for name, *rest in rows if name in ("R@1", "R@5")]
    found = []
    for figure, mean_a, mean_b, draws in rows:
        lo, hi = interval(draws)
        above, below = "AB" if figure in LOWER_IS_BETTER else "BA"
        better = "" if num_clusters < MIN_CLUSTERS else above if lo > 0 else below if hi < 0 else ""
        difference = float(mean_b - mean_a)
        about = {"queries": len(same), "clusters": num_clusters, "resampled": a.resampled}
        found.append(
            Difference(task, figure, float(mean_a), float(mean_b), difference, (lo, hi), better, **about)  # type: ignore[arg-type]
        )
    return found


def equal_tasks(found: Sequence[Difference]) -> list[str]:
    """The tasks in which no query found anything else."""
    differing = {d.task for d in found if (d.difference, *d.ci95) != (0, 0, 0)}
    return [task for task in dict.fromkeys(d.task for d in found) if task not in differing]


def cells(found: Sequence[Difference], figures: Sequence[str], split_name: str) -> Cells:
    """The table of these figures."""
    shown = [d for d in found if d.figure in figures]
    sections: dict[str, list[tuple[str, ...]]] = {}
    for d in shown:
        ranks = d.figure in LOWER_IS_BETTER
        row = [f"{x:.1f}" if ranks else f"{x:.3f}" for x in (d.a, d.b)]
        row += [f"{x:+.1f}" if ranks else f"{x:+.3f}" for x in (d.difference, *d.ci95)]
        verdict = f"too few {d.resampled} to tell" if d.clusters < MIN_CLUSTERS else d.better or "–"
        sizes = f"{d.queries}/{d.clusters} {d.resampled}"
        sections.setdefault(d.figure, []).append((_label(d.task), *row[:3], f"{row[3]} … {row[4]}", verdict, sizes))
    told = [d for d in shown if d.clusters >= MIN_CLUSTERS]
    untold = {d.task for d in shown} - {d.task for d in told}
    verdicts, notes = [], ["95 % CI: paired bootstrap over what is named last, the same resamples for A and B"]
    if told or not shown:
        verdicts.append(f"{sum(bool(d.better) for d in told)} of {len(told)} differences are real")
        notes.append(
            "real, and better: the interval is without 0; of 20 differences that are nothing but chance about one "
            "looks real"
        )
    if untold:
        verdicts.append(f"{len(untold)} task{'s' if len(untold) > 1 else ''} cannot be told")
        notes.append(f"too few to tell: of under {MIN_CLUSTERS} the interval is far too narrow")
    return Cells(
        title=f"B − A, {split_name} split: {', '.join(verdicts)}",
        caption="; ".join(notes),
        headers=("task", "A", "B", "B − A", "95 % CI", "better", "queries/resampled"),
        sections=sections,
    )


def write(
    out: Path, run_a: Path, run_b: Path, split_name: str, found: Sequence[Difference], left_out: dict[str, str]
) -> None:
    """All figures as JSON or CSV."""
    rows = [asdict(d) for d in found]
    if out.suffix == ".json":
        about = {"a": str(run_a), "b": str(run_b), "split": split_name, "differences": rows, "not_compared": left_out}
        write_text(out, json.dumps(about, indent=2) + "\n")
        return
    for row in rows:
        row["ci95_low"], row["ci95_high"] = row.pop("ci95")
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_text(out, table.getvalue())


def _label(task: str) -> str:
    if task.startswith(ZERO_SHOT):
        return task.removeprefix(ZERO_SHOT) + ", zero-shot"
    query, pool = pair_of(task)
    return f"{readable(query)} → {readable(pool)}"
