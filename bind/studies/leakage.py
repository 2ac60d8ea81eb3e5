"""The leakage audit of a finished run, without a limit."""

from __future__ import annotations

import json

from omegaconf import DictConfig

from bind.files.writing import write_text
from bind.model.device import best_device
from bind.report.leakage_table import leakage_cells, leakage_note
from bind.report.queries import read_queries
from bind.report.terminal_table import print_cells
from bind.runs.leakage import audit_run, without_leaked
from bind.runs.parts import Parts
from bind.runs.results import suffix_of, writes_results
from bind.runs.run_config import open_run


@writes_results("leakage", of_split=True)
def leakage(cfg: DictConfig) -> None:
    """What a split shares with all that a run was trained on, in full: `bindspace leakage run=PATH`.

    Raises:
        ValueError: where the run directory is incomplete, or the data has changed so that it can't be read.
    """
    run_dir, config = open_run(cfg.run)
    trust = list(cfg.trust)
    parts = Parts.load(run_dir, config, trust=trust, device=best_device())
    audit = audit_run(parts, run_dir, cfg.split, trust=trust, thorough=True)
    found = audit.figures() | {"keys": {kind: list(leaks) for kind, leaks in audit.leaks.items()}}
    suffix = suffix_of(cfg.split, config)
    path = run_dir / f"queries{suffix}.parquet"
    queries = read_queries(path)[1] if audit.leaked and path.is_file() else {}
    if queries:
        found["without_leaked"] = without_leaked(queries, audit.leaked)
    path = run_dir / f"leakage{suffix}.json"
    write_text(path, json.dumps({"split": cfg.split, **found}, indent=2) + "\n")
    titles = {task: results.title for task, results in queries.items()}
    for cells in leakage_cells({"split": cfg.split, "leakage": found}, titles):
        print_cells(cells)
    print(leakage_note(found))
    print(f"all of it: {path}")
