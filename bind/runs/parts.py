"""The parts of a run, made from its config: Binder, pairs, data, cached anchor embeddings, weights to start from."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from bind.build import build
from bind.cache.build import CacheOptions, build_cache, cacheable
from bind.cache.fill import Engine
from bind.cache.lookup import AnchorCache
from bind.data.coverage import Side, require_pairs
from bind.data.datamodule import BindDataModule
from bind.data.sources.manifest import ManifestSource
from bind.data.workers import ignore_stop_signals
from bind.model.binder import Binder
from bind.types import Modality, Pair, Source

log = logging.getLogger("bind")


def binder_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a run's config that a Binder is built from."""
    return {name: config[name] for name in ("anchor", "modalities", "encoder", "transform", "head", "fusion")}


def active_pairs(config: Mapping[str, Any], binder: Binder) -> list[Pair]:
    """The pairs with a weight whose two sides are chosen.

    A fusion with parameters is paired with what all of its inputs are paired with, unless `pairs` says otherwise.

    Raises:
        ValueError: for a name that is not `A-B`, a modality that is configured nowhere, or an unknown option.
    """
    fused = binder.fused_modality if isinstance(binder.fusion, nn.Module) else None
    known = (*binder.modalities, *([fused] if fused else []))
    defaults = {name: config["loss"][name] for name in ("temperature", "learn_temperature")}
    pairs = []
    for name, options in config["pairs"].items():
        a, _, b = name.partition("-")
        if not (a and b):
            raise ValueError(f"pairs.{name}: name a pair A-B, for example audio-image")
        try:
            pair = Pair(a, b, **{**defaults, **options})
        except TypeError as error:
            raise ValueError(f"pairs.{name}: give weight, temperature and learn_temperature ({error})") from error
        unknown = [m for m in (a, b) if m not in known]
        misspelt = [m for m in unknown if m not in config["encoder"]]
        if misspelt:
            choices = [*known, *(m for m in config["encoder"] if m not in known)]
            close = difflib.get_close_matches(misspelt[0], choices, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(choices)}"
            raise ValueError(f"pairs.{name}: nothing embeds {misspelt[0]!r}; {hint}")
        if not unknown and not any(binder.is_trainable(m) or m == fused for m in (a, b)):
            # The anchor embeds a video too; its pair with pictures is for an encoder of its own.
            unknown = [m for m in (a, b) if m in config["encoder"]]
        # Video without an encoder is the image tower's: it is chosen by what has one, not by image or text.
        if "video" in (a, b) and not any(m in binder.encoders or m == fused for m in (a, b)):
            unknown.append("video")
        if pair.weight > 0 and unknown:
            log.debug("pairs.%s is left out: %s not in modalities=%s", name, ", ".join(unknown), list(binder.encoders))
        elif pair.weight > 0:
            pairs.append(pair)
    if fused and any(True for _ in binder.fusion.parameters()) and not any(fused in (p.a, p.b) for p in pairs):
        targets = [{p.b if p.a == m else p.a for p in pairs if m in (p.a, p.b)} for m in binder.fusion.inputs]
        pairs += [Pair(fused, target, **defaults) for target in sorted(set.intersection(*targets))]
    return pairs


def make_sources(config: Mapping[str, Any], trust: Sequence[str]) -> dict[str, Source]:
    """Name → dataset: those of `data.sources`, and a manifest each of `data.manifests`.

    Raises:
        ValueError: where there is none.
    """
    data = config["data"]
    sources = {name: build(options, trust=trust) for name, options in data["sources"].items() if options}
    sources |= {name: ManifestSource(path, name) for name, path in data.get("manifests", {}).items()}
    if not sources:
        raise ValueError("no data: name a table with +data.manifests.NAME=FILE, or choose another data=")
    return sources


def make_datamodule(
    config: Mapping[str, Any], binder: Binder, pairs: Sequence[Pair], *, trust: Sequence[str]
) -> BindDataModule:
    """The data of a run.

    Raises:
        ValueError: where `evaluation.modalities` names what nothing embeds or no data carries, or leaves no pair.
    """
    data = config["data"]
    sources = make_sources(config, trust)
    sides = list(sides_of(pairs, binder).values())
    needed = list(dict.fromkeys(m for pair in sides for side in pair for m in side))
    asked = config["evaluation"]["modalities"]
    if asked:
        carried = {m for source in sources.values() for m in source.modalities()}
        possible = [m for m in binder.modalities if m in carried]
        if unknown := [m for m in asked if m not in possible]:
            raise ValueError(f"evaluation.modalities: {', '.join(unknown)} can't be measured; choose from {possible}")
        if sides and not any(set(a) | set(b) <= set(asked) for a, b in sides):
            raise ValueError(f"evaluation.modalities={asked} holds both sides of no pair: nothing would be monitored")
    return BindDataModule(
        sources,
        binder.transforms,
        needed,
        asked or binder.modalities,
        batch_size=data["batch_size"],
        evaluation_batch_size=data["evaluation_batch_size"],
        num_workers=data["num_workers"],
        alpha=data["alpha"],
        weights=data["weights"],
        steps_per_epoch=data["steps_per_epoch"],
        seed=config["seed"],
    )


def sides_of(pairs: Sequence[Pair], binder: Binder) -> dict[str, tuple[Side, Side]]:
    """Name of each pair → its two sides, where the inputs of a fusion stand for the fused modality."""

    def side(modality: Modality) -> Side:
        return binder.fusion.inputs if modality == binder.fused_modality else (modality,)

    return {pair.name: (side(pair.a), side(pair.b)) for pair in pairs}


def refuse_unusable_data(
    datamodule: BindDataModule, pairs: Mapping[str, tuple[Side, Side]], splits: Sequence[str]
) -> None:
    """Raise ValueError, before any work is done, where a split lacks a pair or a batch is larger than the data."""
    for split in splits:
        require_pairs(datamodule.sources, split, pairs)
    datamodule.train_plan()


def fill_cache(
    datamodule: BindDataModule, binder: Binder, splits: Sequence[str], options: CacheOptions, show: bool = True
) -> AnchorCache:
    """Embed what the frozen towers would see again and again, once; see `build_cache`."""
    places = []
    for split in splits:
        needed = datamodule.train_modalities if split == "train" else datamodule.evaluation_modalities
        wanted = [m for m in needed if not binder.is_trainable(m)]
        for position, (source, weight) in enumerate(zip(datamodule.sources, datamodule.weights, strict=True)):
            if weight or split != "train":
                places += [(position, split, m) for m in cacheable(source, split, wanted, binder.anchor)]
    engine = Engine(datamodule.evaluation_batch_size, datamodule.num_workers, ignore_stop_signals)
    return build_cache(binder.anchor, datamodule.sources, places, options, engine, show=show)
