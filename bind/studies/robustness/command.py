"""`bindspace robustness`: every kind of noise at every level, and every input missing, for one finished run."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.progress import Progress

from bind.evaluation import Evaluation
from bind.evaluation.embed import embed_split
from bind.files.writing import write_text
from bind.model.binder import Binder
from bind.model.device import best_device
from bind.report.terminal_table import print_cells
from bind.runs.parts import Parts
from bind.runs.results import suffix_of, writes_results
from bind.runs.run_config import as_list, open_run
from bind.studies.robustness.cells import fusion_cells, noise_cells
from bind.studies.robustness.embed import Disturber, add_fused_without
from bind.studies.robustness.figures import FusedQueries
from bind.studies.robustness.heads import Vectors, make_heads, names_of_fused, reads_tokens
from bind.studies.robustness.kinds import KINDS, choose_kinds, select_possible_levels
from bind.studies.robustness.measure import describe_curve, make_fused_curves, make_missing_curves, make_noise_curves
from bind.studies.robustness.show import plot_robustness
from bind.studies.robustness.tasks import make_ranking_tasks
from bind.types import Modality

log = logging.getLogger("bind")


@writes_results("robustness", of_split=True)
def robustness(cfg: DictConfig) -> None:
    """Disturb the queries of a run, and take inputs away: `bindspace robustness run=PATH [kinds=[audio_snr_db]]`.

    Writes `robustness.json` and its PNGs into the run directory. Pools and prompts stay clean; the undisturbed point of
    a curve is the figure of `metrics.json`.

    Raises:
        ValueError: for kinds, levels or inputs that do not fit the run, or a run that can't be used.
    """
    run_dir, config = open_run(cfg.run)
    options: Any = OmegaConf.to_container(cfg, resolve=True)
    levels = {name: KINDS[name].ordered(name, as_list(values)) for name, values in options["levels"].items()}
    shares = check_shares(as_list(options["missing_shares"]))
    split_name, seed = options["split"] or config["evaluation"]["split"], options["seed"]
    parts = Parts.load(run_dir, config, trust=options["trust"], device=best_device())
    binder, pairs, datamodule = parts.binder, parts.pairs, parts.datamodule
    modalities = datamodule.evaluation_modalities
    kinds = {
        (modality, kind): select_possible_levels(kind, levels[kind], binder.transforms[modality])
        for modality, kind in choose_kinds(
            None if options["kinds"] is None else as_list(options["kinds"]), modalities, binder.transforms
        )
        if levels[kind]
    }
    inputs = choose_inputs(None if options["inputs"] is None else as_list(options["inputs"]), binder, modalities)
    if not kinds and not inputs:
        raise ValueError("nothing to study: choose kinds= or inputs=; bindspace robustness --help lists them")

    clean = embed_split(datamodule, binder, split_name)
    evaluation = Evaluation(clean, binder, datamodule.sources, split_name, config["data"]["one_per_group"])
    label_sets = options["data"]["zero_shot"] or config["data"]["zero_shot"] or {}
    embed_text = functools.cache(lambda texts: binder.embed("text", texts))
    tasks_for = functools.partial(
        make_ranking_tasks,
        evaluation,
        pairs=pairs,
        label_sets=label_sets,
        embed_text=lambda texts: embed_text(tuple(texts)),
    )
    of_tokens = inputs if reads_tokens(inputs, binder.fusion) else []
    names = names_of_fused(of_tokens).values() if of_tokens else ()
    queries = add_fused_without(clean, datamodule, binder, of_tokens, split_name) if of_tokens else clean
    heads = make_heads(inputs, binder.fusion) if inputs else {}
    fused = FusedQueries(queries, inputs, heads, tasks_for(inputs), computed=names) if inputs else None
    tasks_of_modality = {m: [task for task in tasks_for([m]) if len(task.query_rows(clean.rows[m]))] for m, _ in kinds}
    for modality in (m for m, tasks in tasks_of_modality.items() if not tasks):
        log.warning("noise in %s is left out: there is nothing that it can be asked", modality)
    kinds = {(m, kind): values for (m, kind), values in kinds.items() if tasks_of_modality[m]}
    disturber = Disturber(datamodule, binder, clean, split_name, seed, of_tokens)
    study: dict[str, Any] = {"split": split_name, "seed": seed, "noise": {}, "fusion": None}
    if fused:
        facts = {task.name: task.facts(evaluation, inputs, fused.rows) for task in fused.tasks}
        study["fusion"] = {"inputs": inputs, "heads": list(fused.heads), "tasks": facts, "noise": {}}
    with Progress(transient=True) as bar:
        batches = sum(disturber.num_batches(modality, kind) * len(of) for (modality, kind), of in kinds.items())
        steps = bar.add_task("robustness", total=batches + len(inputs) * len(shares))
        for (modality, kind), values in kinds.items():
            vectors: list[Vectors] = [{modality: clean.z[modality]}]
            for level in values:
                bar.update(steps, description=f"{modality}, {KINDS[kind].label} {level:g}")
                vectors.append(disturber.vectors(modality, kind, level, lambda: bar.advance(steps)))
            alone = [z[modality] for z in vectors]
            curves = make_noise_curves(evaluation, tasks_of_modality[modality], modality, alone)
            study["noise"].setdefault(modality, {})[kind] = describe_curve(kind, values) | {"tasks": curves}
            if fused and modality in inputs:
                by_heads = make_fused_curves([fused.noisy(z) for z in vectors])
                fused_noise = study["fusion"]["noise"].setdefault(modality, {})
                fused_noise[kind] = describe_curve(kind, values) | {"tasks": by_heads}
        if fused:
            bar.update(steps, description="missing inputs")
            study["fusion"]["missing"] = make_missing_curves(fused, shares, seed, lambda: bar.advance(steps))

    suffix = suffix_of(split_name, config)
    path = run_dir / f"robustness{suffix}.json"
    pngs = plot_robustness(study, run_dir, suffix)
    study["figures"] = {caption: png.name for caption, png in pngs.items()}
    write_text(path, json.dumps(study, indent=2) + "\n")
    for cells in (*noise_cells(study), *fusion_cells(study)):
        print_cells(cells)
    print(*(path, *pngs.values()), sep="\n")


def check_shares(shares: Sequence[Any]) -> list[float]:
    """Each share once, ascending; ValueError where one is not above 0 and at most 1."""
    if wrong := [share for share in shares if not (isinstance(share, int | float) and 0 < share <= 1)]:
        raise ValueError(f"missing_shares: {wrong[0]} is none; give shares above 0 and up to 1")
    return sorted(set(shares))


def choose_inputs(wanted: Sequence[Modality] | None, binder: Binder, modalities: Sequence[Modality]) -> list[Modality]:
    """What is fused: `wanted`, or the run's own inputs, or else all that has an encoder; [] for no fusion.

    Raises:
        ValueError: for inputs that are not embedded, or only one.
    """
    if wanted is None:
        inputs = list(binder.fusion_inputs) or [m for m in modalities if m in binder.encoders]
        if len(inputs) < 2 or set(inputs) - set(modalities):
            log.info(
                "no fusion to study: it takes two modalities that were trained and are measured; or name inputs=[…]"
            )
            return []
        return inputs
    if unknown := [m for m in wanted if m not in modalities]:
        raise ValueError(f"inputs: {', '.join(unknown)} not embedded here; choose from {', '.join(modalities)}")
    if wanted and (len(wanted) < 2 or len(set(wanted)) < len(wanted)):
        raise ValueError(f"inputs={list(wanted)}: name at least two different modalities, or [] for no fusion")
    return list(wanted)
