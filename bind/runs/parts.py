"""Parts of a run: the Binder, pairs and data that its config is built into, and the cache that serves them."""

from __future__ import annotations

import difflib
import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from bind.build import build
from bind.cache.build import CacheOptions, build_cache, cacheable_modalities
from bind.cache.fill import Engine
from bind.cache.lookup import AnchorCache, CachedEmbeddings, Place
from bind.data.coverage import Side, require_modalities, require_pairs
from bind.data.datamodule import BindDataModule
from bind.data.sources.manifest import ManifestSource
from bind.data.sources.shards.remote import limit_waiting
from bind.data.sources.splits import require_split
from bind.encoders.trainable import is_frozen
from bind.evaluation.queries import retrieval_key
from bind.model.binder import Binder
from bind.model.frozen import frozen_encoders
from bind.runs.auto_sizes import fixed
from bind.runs.ownership import confined
from bind.training.callbacks.auto_batch import AUTO
from bind.training.masked import active_objectives
from bind.types import FrozenTower, MaskedPatches, Modality, Pair, Source

log = logging.getLogger("bind")


@dataclass(frozen=True)
class Parts:
    """What the config of a run is built into.

    Attributes:
        config: the resolved config, plain values only.
        binder: anchor, encoders, heads and fusion.
        pairs: what the loss pulls together.
        masked: whose patches are hidden and predicted.
        datamodule: the sources, and batches of them for training and evaluation.
        is_own_data: whether the run trains on these data; False for a table that a finished run is evaluated on.
    """

    config: Mapping[str, Any]
    binder: Binder
    pairs: Sequence[Pair]
    datamodule: BindDataModule
    is_own_data: bool = True
    masked: Sequence[MaskedPatches] = ()

    @classmethod
    def build(cls, config: Mapping[str, Any], binder: Binder | None = None, *, trust: Sequence[str]) -> Self:
        """The parts of a config, around `binder` where one was trained already.

        Args:
            trust: packages besides bind whose classes the config may name.

        Raises:
            ValueError: for a modality, a pair or data that can't be.
        """
        if binder is None:
            binder = Binder.from_config(binder_config(config), trust=trust)
        refuse_equal_keys([*binder.modalities, *([binder.fused_modality] if binder.fused_modality else [])])
        pairs = active_pairs(config, binder)
        refuse_cached_views(pairs, binder, config)
        masked = active_objectives(config)
        return cls(config, binder, pairs, make_datamodule(config, binder, pairs, masked, trust=trust), masked=masked)

    @classmethod
    def load(
        cls, run_dir: Path, config: Mapping[str, Any], *, trust: Sequence[str], device: str | torch.device = "cpu"
    ) -> Self:
        """The parts of a finished run, whose config is followed as far as `confined` says.

        Args:
            trust: packages besides bind whose classes the config may name, and places that a run of others may read.

        Raises:
            ValueError: where it holds no Binder, or its data can't be read any more or is not trusted.
        """
        config = confined(config, run_dir, trust)
        binder = Binder.load(run_dir, trust=trust).to(device)
        try:
            return cls.build(config, binder, trust=trust)
        except ValueError as error:
            if str(run_dir) in str(error):
                raise
            raise ValueError(f"{run_dir / 'config.yaml'}: {error}") from error
        except Exception as error:  # whatever constructors make of values that they were never given
            reason = f"{type(error).__name__}: {error}"
            raise ValueError(
                f"{run_dir / 'config.yaml'}: a part of it can't be built ({reason}); copy it again"
            ) from error

    @property
    def sides(self) -> dict[str, tuple[Side, Side]]:
        """Name of each pair → its two sides, where the inputs of a fusion stand for the fused modality."""
        return sides_of(self.pairs, self.binder)

    def require_data(self, splits: Sequence[str]) -> None:
        """Raise ValueError, before any work is done, where a split lacks a pair or a batch is larger than the data."""
        data = self.datamodule
        for split in splits:
            if split != "train":
                require_split(data.sources, split, "Set trainer.limit_val_batches=0 to train without it")
            sources = data.drawn_sources if split == "train" else data.sources
            require_pairs(sources, split, self.sides)
            require_modalities(sources, split, {f"objective.masked.{x.modality}": x.modality for x in self.masked})
        data.train_plan()

    def fill_cache(self, splits: Sequence[str], options: CacheOptions, *, show: bool = True) -> AnchorCache:
        """Compute what the frozen towers and encoders would be given again and again, once; see `build_cache`."""
        data = self.datamodule
        engine = Engine(data.evaluation_batch_size, data.num_workers, data.timeout_seconds)
        towers: list[tuple[FrozenTower, bool]] = [(self.binder.anchor, False)]
        if options.features:
            towers += [(encoder, True) for encoder in frozen_encoders(self.binder)]
        entries: dict[Place, CachedEmbeddings] = {}
        for tower, features in towers:
            places = self._places(splits, tower)
            if places or not features:
                cache = build_cache(tower, data.sources, places, options, engine, features=features, show=show)
                entries |= cache.entries
        return AnchorCache(entries)

    def _places(self, splits: Sequence[str], tower: FrozenTower) -> list[Place]:
        """What a training looks up of what the tower computes."""
        places: list[Place] = []
        for split in splits:
            needed = self.datamodule.train_modalities if split == "train" else self.datamodule.evaluation_modalities
            weighted = zip(self.datamodule.sources, self.datamodule.weights, strict=True)
            for position, (source, weight) in enumerate(weighted):
                if weight or split != "train":
                    places += [(position, split, m) for m in cacheable_modalities(source, split, needed, tower)]
        return places


def refuse_equal_keys(modalities: Sequence[Modality]) -> None:
    """Raise ValueError where two ordered pairs of `modalities` would have one key in `metrics.json` and the log.

    Examples:
        >>> refuse_equal_keys(["speech_to_text", "text", "speech"])
        >>> refuse_equal_keys(["a", "b_to_c", "a_to_b", "c"])
        Traceback (most recent call last):
        ValueError: a → b_to_c and a_to_b → c would both be called a_to_b_to_c: rename a modality
    """
    pairs: dict[str, str] = {}
    for query, pool in itertools.permutations(modalities, 2):
        key, title = retrieval_key(query, pool), f"{query} → {pool}"
        if pairs.setdefault(key, title) != title:
            raise ValueError(f"{pairs[key]} and {title} would both be called {key}: rename a modality")


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
        # Pairs with pictures stand in the config also where the anchor embeds none.
        misspelt = [m for m in unknown if m not in config["encoder"] and m not in ("image", "text")]
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
    anchors = set(binder.anchor.modalities)
    if pairs and not any({pair.a, pair.b} & anchors for pair in pairs):
        log.warning(
            "no pair has a side of the anchor's own (%s), so nothing is bound to its space: leave what it embeds out "
            "of modalities=%s, or add a pair",
            ", ".join(sorted(anchors)) or "none left",
            list(binder.encoders),
        )
    return pairs


def refuse_cached_views(pairs: Sequence[Pair], binder: Binder, config: Mapping[str, Any]) -> None:
    """Raise ValueError for a pair of two views of what a frozen encoder computes once."""
    for pair in pairs:
        is_of_frozen = pair.has_views and pair.a in binder.encoders and is_frozen(binder.encoders[pair.a])
        if is_of_frozen and config.get("cache", {}).get("features"):
            raise ValueError(
                f"pairs.{pair.name}: the features of the frozen encoder are kept, one view of each sample; set "
                f"cache.features=false, or encoder.{pair.a}.train=full"
            )


def make_sources(config: Mapping[str, Any], trust: Sequence[str]) -> dict[str, Source]:
    """Name → dataset: those of `data.sources`, and a manifest each of `data.manifests`.

    Raises:
        ValueError: where there is none.
    """
    data = config["data"]
    limit_waiting(timeout_of(config))
    sources = {name: build(options, "source", trust=trust) for name, options in data["sources"].items() if options}
    known = config.get("evaluation", {}).get("known")  # commands that evaluate nothing have no such part
    cache_dir = config.get("cache", {}).get("dir")
    sources |= {
        name: ManifestSource(path, name=name, known=known, cache_dir=cache_dir)
        for name, path in data.get("manifests", {}).items()
    }
    if not sources:
        raise ValueError("no data: name a table with +data.manifests.NAME=FILE, or choose another data=")
    return sources


def timeout_of(config: Mapping[str, Any]) -> float:
    """Seconds that anything is waited for; runs from before this key are evaluated too."""
    seconds: float = config.get("timeout_seconds", 600.0)
    return seconds


def make_datamodule(
    config: Mapping[str, Any],
    binder: Binder,
    pairs: Sequence[Pair],
    masked: Sequence[MaskedPatches] = (),
    *,
    trust: Sequence[str],
) -> BindDataModule:
    """The data of a run.

    Raises:
        ValueError: where `evaluation.modalities` names what nothing embeds or no data carries, or leaves no pair.
    """
    data = config["data"]
    sources = make_sources(config, trust)
    sides = list(sides_of(pairs, binder).values())
    of_pairs = [m for pair in sides for side in pair for m in side]
    needed = list(dict.fromkeys([*of_pairs, *(objective.modality for objective in masked)]))
    wanted = config["evaluation"]["modalities"]
    if wanted:
        carried = {m for source in sources.values() for m in source.modalities()}
        possible = [m for m in binder.modalities if m in carried]
        if unknown := [m for m in wanted if m not in possible]:
            raise ValueError(f"evaluation.modalities: {', '.join(unknown)} can't be measured; choose from {possible}")
        if sides and not any(set(a) | set(b) <= set(wanted) for a, b in sides):
            raise ValueError(f"evaluation.modalities={wanted} holds both sides of no pair: nothing would be monitored")
    known = config["evaluation"].get("known") or []
    if unknown := [m for m in known if m not in binder.modalities]:
        raise ValueError(
            f"evaluation.known: nothing embeds {', '.join(unknown)}; choose from {list(binder.modalities)}"
        )
    new = {m for source in sources.values() for m in source.modalities()} - {"text", *known}
    if known and not new:
        raise ValueError(f"evaluation.known={known}: then nothing that is evaluated is new; leave a modality out")
    return BindDataModule(
        sources,
        binder.transforms,
        needed,
        wanted or binder.modalities,
        batch_size=fixed(data, "batch_size"),
        evaluation_batch_size=data["evaluation_batch_size"] or (64 if data["batch_size"] == AUTO else None),
        num_workers=data["num_workers"],
        timeout_seconds=timeout_of(config),
        alpha=data["alpha"],
        weights=data["weights"],
        steps_per_epoch=data["steps_per_epoch"],
        seed=config["seed"],
        known=known,
        owner_share=data.get("owner_share", 1.0),
        views_of=[pair.a for pair in pairs if pair.has_views],
    )


def sides_of(pairs: Sequence[Pair], binder: Binder) -> dict[str, tuple[Side, Side]]:
    """Name of each pair → its two sides, where the inputs of a fusion stand for the fused modality."""

    def side(modality: Modality) -> Side:
        return binder.fusion.inputs if modality == binder.fused_modality else (modality,)

    return {pair.name: (side(pair.a), side(pair.b)) for pair in pairs}
