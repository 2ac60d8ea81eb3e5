"""The job of `bindspace share`: a run's binder as a folder for others, with a model card, and to the hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from bind.data.counts import count_samples
from bind.data.mixture import source_weights
from bind.evaluation.figures import read_metrics
from bind.model.binder import Binder
from bind.model.description import HUB_ID
from bind.model.hub import describe_binder, push_folder, require_repository_name
from bind.model.places import CONFIG_NAME
from bind.model.saved_files import locate
from bind.model.saving import ADAPTERS_FOLDER
from bind.runs.ownership import confined, is_own, is_trusted_place
from bind.runs.parts import active_pairs, make_sources
from bind.runs.run_config import open_run, run_or_binder
from bind.share.folder import require_publishable, write_folder_without_run, write_shared_folder
from bind.share.run_facts import Licences, RunFacts, licence_of_anchor, licence_texts


def share(cfg: DictConfig) -> None:
    """Write a run's binder as a folder for others: `bindspace share run=PATH out=FOLDER [repo=ORG/NAME push=true]`.

    A saved binder without its run, `binder=PATH`, gets a short card without figures.

    Raises:
        ValueError: for a run that is not finished, leaked or can't be read, a folder that is not new, and where the hub
            refuses.
    """
    out = Path(cfg.out)
    if cfg.push and cfg.repo is None:
        raise ValueError("push=true needs repo=ORG/NAME, the repository on the hub")
    if cfg.repo is not None:
        require_repository_name(cfg.repo)
    if run_or_binder(cfg) == "binder":
        share_binder(cfg, out)
    else:
        share_run(cfg, out)
    if cfg.push:
        print(f"repository: {push_folder(out, cfg.repo, private=cfg.private, message=cfg.message)}")
    print(f"folder: {out}")


def share_binder(cfg: DictConfig, out: Path) -> None:
    """Write a saved binder, with what can be said of it without its run."""
    if given := [name for name in ("dataset", "anchor_licence", "data_licence") if cfg[name] is not None]:
        raise ValueError(f"{given[0]}= stands in the card of a run, with its figures: pass run=PATH, or leave it out")
    licences = Licences(cfg.licence)
    binder = Binder.load(cfg.binder, trust=list(cfg.trust))
    card = describe_binder(
        cfg.repo or out.resolve().name,
        binder.anchor.name,
        list(binder.encoders),
        place=cfg.repo or "PATH/TO/THIS/FOLDER",
        licence=licences.weights,
        about=cfg.about,
    )
    saved = locate(cfg.binder)
    write_folder_without_run(
        binder,
        out,
        card,
        adapters=saved / ADAPTERS_FOLDER,
        licence_texts=licence_texts({"the binder": str(saved)}),
        trust=foreign_packages(binder.config or {}),
    )
    print(f"card, without figures, which only a run has: {out / 'README.md'}")
    if licences.weights is None:
        print("the card says no licence; where you know it, add licence=")


def share_run(cfg: DictConfig, out: Path) -> None:
    """Write a run's binder, with all that its run says of it."""
    if not (Path(cfg.run) / "config.yaml").is_file() and (Path(cfg.run) / CONFIG_NAME).is_file():
        raise ValueError(f"run={cfg.run}: a saved binder without its run; binder={cfg.run} shares it, without figures")
    run_dir, config = open_run(cfg.run)
    trust = list(cfg.trust)
    if cfg.dataset is not None and not HUB_ID.fullmatch(cfg.dataset):
        raise ValueError(f"dataset={cfg.dataset}: give the data's name on the hub, ORG/NAME, or leave it out")
    file = run_dir / "metrics.json"
    if not file.is_file():
        raise ValueError(f"{file}: not there, the training has not finished; go on with ckpt=last, or evaluate the run")
    metrics = read_metrics(file)
    require_publishable(metrics, allow_leakage=cfg.allow_leakage)
    licences = Licences(
        cfg.licence,
        cfg.anchor_licence or licence_of_anchor(config),
        cfg.data_licence,
        licence_texts(dict(starting_weights(run_dir, config, trust))),
    )
    counts = None
    if cfg.count_data:
        try:
            sources = make_sources(confined(config, run_dir, trust), trust)
        except (ValueError, OSError) as error:
            raise ValueError(f"{error}; or write the card without counts of the data: count_data=false") from error
        splits = dict.fromkeys(("train", "val", config["evaluation"]["split"]))
        weights = source_weights(sources, config["data"].get("weights") or {})
        counts = count_samples(list(sources.values()), splits, weights)
    binder = Binder.load(run_dir, trust=trust)
    facts = RunFacts(
        name=(cfg.repo or out.resolve().name).split("/")[-1],
        repo=cfg.repo,
        binder=binder,
        config=config,
        metrics=metrics,
        pairs=active_pairs(config, binder),
        counts=counts,
        licences=licences,
        dataset=cfg.dataset,
        packages=foreign_packages(binder.config or {}),
        about=cfg.about,
    )
    write_shared_folder(facts, out, adapters=locate(run_dir) / ADAPTERS_FOLDER)
    print(f"card: {out / 'README.md'}")
    if licences.unknown:
        print(f"the card says that these licences are unknown; where you know them, add {' '.join(licences.unknown)}")


def starting_weights(run_dir: Path, config: Mapping[str, Any], trust: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Part → the place on this machine that its weights began with, as far as the run may name places."""
    named = {"the anchor": config["anchor"].get("pretrained"), "init_from": config.get("init_from")}
    named |= {f"the encoder of {m}": (options or {}).get("pretrained") for m, options in config["encoder"].items()}
    is_ours = is_own(run_dir)
    for part, place in named.items():
        if isinstance(place, str) and (is_ours or is_trusted_place(place, trust)):
            yield part, place


def foreign_packages(config: Any) -> list[str]:
    """Packages besides bind that a nested config names classes of."""
    if isinstance(config, Mapping):
        target = config.get("_target_")
        own = [str(target).split(".")[0]] if target is not None else []
        packages = [*own, *(name for value in config.values() for name in foreign_packages(value))]
    else:
        values = config if isinstance(config, list | tuple) else ()
        packages = [name for value in values for name in foreign_packages(value)]
    return [name for name in dict.fromkeys(packages) if name != "bind"]
