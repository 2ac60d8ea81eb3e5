"""The job of `bindspace mteb`: a binder measured by MTEB's tasks."""

from __future__ import annotations

import json
from pathlib import Path

from omegaconf import DictConfig

from bind.commands.arguments.mteb import check_arguments
from bind.files.writing import write_text
from bind.model.binder import Binder
from bind.model.device import best_device
from bind.model.hub import require_repository_name
from bind.report.cells import Cells, format_score
from bind.report.terminal_table import print_cells
from bind.runs.run_config import as_list, open_run, run_or_binder


def mteb(cfg: DictConfig) -> None:
    """Measure a run's binder, or a saved one, by tasks of MTEB: `bindspace mteb run=PATH tasks=[ESC50_Zeroshot]`.

    Raises:
        ValueError: where the extra is not installed, a task is not there, or has a modality that the binder lacks.
    """
    check_arguments(cfg)
    place = cfg.binder if run_or_binder(cfg) == "binder" else open_run(cfg.run)[0]
    names = [str(name) for name in as_list(cfg.tasks)]
    name = cfg.name or f"bindspace/{Path(place).name}"
    require_repository_name(name)
    from bind.share.as_mteb import evaluate_tasks, find_tasks

    binder = Binder.load(place, trust=list(cfg.trust)).to(best_device())
    tasks = find_tasks(names, binder)
    scores = evaluate_tasks(binder, tasks, name=name, batch_size=cfg.batch_size)
    metrics = {task.metadata.name: task.metadata.main_score for task in tasks}
    out = Path(cfg.out) if cfg.out is not None else Path(place) / "mteb.json"
    write_text(out, json.dumps({"model": name, "tasks": scores}, indent=2) + "\n")
    rows: list[tuple[str, ...]] = [
        (task, split, metrics[task], format_score(of_subset["main_score"], digits=5))
        for task, of_task in scores.items()
        for split, subsets in of_task.items()
        for of_subset in subsets
    ]
    print_cells(Cells("MTEB", "as MTEB measures it", ("task", "split", "metric", "score"), {"": rows}))
    print(f"scores: {out}")
