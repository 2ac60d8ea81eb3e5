"""The table of a sweep: what was tried, best first, in the terminal and as `sweep.csv`, with `sweep.png` beside it."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from statistics import fmean, stdev

from bind.files.writing import write_text
from bind.report.cells import MISSING, Cells, format_score
from bind.report.terminal_table import print_cells
from bind.studies.sweeps.jobs import SweepJob, read_jobs, read_plan, swept_keys

FOLD = "data.manifest"
"""The key that differs between the folds of a cross-validation: each fold is a table of its own."""
REPEATED = {"seed": "seeds", FOLD: "folds"}
"""Keys whose values are repetitions of one setting → what these are called."""


def main(arguments: list[str]) -> None:
    """`bindspace sweep-report PATH`."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        status = 0 if arguments in (["-h"], ["--help"]) else 2
        print(
            "usage: bindspace sweep-report PATH\n\n"
            "Make the table and the plot of a sweep (python train.py -m …) again.\n"
            "PATH is the folder that the last line of the sweep names.",
            file=sys.stdout if status == 0 else sys.stderr,
        )
        raise SystemExit(status)
    report_sweep(Path(arguments[0]))


def report_sweep(folder: Path) -> None:
    """Write `sweep.csv` and `sweep.png` into a sweep's folder and print its tables.

    Raises:
        ValueError: no job of a sweep lies below `folder`.
    """
    from bind.studies.sweeps.plot import plot_sweep

    jobs = read_jobs(folder)
    write_csv(jobs, folder / "sweep.csv")
    print_cells(job_cells(jobs))
    if set(REPEATED) & set(swept_keys(jobs)) and any(job.score is not None for job in jobs):
        print_cells(setting_cells(jobs))
    if FOLD in swept_keys(jobs) and any(job.figures for job in jobs):
        print_cells(fold_cells(jobs))
    for job in jobs:
        if job.error:
            print(f"job {job.name} {job.error if job.status == 'stopped' else f'failed: {job.error}'}")
    plot_sweep([job for job in jobs if job.status != "not started"], folder / "sweep.png")
    if any(job.status in ("stopped", "not started") for job in jobs) and (plan := read_plan(folder)):
        print(f"go on with: {plan['command']}")
    print(f"sweep directory: {folder}")


def job_cells(jobs: list[SweepJob]) -> Cells:
    """One row per job, as `read_jobs` orders them; a column per override that changed."""
    keys, split = swept_keys(jobs), _split(jobs)
    same = [f"{key}={value}" for key, value in jobs[0].overrides.items() if key not in keys]
    rows = [
        (
            str(rank) if job.score is not None else MISSING,
            job.name,
            *(_short(job.overrides.get(key)) for key in keys),
            format_score(job.score),
            format_score(job.trained),
            format_score(job.emergent),
            MISSING if job.seconds is None else f"{job.seconds:.0f}",
            job.status,
        )
        for rank, job in enumerate(jobs, start=1)
    ]
    caption = (
        f"chosen by {_monitor(jobs)} (the best of each job) alone; the {split} columns, mean R@1 over the pairs, "
        "are to be read, not chosen by"
    )
    return Cells(
        title=f"Sweep, {_count([job.status != 'not started' for job in jobs])} tried, best first",
        caption=caption + ("; in all jobs: " + " ".join(same) if same else ""),
        headers=("rank", "job", *map(_header, keys), *_figure_headers(jobs), "seconds", "status"),
        sections={"": rows},
    )


def setting_cells(jobs: list[SweepJob]) -> Cells:
    """One row per setting that differs in more than seed and fold: mean ± standard deviation over these."""
    keys = setting_keys(jobs)
    rows = {}
    for values, group in settings_of(jobs).items():
        scored = [job for job in group if job.score is not None]
        figures = [[getattr(job, name) for job in scored] for name in ("score", "trained", "emergent")]
        count = _count([job.score is not None for job in group])
        rows[values] = (_mean(figures[0]), (*(values or ("all jobs",)), *map(_mean_std, figures), count))
    ordered = sorted(rows.values(), key=lambda row: -1.0 if row[0] is None else row[0], reverse=True)
    return Cells(
        title=f"Mean ± standard deviation over {repetitions(jobs)}, best first",
        caption="n: jobs that are done",
        headers=(*(map(_header, keys) if keys else ("setting",)), *_figure_headers(jobs), "n"),
        sections={"": [row for _, row in ordered]},
    )


def fold_cells(jobs: list[SweepJob]) -> Cells:
    """One row per figure of the held-out splits: mean ± standard deviation over the folds, least and most."""
    sections: dict[str, list[tuple[str, ...]]] = {}
    for values, group in settings_of(jobs).items():
        heading = ", ".join(f"{key}={value}" for key, value in zip(setting_keys(jobs), values, strict=True))
        for name in dict.fromkeys(name for job in group for name in job.figures):
            figures = [job.figures.get(name) for job in group]
            known = [figure for figure in figures if figure is not None]
            count = _count([figure is not None for figure in figures])
            row = (name, _mean_std(figures), format_score(min(known)), format_score(max(known)), count)
            sections.setdefault(heading, []).append(row)
    num_left_out = sum(not job.figures for job in jobs)
    left_out = (
        f"; {num_left_out} of {len(jobs)} jobs have no figures (yet), so these are not the means of the whole sweep"
        if num_left_out
        else ""
    )
    return Cells(
        title=f"Held-out figures, mean ± standard deviation over {repetitions(jobs)}",
        caption="± is the spread between them, which is not the interval of a fold: metrics.json of each has that; a "
        f"sample's R@1 is ranked in the pool of its own fold{left_out}",
        headers=(f"{_split(jobs)} split", "mean ± std", "least", "most", "n"),
        sections=sections,
    )


def setting_keys(jobs: list[SweepJob]) -> list[str]:
    """The keys that make a setting: those that changed, without what repeats it."""
    return [key for key in swept_keys(jobs) if key not in REPEATED]


def settings_of(jobs: list[SweepJob]) -> dict[tuple[str, ...], list[SweepJob]]:
    """The jobs of each setting, by its values of `setting_keys`."""
    settings: dict[tuple[str, ...], list[SweepJob]] = {}
    for job in jobs:
        values = tuple(_short(job.overrides.get(key)) for key in setting_keys(jobs))
        settings.setdefault(values, []).append(job)
    return settings


def repetitions(jobs: list[SweepJob]) -> str:
    """What a setting is repeated over, such as "4 folds", "2 of 4 folds" where others are not done."""
    keys = [key for key in REPEATED if key in swept_keys(jobs)]
    if len(keys) > 1:
        return " and ".join(REPEATED[key] for key in keys)
    done = {job.overrides.get(keys[0]) for job in jobs if job.score is not None or job.figures}
    return f"{_count([value in done for value in {job.overrides.get(keys[0]) for job in jobs}])} {REPEATED[keys[0]]}"


def write_csv(jobs: list[SweepJob], path: Path) -> None:
    """One line per job with every override and figure in full; an empty cell where there is none."""
    keys, split = swept_keys(jobs), _split(jobs)
    names = [_monitor(jobs), f"{split}/mean_R@1/trained", f"{split}/mean_R@1/emergent", "seconds", "status", "error"]
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["rank", "job", *keys, *names])
    for rank, job in enumerate(jobs, start=1):
        figures = (job.score, job.trained, job.emergent, job.seconds, job.status, job.error)
        place = "" if job.score is None else rank
        writer.writerow([place, job.name, *(job.overrides.get(key, "") for key in keys), *figures])
    write_text(path, table.getvalue())


def _split(jobs: list[SweepJob]) -> str:
    return next((job.split for job in jobs if job.split), "held-out")


def _monitor(jobs: list[SweepJob]) -> str:
    return ", ".join(dict.fromkeys(job.monitor for job in jobs))


def _figure_headers(jobs: list[SweepJob]) -> tuple[str, ...]:
    return (_monitor(jobs).replace("/", "/\n", 1), f"{_split(jobs)}\ntrained", f"{_split(jobs)}\nemergent")


def _header(key: str) -> str:
    front, _, last = key.rpartition(".")
    return f"{front}.\n{last}" if front else key


def _short(value: str | None) -> str:
    """A value as typed, or to four digits where a sampler drew it."""
    if value is None:
        return MISSING
    try:
        return f"{float(value):.4g}" if len(value) > 8 else value
    except ValueError:
        return value


def _count(are_there: list[bool]) -> str:
    """`3`, or `2 of 3` where some are missing."""
    return f"{sum(are_there)}" if all(are_there) else f"{sum(are_there)} of {len(are_there)}"


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _mean_std(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return format_score(_mean(values))
    return f"{fmean(known):.3f} ± {stdev(known):.3f}"
