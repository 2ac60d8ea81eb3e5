"""The differences between two runs, and which are real: the same queries against the same pools, paired one by one."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bind.evaluation import QueryResults
from bind.evaluation.queries import differing_parts
from bind.files.writing import write_text
from bind.metrics.bootstrap import MIN_CLUSTERS, interval, resampled_means, resampled_medians, why_undecided
from bind.report.cells import Cells
from bind.report.queries import read_queries
from bind.report.terminal_table import print_cells
from bind.studies.compare_arguments import DEFAULT_FIGURES, read_arguments, require_run_directory

ZERO_SHOT = "zero_shot/"
LOWER_IS_BETTER = ("median_rank", "mean_rank")


@dataclass(frozen=True)
class Difference:
    """A figure of two runs, `b - a`, its 95 % interval and the run that is `better` ("" where that can't be decided).

    Fewer than `MIN_CLUSTERS` clusters never decide. `task` is the key in `queries.parquet`, `title` its name in tables.

    Examples:
        >>> import numpy as np
        >>> from bind.evaluation import QueryResults
        >>> def results(ranks):
        ...     per_query = {"R@1": (ranks == 1) * 1.0, "mean_rank": ranks}
        ...     keys, numbers = [f"clip{i}" for i in range(20)], np.arange(20)
        ...     return QueryResults("audio → image", keys, 0 * numbers, numbers, per_query, "samples", (20, "all"))
        >>> a, b = results(np.full(20, 2.0)), results(np.where(np.arange(20) < 12, 1.0, 2.0))
        >>> recall = differences("audio_to_image", a, b)[0]
        >>> recall.figure, recall.difference, recall.better
        ('R@1', 0.6, 'B')
    """

    task: str
    title: str
    figure: str
    a: float
    b: float
    difference: float
    ci95: tuple[float, float]
    better: str
    queries: int
    clusters: int
    resampled: str


@dataclass(frozen=True)
class Comparison:
    """Two runs on one split: the differences of every task that both have, and task → why it is left out."""

    run_a: Path
    run_b: Path
    split_name: str
    differences: list[Difference]
    left_out: dict[str, str]


def main(arguments: list[str]) -> None:
    """`bindspace compare RUN_A RUN_B`."""
    options = read_arguments(arguments)
    comparison = compare_runs(options.run_a, options.run_b, options.split)
    chosen = DEFAULT_FIGURES if options.figures is None else options.figures.split(",")
    known = list(dict.fromkeys(d.figure for d in comparison.differences))
    if options.figures is not None and (unknown := [name for name in chosen if name not in known]):
        raise ValueError(f"--figures: no figure {', '.join(unknown)}; there are {', '.join(known)}")
    print(f"A: {options.run_a}\nB: {options.run_b}\n")
    same = equal_tasks(comparison.differences)
    if differing := [d for d in comparison.differences if d.task not in same]:
        print_cells(difference_cells(differing, chosen, comparison.split_name))
    if same:  # those of the frozen anchor, normally
        print(f"the same in A and B, query by query: {'; '.join(same.values())}")
    for task, reason in comparison.left_out.items():
        print(f"not compared: {task}: {reason}")
    if options.out is not None:
        write_comparison(comparison, options.out)
        print(f"all figures: {options.out}")


def compare_runs(run_a: Path, run_b: Path, split_name: str | None = None) -> Comparison:
    """Compare two run directories, on the split of the first one's evaluation unless another is named.

    Raises:
        ValueError: a run that was not evaluated on the split, or no task with the same queries and pool in both.
    """
    split_a, tasks_a = read_run_queries(run_a, split_name)
    split_b, tasks_b = read_run_queries(run_b, split_name or split_a)
    assert split_a == split_b
    left_out = {task: "only in A" for task in tasks_a if task not in tasks_b}
    left_out |= {task: "only in B" for task in tasks_b if task not in tasks_a}
    compared: list[Difference] = []
    for task, a in tasks_a.items():
        if task in tasks_b:
            if reason := why_not_paired(a, tasks_b[task]):
                left_out[task] = reason
            else:
                compared += differences(task, a, tasks_b[task])
    if not compared:
        tasks_of = {why: [t for t in left_out if left_out[t] == why] for why in left_out.values()}
        reasons = "; ".join(f"{', '.join(tasks)}: {why}" for why, tasks in tasks_of.items())
        raise ValueError(f"{run_a} and {run_b} have no task to compare on split {split_a!r}: {reasons or 'no tasks'}")
    return Comparison(run_a, run_b, split_a, compared, left_out)


def read_run_queries(run: Path, split_name: str | None) -> tuple[str, dict[str, QueryResults]]:
    """The split and the results of a run's queries on it; without a name, on the split that the run was made for."""
    path = run / "queries.parquet"
    require_run_directory(run)
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
        differing = differing_parts(a.pool[1], b.pool[1])[:1] or ["items, groups or prompts"]
        return f"the pools, {a.pool[0]} items each, have different {differing[0]}"
    if missing := set(query_ids(a)) ^ set(query_ids(b)):
        return f"{len(missing)} queries are only in one of the runs, such as {min(missing)[0]}"
    if set(a.per_query) != set(b.per_query):
        return "the runs were evaluated with different figures"
    return ""


def query_ids(results: QueryResults) -> list[tuple[str, int]]:
    """The sample and the number of the value that each query is."""
    return list(zip(results.keys, results.values_Q.tolist(), strict=True))


def differences(task: str, a: QueryResults, b: QueryResults) -> list[Difference]:
    """Every figure of one task; clusters are A's, as both runs saw the same data."""
    place = {query: row for row, query in enumerate(query_ids(b))}
    same = np.array([place[query] for query in query_ids(a)])
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
    compared = []
    for figure, mean_a, mean_b, draws in rows:
        lo, hi = interval(draws, num_clusters)
        above, below = "AB" if figure in LOWER_IS_BETTER else "BA"
        is_undecided = bool(why_undecided({"clusters": num_clusters}))
        compared.append(
            Difference(
                task=task,
                title=a.title,
                figure=figure,
                a=float(mean_a),
                b=float(mean_b),
                difference=float(mean_b - mean_a),
                ci95=(lo, hi),
                better="" if is_undecided else above if lo > 0 else below if hi < 0 else "",
                queries=len(same),
                clusters=num_clusters,
                resampled=a.resampled,
            )
        )
    return compared


def equal_tasks(compared: Sequence[Difference]) -> dict[str, str]:
    """The tasks in which every query has the same figures in both runs, with their titles."""
    differing = {d.task for d in compared if (d.difference, *d.ci95) != (0, 0, 0)}
    return {d.task: d.title for d in compared if d.task not in differing}


def difference_cells(compared: Sequence[Difference], figures: Sequence[str], split_name: str) -> Cells:
    """The table of these figures."""
    shown = [d for d in compared if d.figure in figures]
    sections: dict[str, list[tuple[str, ...]]] = {}
    for d in shown:
        ranks = d.figure in LOWER_IS_BETTER
        row = [f"{x:.1f}" if ranks else f"{x:.3f}" for x in (d.a, d.b)]
        row += [f"{x:+.1f}" if ranks else f"{x:+.3f}" for x in (d.difference, *d.ci95)]
        verdict = why_undecided(asdict(d)).partition(":")[0] or d.better or "–"
        sizes = f"{d.queries}/{d.clusters} {d.resampled}"
        sections.setdefault(d.figure, []).append((d.title, *row[:3], f"{row[3]} … {row[4]}", verdict, sizes))
    decided = [d for d in shown if not why_undecided(asdict(d))]
    undecided = {d.task for d in shown} - {d.task for d in decided}
    verdicts, notes = [], ["95 % CI: paired bootstrap over what is named last, the same resamples for A and B"]
    if decided or not shown:
        verdicts.append(f"{sum(bool(d.better) for d in decided)} of {len(decided)} differences are real")
        notes.append(
            "real, and better: the interval is without 0; of 20 differences that are nothing but chance about one "
            "looks real"
        )
    if undecided:
        verdicts.append(f"{len(undecided)} task{'s' if len(undecided) > 1 else ''} cannot be decided")
        notes.append(f"too few to conclude: intervals over under {MIN_CLUSTERS} miss the truth too often")
    return Cells(
        title=f"B − A, {split_name} split: {', '.join(verdicts)}",
        caption="; ".join(notes),
        headers=("task", "A", "B", "B − A", "95 % CI", "better", "queries/resampled"),
        sections=sections,
    )


def write_comparison(comparison: Comparison, out: Path) -> None:
    """Write all figures as JSON or CSV, by the suffix of `out`."""
    rows = [{name: value for name, value in asdict(d).items() if name != "title"} for d in comparison.differences]
    if out.suffix == ".json":
        content = {
            "a": str(comparison.run_a),
            "b": str(comparison.run_b),
            "split": comparison.split_name,
            "differences": rows,
            "not_compared": comparison.left_out,
        }
        write_text(out, json.dumps(content, indent=2) + "\n")
        return
    for row in rows:
        row["ci95_low"], row["ci95_high"] = row.pop("ci95")
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_text(out, table.getvalue())
