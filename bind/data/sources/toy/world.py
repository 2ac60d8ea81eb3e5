"""Source of the toy world: 576 combinations of five factors as pictures, sounds, motion, depth and captions.

Each modality carries some of the factors exactly and everything else as nuisance. Test and validation hold
combinations that never occur in training, so the best possible retrieval between two modalities is known
(`bind.metrics.ceiling`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bind.data.sources.content import hash_generated
from bind.data.sources.toy.audio import SAMPLE_RATE_HZ as AUDIO_RATE_HZ
from bind.data.sources.toy.audio import render_audio
from bind.data.sources.toy.image import render_depths, render_images
from bind.data.sources.toy.imu import CHANNELS, UNITS, render_imu
from bind.data.sources.toy.imu import SAMPLE_RATE_HZ as IMU_RATE_HZ
from bind.types import Modality, Sample, SensorRecording, Waveform, stable_id

FACTORS: Mapping[str, tuple[str, ...]] = {
    "shape": ("circle", "square", "triangle", "star"),
    "colour": ("red", "green", "blue", "yellow", "purple", "white"),
    "size": ("small", "large"),
    "motion": ("resting", "sliding", "bouncing", "spinning"),
    "material": ("wooden", "metal", "rubber"),
}
"""Factor → its words; combinations are rows of indices into them, in this order."""

CARRIES: Mapping[Modality, tuple[str, ...]] = {
    "image": tuple(FACTORS),
    "text": tuple(FACTORS),
    "audio": ("shape", "motion", "material"),
    "imu": ("motion", "size", "material"),
    "depth": ("shape", "size"),
}
"""Modality → the factors that can be read from it, unless a source says fewer."""

TEMPLATES = (
    "a {size} {colour} {material} {shape} {motion}",
    "{motion} {size} {colour} {material} {shape}",
    "a photo of a {size} {colour} {material} {shape} that is {motion}",
    "a {material} {shape}, {size} and {colour}, is {motion}",
)

SPLITS = ("train", "val", "test")
NUM_TEST_COMBINATIONS = 115
NUM_VAL_COMBINATIONS = 46


def all_combinations() -> np.ndarray:
    """Every combination of the factors as indices, (576, 5) int64."""
    return np.stack(np.unravel_index(np.arange(576), [len(words) for words in FACTORS.values()]), axis=1)


def factor_words(combination: Sequence[int]) -> dict[str, str]:
    """Factor → word of one row of indices."""
    return {name: words[int(i)] for (name, words), i in zip(FACTORS.items(), combination, strict=True)}


def captions(combination: Sequence[int]) -> list[str]:
    """One caption per template, such as "a small red metal star bouncing"."""
    return [template.format(**factor_words(combination)) for template in TEMPLATES]


def partial_caption(combination: Sequence[int], rng: np.random.Generator) -> str:
    """A caption that leaves factors out at random, such as "a metal thing bouncing"; at least one stays."""
    kept = rng.random(len(FACTORS)) < 0.5
    kept[rng.integers(len(FACTORS))] = True
    words = {name: word for (name, word), keep in zip(factor_words(combination).items(), kept, strict=True) if keep}
    return short_caption(words, rng)


def short_caption(words: Mapping[str, str], rng: np.random.Generator) -> str:
    """A caption of these factors alone (factor → word), such as "a metal thing bouncing" or "a metal thing"."""
    adjectives = [words[name] for name in ("size", "colour", "material") if name in words]
    phrase = " ".join(["a", *adjectives, words.get("shape", "thing")])
    if "motion" not in words:
        return phrase
    return f"{phrase} that is {words['motion']}" if rng.random() < 0.5 else f"{phrase} {words['motion']}"


def render(
    modality: Modality, combinations_BF: np.ndarray, rngs: Sequence[np.random.Generator]
) -> list[str] | list[np.ndarray] | list[Waveform] | list[SensorRecording]:
    """Render the value of `modality` for each row, from nothing but the factors that it carries."""
    order = list(FACTORS)
    return _RENDERERS[modality](rngs, **{f: combinations_BF[:, order.index(f)] for f in CARRIES[modality]})


def _render_text(rngs: Sequence[np.random.Generator], **factors: np.ndarray) -> list[str]:
    rows = np.stack([factors[name] for name in FACTORS], axis=1)
    return [captions(row)[rng.integers(len(TEMPLATES))] for row, rng in zip(rows, rngs, strict=True)]


_RENDERERS: Mapping[Modality, Callable[..., list[Any]]] = {
    "image": lambda rngs, **factors: list(render_images(rngs, **factors)),
    "text": _render_text,
    "audio": lambda rngs, **factors: [Waveform(x, AUDIO_RATE_HZ) for x in render_audio(rngs, **factors)],
    "imu": lambda rngs, **factors: [
        SensorRecording(x, IMU_RATE_HZ, CHANNELS, UNITS) for x in render_imu(rngs, **factors)
    ],
    "depth": lambda rngs, **factors: list(render_depths(rngs, **factors)),
}


class ToySource:
    """The toy world as a `Source`: held-out combinations in `val` and `test`, values rendered on request.

    In `val` and `test` every combination has one pool item and a number of queries, and the pool items come first.

    Args:
        num_train: training samples; they go through the 415 training combinations in shuffled rounds.
        num_val_queries: samples of each of the 46 validation combinations, besides the pool item.
        num_test_queries: the same for the 115 test combinations.
        seed: decides which combinations are held out, and every fixed nuisance.
        fresh: modalities whose nuisance is drawn anew whenever `fetch` is given generators; the others never change.
        modalities: what the samples carry.
        partial_captions: share, 0 to 1, of captions drawn afresh that leave factors out. An anchor trained with them
            learns what each word means on its own.
        carries: modality → those of its factors in `CARRIES` that can be read from it; the others are drawn by chance
            for every sample, as nuisance. A modality that is not named carries all of them.
        name: of the source; it leads every key, so two toy sources of one mixture have recordings of their own.

    Raises:
        ValueError: an unknown modality, a factor that a modality can't carry, a count below one, or a share outside
            0 to 1.

    Examples:
        >>> toy = ToySource(num_train=8, modalities=["image", "text", "audio"])
        >>> toy.samples("train")[0].group
        'large red rubber star bouncing'
        >>> values = toy.fetch("train", [0], ["image", "text", "audio"], rngs=None)[0]
        >>> values["image"][0].shape, values["text"], values["audio"][0].samples.shape
        ((64, 64, 3), ['a photo of a large red rubber star that is bouncing'], (16000,))
    """

    factor_names: tuple[str, ...] = tuple(FACTORS)

    def __init__(
        self,
        *,
        num_train: int = 8000,
        num_val_queries: int = 4,
        num_test_queries: int = 20,
        seed: int = 0,
        fresh: Sequence[str] = ("audio", "imu", "depth"),
        modalities: Sequence[str] = ("image", "text", "audio", "imu", "depth"),
        partial_captions: float = 0.0,
        carries: Mapping[str, Sequence[str]] | None = None,
        name: str = "toy",
    ) -> None:
        chosen = {modality: tuple(factors) for modality, factors in (carries or {}).items()}
        for argument, names in (("fresh", fresh), ("modalities", modalities), ("carries", chosen)):
            if unknown := sorted(set(names) - set(CARRIES)):
                raise ValueError(f"{argument}: the toy world has no {unknown}; choose from {sorted(CARRIES)}")
        for modality, factors in chosen.items():
            if unknown := sorted(set(factors) - set(CARRIES[modality])):
                raise ValueError(f"carries.{modality}: it can't carry {unknown}; choose from {list(CARRIES[modality])}")
        for argument, count in (
            ("num_train", num_train),
            ("num_val_queries", num_val_queries),
            ("num_test_queries", num_test_queries),
        ):
            if count < 1:
                raise ValueError(f"{argument} must be at least 1, not {count}")
        if not 0.0 <= partial_captions <= 1.0:
            raise ValueError(f"partial_captions={partial_captions}: give a share from 0 to 1")
        self.name = name
        self.seed = seed
        self.partial_captions = partial_captions
        self.carries: Mapping[Modality, tuple[str, ...]] = {**CARRIES, **chosen}
        self.fresh = frozenset(fresh)
        self._modalities = tuple(modalities)
        held_out = NUM_TEST_COMBINATIONS + NUM_VAL_COMBINATIONS
        rng = np.random.default_rng([seed, 0])
        shuffled = rng.permutation(all_combinations())
        test, val, train = np.split(shuffled, [NUM_TEST_COMBINATIONS, held_out])
        rounds = -(-num_train // len(train))
        order = np.concatenate([rng.permutation(len(train)) for _ in range(rounds)])[:num_train]
        self._combinations = {"train": train, "val": val, "test": test}
        self._order = {
            "train": order,
            "val": np.tile(np.arange(len(val)), 1 + num_val_queries),
            "test": np.tile(np.arange(len(test)), 1 + num_test_queries),
        }
        self._samples: dict[str, list[Sample]] = {}

    def modalities(self) -> tuple[Modality, ...]:
        """What the samples carry."""
        return self._modalities

    def factor_table(self, split: str) -> np.ndarray:
        """The factors of every sample of a split as indices, (N, 5) int64, in the order of `samples` and `FACTORS`."""
        table_NF: np.ndarray = self._combinations[self._checked_split(split)][self._order[split]]
        return table_NF

    def samples(self, split: str) -> Sequence[Sample]:
        """The metadata of a split; group = the combination in words, label = its motion."""
        if split not in self._samples:
            num_combinations = len(self._combinations[self._checked_split(split)])
            empty: dict[Modality, tuple[Any, ...]] = dict.fromkeys(self._modalities, ())
            samples = []
            for index, (combination, row) in enumerate(zip(self._order[split], self.factor_table(split), strict=True)):
                key = f"{self.name}/{split}/{combination:04d}/{index // num_combinations:02d}"
                group = TEMPLATES[0].removeprefix("a ").format(**factor_words(row))
                samples.append(Sample(key, split, empty, group=group, owners=(key,), label=factor_words(row)["motion"]))
            self._samples[split] = samples
        return self._samples[split]

    def content_hash(self, split: str, modality: Modality) -> str:
        """See `bind.data.sources.content.hash_generated`."""
        hidden = self._hidden(modality)
        return hash_generated(
            self, split, modality, self.seed, self.factor_table(split).tobytes(), *([hidden] if hidden else [])
        )

    def fetch(
        self,
        split: str,
        indices: Sequence[int],
        modalities: Sequence[Modality],
        rngs: Sequence[np.random.Generator] | None,
    ) -> list[dict[Modality, list[Any]]]:
        """Render `modalities` of these samples; no value depends on which others are rendered.

        Raises:
            ValueError: a modality that this source does not carry.
        """
        if missing := sorted(set(modalities) - set(self._modalities)):
            raise ValueError(f"the toy source carries {list(self._modalities)}, not {missing}; see data.modalities")
        rows = self.factor_table(split)[list(indices)]
        samples = [self.samples(split)[i] for i in indices]
        # All seeds are drawn, in a fixed order, so that leaving modalities out changes none of the others.
        order, seeds = list(CARRIES), None if rngs is None else [rng.integers(2**63, size=len(CARRIES)) for rng in rngs]
        fetched: list[dict[Modality, list[Any]]] = [{} for _ in samples]
        for modality in modalities:
            if seeds is not None and modality in self.fresh:
                value_rngs = [np.random.default_rng(seed[order.index(modality)]) for seed in seeds]
            else:
                value_rngs = [np.random.default_rng([self.seed, stable_id(f"{s.key}:{modality}")]) for s in samples]
            rendered_rows = self._randomise_hidden(modality, rows, value_rngs)
            rendered: list[Any] = list(render(modality, rendered_rows, value_rngs))
            if modality == "text" and seeds is not None and modality in self.fresh:
                captions_with_rows = zip(rendered, rendered_rows.tolist(), value_rngs, strict=True)
                rendered = [self._perhaps_partial(caption, row, rng) for caption, row, rng in captions_with_rows]
            for values, value in zip(fetched, rendered, strict=True):
                values[modality] = [value]
        return fetched

    def _hidden(self, modality: Modality) -> list[str]:
        """The factors that `modality` could carry and does not."""
        return [factor for factor in CARRIES[modality] if factor not in self.carries[modality]]

    def _randomise_hidden(
        self, modality: Modality, rows: np.ndarray, rngs: Sequence[np.random.Generator]
    ) -> np.ndarray:
        """`rows` (B, 5) with the factors that `modality` does not carry drawn by chance."""
        if not (hidden := self._hidden(modality)):
            return rows
        columns = [list(FACTORS).index(factor) for factor in hidden]
        num_words = [len(FACTORS[factor]) for factor in hidden]
        rows = rows.copy()
        rows[:, columns] = [rng.integers(num_words) for rng in rngs]
        return rows

    def _perhaps_partial(self, caption: str, row: Sequence[int], rng: np.random.Generator) -> str:
        return partial_caption(row, rng) if rng.random() < self.partial_captions else caption

    def _checked_split(self, split: str) -> str:
        if split not in SPLITS:
            raise ValueError(f"the toy world has the splits {list(SPLITS)}, not {split!r}")
        return split
