"""Source of a toy task in which adding is not enough: does the motion that is heard agree with the one that is felt?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bind.data.sources.content import hash_generated
from bind.data.sources.toy.world import FACTORS, SPLITS, ToySource, render
from bind.types import Modality, Sample, stable_id

MODALITIES: tuple[Modality, ...] = ("audio", "imu", "text")
TEXTS: Mapping[str, str] = {"agree": "a red thing", "disagree": "a blue thing"}
"""Group → its text. No sound and no motion trace carries a colour, so neither has learned to say one of them."""

MOTION = list(FACTORS).index("motion")
NUM_MOTIONS = len(FACTORS["motion"])
ROUND = NUM_MOTIONS * 2 * (NUM_MOTIONS - 1)
"""Samples of one round: each of the 12 pairs of different motions once, each of the 4 equal ones three times."""


class AgreementSource:
    """A sound of one combination beside a motion trace of another, and a text that says whether their motions agree.

    A split goes through shuffled rounds of 24 pairs of motions, so exactly half of its samples agree, each motion is
    heard and felt equally often, and either modality alone says nothing: given one motion, half of the samples agree.
    All other factors of both are drawn apart from each other. The combinations of `val` and `test` are those that
    `ToySource` of the same seed holds out. A text has one of two wordings, so the pool is those two.

    Args:
        num_train: samples, a multiple of 24.
        num_val: the same for the validation split.
        num_test: the same for the test split.
        seed: decides which combinations are held out, what is paired, and every fixed nuisance.
        fresh: modalities whose nuisance is drawn anew whenever `fetch` is given generators.
        name: of the source; it leads every key.

    Raises:
        ValueError: a count that is no positive multiple of 24, or `fresh` that names anything but `audio` and `imu`.

    Examples:
        >>> source = AgreementSource(num_train=24)
        >>> [sum(sample.group == group for sample in source.samples("train")) for group in ("agree", "disagree")]
        [12, 12]
        >>> source.fetch("train", [0], ["text"], rngs=None)[0]["text"][0] == TEXTS[source.samples("train")[0].group]
        True
    """

    def __init__(
        self,
        *,
        num_train: int = 9600,
        num_val: int = 2400,
        num_test: int = 2400,
        seed: int = 0,
        fresh: Sequence[str] = ("audio", "imu"),
        name: str = "toy_agreement",
    ) -> None:
        self._num_samples = {"train": num_train, "val": num_val, "test": num_test}
        for split, number in self._num_samples.items():
            if number < 1 or number % ROUND:
                raise ValueError(
                    f"num_{split}={number}: give a multiple of {ROUND}, so that both answers are as frequent"
                )
        if unknown := sorted(set(fresh) - {"audio", "imu"}):
            raise ValueError(f"fresh: {unknown} can't be drawn anew; choose from ['audio', 'imu']")
        self.name = name
        self.seed = seed
        self.fresh = frozenset(fresh)
        toy = ToySource(seed=seed)
        self._rows = {split: self._draw_rows(toy, split) for split in SPLITS}
        self._samples: dict[str, list[Sample]] = {}

    def modalities(self) -> tuple[Modality, ...]:
        """What the samples carry."""
        return MODALITIES

    def combinations(self, split: str, modality: Modality) -> np.ndarray:
        """The combination behind every sound or every motion trace of a split, (N, 5) int64, as in `ToySource`."""
        rows_N5: np.ndarray = self._rows[self._checked_split(split)][:, ("audio", "imu").index(modality)]
        return rows_N5

    def counts(self, split: str) -> np.ndarray:
        """Samples that disagree and that agree, by the motion of the sound and of the trace: (2, 4, 4) int64."""
        heard_N, felt_N = (self.combinations(split, modality)[:, MOTION] for modality in ("audio", "imu"))
        counts_2MM = np.zeros((2, NUM_MOTIONS, NUM_MOTIONS), dtype=np.int64)
        np.add.at(counts_2MM, ((heard_N == felt_N).astype(np.int64), heard_N, felt_N), 1)
        return counts_2MM

    def samples(self, split: str) -> Sequence[Sample]:
        """The metadata of a split; group and label = `agree` or `disagree`."""
        if split not in self._samples:
            rows_N25 = self._rows[self._checked_split(split)]
            samples = []
            for index, (heard, felt) in enumerate(rows_N25[:, :, MOTION]):
                key, group = f"{self.name}/{split}/{index:06d}", "agree" if heard == felt else "disagree"
                values: dict[Modality, tuple[Any, ...]] = dict.fromkeys(MODALITIES, ())
                samples.append(Sample(key, split, values, group=group, owners=(key,), label=group))
            self._samples[split] = samples
        return self._samples[split]

    def content_hash(self, split: str, modality: Modality) -> str:
        """See `bind.data.sources.content.hash_generated`."""
        return hash_generated(self, split, modality, self.seed, self._rows[self._checked_split(split)].tobytes())

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
        if missing := sorted(set(modalities) - set(MODALITIES)):
            raise ValueError(f"{self.name} carries {list(MODALITIES)}, not {missing}; see data.modalities")
        samples = [self.samples(split)[i] for i in indices]
        # All seeds are drawn, in a fixed order, so that leaving modalities out changes none of the others.
        seeds = None if rngs is None else [rng.integers(2**63, size=len(MODALITIES)) for rng in rngs]
        fetched: list[dict[Modality, list[Any]]] = [{} for _ in samples]
        for modality in modalities:
            rendered: list[Any]
            if modality == "text":
                rendered = [TEXTS[str(sample.group)] for sample in samples]
            else:
                if seeds is not None and modality in self.fresh:
                    value_rngs = [np.random.default_rng(seed[MODALITIES.index(modality)]) for seed in seeds]
                else:
                    value_rngs = [np.random.default_rng([self.seed, stable_id(f"{s.key}:{modality}")]) for s in samples]
                rendered = list(render(modality, self.combinations(split, modality)[list(indices)], value_rngs))
            for values, value in zip(fetched, rendered, strict=True):
                values[modality] = [value]
        return fetched

    def _draw_rows(self, toy: ToySource, split: str) -> np.ndarray:
        """The combinations of sound and trace of every sample, (N, 2, 5) int64."""
        rng = np.random.default_rng([self.seed, 1, SPLITS.index(split)])
        rows_C5 = np.unique(toy.factor_table(split), axis=0)
        heard, felt = np.indices((NUM_MOTIONS, NUM_MOTIONS)).reshape(2, -1)
        times = np.where(heard == felt, NUM_MOTIONS - 1, 1)
        pairs_R2 = np.stack([heard, felt], axis=1).repeat(times, axis=0)
        motions_N2 = rng.permutation(np.tile(pairs_R2, (self._num_samples[split] // ROUND, 1)))
        rows_N25 = np.empty((*motions_N2.shape, len(FACTORS)), dtype=np.int64)
        for motion in range(NUM_MOTIONS):
            is_motion_N2 = motions_N2 == motion
            rows_N25[is_motion_N2] = rng.choice(rows_C5[rows_C5[:, MOTION] == motion], size=is_motion_N2.sum())
        return rows_N25

    def _checked_split(self, split: str) -> str:
        if split not in SPLITS:
            raise ValueError(f"the toy world has the splits {list(SPLITS)}, not {split!r}")
        return split
