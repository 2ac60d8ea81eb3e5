"""Time lines of recordings as a command: from when to when which label, in tables, a picture and a page."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.progress import Progress

from bind.data.sources.annotations.read import read_annotations
from bind.data.sources.manifest import ManifestSource
from bind.evaluation.label_sets import LabelSet
from bind.model.binder import Binder
from bind.model.device import best_device
from bind.report.cells import Cells
from bind.report.terminal_table import print_cells
from bind.runs.results import owned_results
from bind.studies.timeline.arguments import TimelineArguments, read_arguments
from bind.studies.timeline.measure import TimelineScores, check_annotations, embed_annotated, measure
from bind.studies.timeline.page import write_page
from bind.studies.timeline.picture import plot_timeline
from bind.studies.timeline.times import clock_text, seconds_of_labels
from bind.timeline.fit import NUM_STEPS, fit_parameters
from bind.timeline.fits import FILE_NAME, fit_name, fitted_parameters, write_parameters
from bind.timeline.labels import Labels, choose_labels, embed_labels
from bind.timeline.parameters import Parameters, window_hop
from bind.timeline.samples import require_modality, window_seconds_of
from bind.timeline.timeline import Timeline, make_timeline
from bind.timeline.writers import WRITERS
from bind.types import Modality


def timeline(cfg: DictConfig) -> None:
    """Write the time line of a recording: `bindspace timeline run=PATH imu=day.csv labels=NAME out=segments.csv`.

    With `manifest` and `annotations` it measures time lines of a split instead, and with `fit=true` it chooses
    their parameters on the validation split before, which later calls of the run use.

    Raises:
        ValueError: for a run, a recording, labels, annotations or a name to write to that can't be used.
    """
    read = read_arguments(cfg)
    run_dir, config = read.run_dir, read.config
    binder = Binder.load(run_dir, trust=list(cfg.trust)).to(best_device()).eval()
    if read.modality is not None:
        label_file(cfg, read, binder, modality=read.modality)
    else:
        measure_split(cfg, run_dir, config, binder)


def label_file(cfg: DictConfig, read: TimelineArguments, binder: Binder, *, modality: Modality) -> None:
    """Write the time line of one recording to each of `out`."""
    run_dir, config, path, outs, player = read.run_dir, read.config, read.path, read.outs, read.player
    require_modality(binder, modality, of_samples=False)
    labels = choose_and_embed_labels(cfg, config, binder, modality)
    parameters = choose_parameters(cfg, run_dir, binder, modality, labels)
    line = make_with_progress(binder, modality, path, labels, parameters, hop_seconds=cfg.hop_seconds)
    facts = [
        f"{len(line.segments)} segments of {clock_text(line.end_seconds - line.start_seconds)}",
        f"labels {cfg.labels}",
        f"run {run_dir.name}",
        "fitted on validation recordings" if parameters.is_fitted else "not fitted: confidences are not calibrated",
    ]
    for out in outs:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix.lower() == ".html":
            write_page(out, line, title=path.name, facts=facts, player=player)
        elif out.suffix.lower() == ".png":
            plot_timeline(line, path.name, out)
        else:
            WRITERS[out.suffix.lower()](out, line.segments, path)
    print_cells(timeline_cells(line, path.name, facts))
    for lost in line.breaks:
        print(f"without a label: {lost}")
    print(*outs, sep="\n")


def make_with_progress(
    binder: Binder, modality: Modality, path: Path, labels: Labels, parameters: Parameters, *, hop_seconds: float | None
) -> Timeline:
    """The time line of a file, with a bar on a terminal."""
    with Progress(transient=True, disable=not sys.stdout.isatty()) as progress:
        bar = progress.add_task(path.name, total=None)
        return make_timeline(
            binder, modality, path, labels, parameters, hop_seconds=hop_seconds,
            on_progress=lambda done, total: progress.update(bar, completed=done, total=total),
        )  # fmt: skip


def measure_split(cfg: DictConfig, run_dir: Path, config: Mapping[str, Any], binder: Binder) -> None:
    """Print what time lines of annotated recordings reach; with `fit` choose their parameters on validation before."""
    source = ManifestSource(cfg.manifest)
    path = Path(cfg.annotations)
    annotations = check_annotations(read_annotations(path), source, path, cfg.kind)
    possible = [m for m in source.modalities() if m in binder.modalities and m != "text"]
    if cfg.modality is None and len(possible) != 1:
        raise ValueError(
            f"{source.path}: the run embeds {', '.join(possible) or 'nothing'} of it; choose, modality=NAME"
        )
    modality = possible[0] if cfg.modality is None else str(cfg.modality)
    require_modality(binder, modality, of_samples=False)
    labels = choose_and_embed_labels(cfg, config, binder, modality)
    rows: dict[tuple[str, str], TimelineScores] = {}
    hop = window_hop(window_seconds_of(binder.transforms[modality], modality), cfg.hop_seconds)
    splits = dict.fromkeys(["val", cfg.split] if cfg.fit else [cfg.split])
    embedded = {
        split: embed_annotated(binder, modality, source, split, annotations, path=path, hop_seconds=cfg.hop_seconds)
        for split in splits
    }
    if cfg.fit:
        with Progress(transient=True, disable=not sys.stdout.isatty()) as progress:
            bar = progress.add_task("fit", total=NUM_STEPS)
            fit = fit_parameters(
                embedded["val"],
                labels,
                look_ahead_seconds=cfg.look_ahead_seconds,
                on_step=lambda: progress.advance(bar),
            )
        about = {"labels": list(labels.names), "recordings": [recording.name for recording in embedded["val"]]}
        with owned_results(run_dir, FILE_NAME):
            for none, parameters in ((False, fit.without_none), (True, fit.with_none)):
                if parameters is not None:
                    write_parameters(run_dir, fit_name(modality, labels.fingerprint, hop, none=none), parameters, about)
    for none in (False, True):
        known = fitted_parameters(run_dir, binder, modality, labels, hop_seconds=cfg.hop_seconds, none=none)
        if known is None and none:
            continue
        for split, recordings in embedded.items():
            answer = "the labels, or none of these" if none else "the labels" if known else "the labels, not fitted"
            rows[(answer, split)] = measure(recordings, labels, known or Parameters())
    print_cells(score_cells(rows, f"Time lines by {modality}, labels {cfg.labels}"))
    if cfg.fit:
        print(run_dir / FILE_NAME)


def choose_and_embed_labels(cfg: DictConfig, config: Mapping[str, Any], binder: Binder, modality: Modality) -> Labels:
    """The labels that `labels` names, as vectors."""
    chosen = choose_labels(str(cfg.labels), config["data"].get("zero_shot") or {}, modality)
    if isinstance(chosen, LabelSet) and chosen.multi_label:
        raise ValueError(f"labels={cfg.labels}: its classes hold at the same time; a time line has one label at a time")
    return embed_labels(binder, chosen)


def choose_parameters(cfg: DictConfig, run_dir: Path, binder: Binder, modality: Modality, labels: Labels) -> Parameters:
    """The run's fit for these labels, or what holds without one, which is said."""
    hop = window_hop(window_seconds_of(binder.transforms[modality], modality), cfg.hop_seconds)
    fitted = fitted_parameters(run_dir, binder, modality, labels, hop_seconds=cfg.hop_seconds, none=bool(cfg.none))
    how = f"bindspace timeline run={cfg.run} labels={cfg.labels} manifest=FILE annotations=FILE fit=true"
    if fitted is None and cfg.none:
        raise ValueError(
            f"none=true: {run_dir} has no fit of {modality} with these labels and windows {hop:g} s apart that could "
            f"tell when none of them fits. Fit on annotated recordings with some time between annotations: {how}"
        )
    if fitted is None:
        print(f"not fitted for these labels, so that confidences are not calibrated; to fit: {how}", file=sys.stderr)
    return dataclasses.replace(fitted or Parameters(), look_ahead_seconds=float(cfg.look_ahead_seconds))


def timeline_cells(line: Timeline, title: str, facts: list[str]) -> Cells:
    """How long each label lasts, in how many segments."""
    rows: list[tuple[str, ...]] = []
    for label, seconds in seconds_of_labels(line.segments).items():
        mine = [segment for segment in line.segments if segment.label == label]
        mean = sum(segment.confidence * segment.seconds for segment in mine) / seconds
        rows.append((label, str(len(mine)), f"{seconds:.1f}", f"{mean:.2f}"))
    return Cells(title, "; ".join(facts), ("label", "segments", "seconds", "confidence"), {"": rows})


def score_cells(rows: Mapping[tuple[str, str], TimelineScores], title: str) -> Cells:
    """Scores by what may be answered and split."""
    cells: list[tuple[str, ...]] = [
        (
            split, answer, f"{s.counts.frame_accuracy:.3f}", f"{s.counts.segment_f1:.3f}",
            f"{s.counts.num_predicted}/{s.counts.num_true}", f"{s.calibration_error:.3f}",
            "" if s.none_auc is None else f"{s.none_auc:.3f}",
        )
        for (answer, split), s in rows.items()
    ]  # fmt: skip
    caption = (
        "accuracy: share of annotated time with the right label; F1: of segments that share half of their time or more "
        "with one of their label; ECE: expected calibration error; AUC: unlabelled time told from labelled"
    )
    headers = ("split", "answers", "accuracy", "F1", "segments\n/true", "ECE", "AUC\nof none")
    return Cells(title, caption, headers, {"": cells})
