"""Probes: what a simple classifier makes of a run's frozen embeddings, from a few labelled examples and from all."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from rich.progress import Progress
from torch import Tensor

from bind.data.datamodule import BindDataModule
from bind.data.sources.sample_columns import labels_of
from bind.data.sources.splits import require_split
from bind.evaluation import Evaluation
from bind.evaluation.embed import embed_split
from bind.evaluation.embedded import EmbeddedSplit
from bind.evaluation.fused import modality_title
from bind.evaluation.label_sets import LabelSet
from bind.files.writing import write_text
from bind.metrics import bootstrap_ci, class_embeddings
from bind.metrics.zero_shot import rank_classes, zero_shot
from bind.model.device import best_device
from bind.report.terminal_table import print_cells
from bind.runs.parts import Parts
from bind.runs.results import writes_results
from bind.runs.run_config import as_list, open_run
from bind.studies.probe.show import plot_probe, probe_cells
from bind.types import Modality

log = logging.getLogger("bind")

INVERSE_PENALTIES = tuple(10.0**power for power in range(-2, 5))
"""C of the logistic regression: unit vectors of a few hundred dimensions want little penalty."""


@dataclass(frozen=True)
class Labelled:
    """Vectors z (n, D) of one modality, the class of each (n,), 0 … K - 1, and the sample of each (n,)."""

    z: Tensor
    target: Tensor
    rows: Tensor


@writes_results("probe")
def probe(cfg: DictConfig) -> None:
    """Few-shot and linear probe of every modality but text: `bindspace probe run=PATH [k=[1,2,4,8,16]] [draws=5]`.

    Writes `probe.json` and `probe.png` into the run directory. Learned is from the training split, the penalty is
    chosen on the validation split, and the split asked for is classified once; splits share no owner.

    Raises:
        ValueError: where there is nothing to learn from, or the run can't be used.
    """
    ks, draws = as_list(cfg.k), cfg.draws
    if not ks or not all(isinstance(n, int) and n >= 1 for n in (*ks, draws)):
        raise ValueError(f"k={ks} draws={draws}: pass numbers of at least 1, such as k=[1,4,16] draws=5")
    ks = sorted(set(ks))
    if cfg.split in ("train", "val"):
        raise ValueError(
            f"split={cfg.split}: a probe learns from train and val; pass another split, such as split=test"
        )
    run_dir, config = open_run(cfg.run)
    label_options: Any = OmegaConf.to_container(cfg.data.zero_shot, resolve=True)
    label_sets = label_options or config["data"]["zero_shot"] or {}
    parts = Parts.load(run_dir, config, trust=list(cfg.trust), device=best_device())
    binder, datamodule = parts.binder, parts.datamodule
    names = ("train", "val", cfg.split)
    labels = {name: read_labels(datamodule, name) for name in names}
    for name in names:
        if not any(labels[name]):
            raise ValueError(
                f"no sample of the {name} split has a label, and a probe learns from labels: give the manifest a "
                "column `label` in every split"
            )
    sets = choose_label_sets(label_sets, labels["train"])
    splits = {name: embed_split(datamodule, binder, name) for name in names}
    one_per_group = config["data"]["one_per_group"]
    evaluation = Evaluation(splits[cfg.split], binder, datamodule.sources, cfg.split, one_per_group)
    modalities = [m for m in splits[cfg.split].z if m != "text"]  # captions would often name the class
    tasks = {}
    with Progress(transient=True) as bar:
        num_fits = len(ks) * draws + len(INVERSE_PENALTIES)
        steps = bar.add_task("probe", total=len(sets) * len(modalities) * num_fits)
        for label_set in sets:
            classes = list(label_set.classes)
            z_class = label_set.embed(lambda texts: binder.embed("text", texts)) if label_set.templates else None
            for modality in modalities:
                suffix = f"/{label_set.name}" if len(sets) > 1 else ""
                key = modality + suffix
                of = {name: select_labelled(splits[name], modality, labels[name], classes) for name in names}
                if unlabelled := [name for name in names if not len(of[name].rows)]:
                    log.warning("no probe of %s: no sample of the %s split has both", key, unlabelled[0])
                    bar.advance(steps, num_fits)
                    continue
                resampled, cluster_N = evaluation.sample_clusters(modality, evaluation.all_N)
                clusters_Q = cluster_N[of[cfg.split].rows]
                few = measure_few_shot(
                    of["train"], of[cfg.split], ks, draws, seed=cfg.seed, advance=lambda: bar.advance(steps)
                )
                tasks[key] = {
                    "title": modality_title(modality, evaluation.fused) + suffix,
                    "label_set": label_set.name,
                    "num_classes": len(classes),
                    "chance": 1 / len(classes),
                    "queries": len(clusters_Q),
                    "train_samples": len(of["train"].rows),
                    "classes_without_train_samples": len(classes) - len(of["train"].target.unique()),
                    "resampled": resampled,
                    "clusters": len(np.unique(clusters_Q)),
                    "zero_shot": measure_zero_shot(of[cfg.split], z_class, clusters_Q),
                    "few_shot": few,
                    "linear": measure_linear(
                        of["train"], of["val"], of[cfg.split], clusters_Q, lambda: bar.advance(steps)
                    ),
                }
    if not tasks:
        raise ValueError(f"{run_dir}: no modality besides text has labelled samples in each of {', '.join(names)}")
    study = {"split": cfg.split, "seed": cfg.seed, "draws": draws, "tasks": tasks}
    write_text(run_dir / "probe.json", json.dumps(study, indent=2) + "\n")
    plot_probe(study, run_dir / "probe.png")
    print_cells(probe_cells(study))
    print(f"{run_dir / 'probe.json'}\n{run_dir / 'probe.png'}")


def read_labels(datamodule: BindDataModule, split_name: str) -> list[str | None]:
    """The label of each sample of a split; ValueError where no source has it."""
    require_split(datamodule.sources, split_name, "A probe learns from train and val")
    return [label for source in datamodule.sources for label in labels_of(source.samples(split_name))]


def choose_label_sets(
    label_sets: Mapping[str, Mapping[str, Any]], train_labels: Sequence[str | None]
) -> list[LabelSet]:
    """The sets whose classes exclude each other; without any set, one of all labels of the training, without prompts.

    Raises:
        ValueError: where every set has samples of several classes.
    """
    known = [LabelSet.of(name, options, train_labels) for name, options in label_sets.items()]
    usable = [label_set for label_set in known if not label_set.multi_label]
    if known and not usable:
        raise ValueError(
            "a probe needs one class per sample, and every label set has multi_label: true; pass prompts=NAME or "
            "data.zero_shot with one that has not"
        )
    study = sorted({label for label in train_labels if label})
    return usable or [LabelSet("labels", (), (), {label: (label,) for label in study})]


def select_labelled(
    split: EmbeddedSplit, modality: Modality, labels: Sequence[str | None], classes: Sequence[str]
) -> Labelled:
    """The vectors of a modality whose samples are of one of the classes."""
    index = {label: i for i, label in enumerate(classes)}
    target_N = torch.tensor([index.get(label or "", -1) for label in labels])
    if modality not in split.z:
        return Labelled(torch.zeros(0, 1), torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long))
    rows = split.rows[modality]
    has_class = target_N[rows] >= 0
    return Labelled(split.z[modality][has_class], target_N[rows[has_class]], rows[has_class])


def measure_zero_shot(test: Labelled, z_class: Tensor | None, clusters_Q: np.ndarray) -> dict[str, Any] | None:
    """Zero-shot accuracy on the same queries; None without prompts."""
    if z_class is None:
        return None
    figures = zero_shot(test.z, test.target, z_class, clusters=clusters_Q)
    return {"accuracy": figures["top1"], "ci95_accuracy": figures["ci95_top1"]}


def measure_few_shot(
    train: Labelled, test: Labelled, ks: Sequence[int], draws: int, *, seed: int, advance: Callable[[], Any]
) -> dict[str, dict[str, Any]]:
    """k → accuracy of the nearest centroid of k training examples per class: mean, standard deviation and each draw.

    A class with fewer than k examples gives all it has; one with none is never right. The examples of a draw for a
    smaller k are among those for a larger one. A tie counts as wrong.

    Source: Snell et al., Prototypical Networks for Few-shot Learning (2017), with cosines.
    """
    accuracies: dict[int, list[float]] = {k: [] for k in ks}
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw])
        present = train.target.unique()
        members = [rng.permutation((train.target == k).nonzero().flatten().numpy()) for k in present.tolist()]
        place = torch.full((int(max(present.max(), test.target.max())) + 1,), -1)
        place[present] = torch.arange(len(present))
        target = place[test.target]
        can_be_right = target >= 0
        for k in ks:
            z_class = class_embeddings([train.z[own[:k]] for own in members])
            right = 0
            if bool(can_be_right.any()):
                right = int((rank_classes(test.z[can_be_right], target[can_be_right], z_class).ranks_Q == 1).sum())
            accuracies[k].append(right / len(target))
            advance()
    return {
        str(k): {"accuracy": float(np.mean(study)), "std": float(np.std(study)), "draws": study}
        for k, study in accuracies.items()
    }


def measure_linear(
    train: Labelled, val: Labelled, test: Labelled, clusters_Q: np.ndarray, advance: Callable[[], Any]
) -> dict[str, Any] | None:
    """Accuracy of a logistic regression on all training vectors; its C is the best on `val`, the smallest of equals.

    None where the training has only one class.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if len(train.target.unique()) < 2:
        return None
    best: tuple[float, float, np.ndarray] | None = None
    for c in INVERSE_PENALTIES:
        model = LogisticRegression(C=c, max_iter=1000)
        with warnings.catch_warnings():
            # Where the data can be told apart, little penalty lets the weights grow: more steps change nothing.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(train.z.numpy(), train.target.numpy())
        score = float((model.predict(val.z.numpy()) == val.target.numpy()).mean())
        if best is None or score > best[0]:
            best = score, c, model.predict(test.z.numpy()) == test.target.numpy()
        advance()
    assert best is not None
    score, c, right_Q = best
    interval = bootstrap_ci(right_Q.astype(np.float64), clusters_Q, is_share=True)
    return {"accuracy": float(right_Q.mean()), "ci95_accuracy": list(interval), "C": c, "val_accuracy": score}
