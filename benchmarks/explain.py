"""Explanations marked in the toy world, which knows what each side carries: python benchmarks/explain.py RUN

Of each ordered pair of modalities, pairs of validation samples of one combination are explained, by the run and by the
same model with the numbers of each weight in random order (the sanity check of Adebayo et al. 2018). Concepts are the
19 words of the factors, each as the mean of the training captions that have it; means are those of training samples.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from bind.data.sources.toy.audio import SAMPLE_RATE_HZ, draw_contacts
from bind.data.sources.toy.image import IMAGE_SIZE_PX
from bind.data.sources.toy.world import CARRIES, FACTORS, ToySource, factor_words, render
from bind.explain.concepts import DEFAULT_L1, ConceptMixture, ConceptVocabulary
from bind.explain.explanation import NUM_BASELINE_VALUES
from bind.explain.grids import InputGrid, TimedGrid, column_of, make_grid
from bind.explain.known import KnownSamples
from bind.explain.occlusion import draw_masks, draw_orders, fit_effects, masks_of_orders, mean_of_orders
from bind.model.binder import Binder
from bind.runs.run_config import open_run
from bind.types import Modality, stable_id

WORDS = [word for words in FACTORS.values() for word in words]
FACTOR_OF_WORD = {word: factor for factor, words in FACTORS.items() for word in words}
SHARE_HIDDEN = 0.1
"""Of an input: the regions that matter most are hidden together, beside as many random ones."""
LEAST_OBJECT = 0.25
"""Of a patch: it is the object's where so much of it is covered by the object."""
LEAST_EDGE = 0.01
"""Of a patch: it shows some of the object where so much of it is covered."""
LEAST_HEIGHT_METRES = 0.04
"""Before the wall of a depth map: its noise is at most 0.03."""
SAMPLES_OF_COMBINATION = 4
"""Of the validation split, that pairs are drawn of: 46 × 4 × 3 ordered pairs."""
QUIET_DECIBELS = 20.0
"""A region is silent where its energy is so much below that of the loudest one."""


@dataclass(frozen=True)
class MarkedSide:
    """One validation value: what its transform gave, its regions, its vector and its mixture."""

    item: Any
    grid: InputGrid
    z_D: np.ndarray
    mixture: ConceptMixture


@dataclass(frozen=True)
class LostVectors:
    """What a value's vector loses on average without each region (R, K, D), and without each time (K, D).

    Their products with another vector are the effects of `bind.explain.occlusion.occlude`.
    """

    regions_RKD: np.ndarray
    times_KD: np.ndarray | None


class Marks:
    """Explanations of one model; what needs many embeddings is computed when it is asked for."""

    def __init__(
        self,
        binder: Binder,
        toy: ToySource,
        rows: range,
        num_samples: int,
        modalities: Sequence[Modality],
        *,
        l1: float,
        alone: bool,
    ) -> None:
        self.binder, self.toy, self.rows = binder, toy, rows
        training = KnownSamples.draw([toy], "train", num_samples)
        captions = training.values("text", training.rows_with("text"))
        vocabulary = None if alone else ConceptVocabulary.embed_in_captions(binder, WORDS, captions)
        self.vocabulary = vocabulary or ConceptVocabulary.embed(binder, WORDS)
        self.sides = {m: self._sides(m, training, l1) for m in modalities}
        self._lost: dict[Modality, dict[int, LostVectors]] = {}

    def _sides(self, modality: Modality, training: KnownSamples, l1: float) -> dict[int, MarkedSide]:
        mean_D = training.embed(self.binder, modality).double().mean(dim=0)
        transform = self.binder.transforms[modality]
        rows = training.rows[modality][:NUM_BASELINE_VALUES]
        others = [transform(value, None) for value in training.values(modality, rows)]
        fetched = self.toy.fetch("val", self.rows, [modality], None)
        items = [transform(values[modality][0], None) for values in fetched]
        sides = {}
        z_ND = self.binder.embed_items(modality, items).double().cpu()
        for row, item, z_D in zip(self.rows, items, z_ND, strict=True):
            grid = make_grid(modality, item, others, transform)
            assert grid is not None
            sides[row] = MarkedSide(item, grid, z_D.numpy(), self.vocabulary.decompose(z_D, mean_D, l1=l1))
        return sides

    def lost(self, modality: Modality, row: int) -> LostVectors:
        """Of a side."""
        of_modality = self._lost.setdefault(modality, {})
        if row not in of_modality:
            of_modality[row] = self._lose(modality, self.sides[modality][row])
        return of_modality[row]

    def _lose(self, modality: Modality, side: MarkedSide) -> LostVectors:
        grid, z_D = side.grid, side.z_D
        shape = len(grid.row_names), len(grid.column_names)
        masks_MR = draw_masks(grid)
        regions_RD = fit_effects(masks_MR, self._embed(modality, [grid.hide(m.reshape(shape))[0] for m in masks_MR]))
        times_KD = None
        if isinstance(grid, TimedGrid):
            orders_OK = draw_orders(shape[1])
            without_MD = self._embed(modality, [grid.hide_times(mask) for mask in masks_of_orders(orders_OK)])
            times_KD = mean_of_orders(orders_OK, z_D, without_MD)
        return LostVectors(regions_RD.reshape(*shape, -1), times_KD)

    def _embed(self, modality: Modality, items: list[Any]) -> np.ndarray:
        z_ND: np.ndarray = self.binder.embed_items(modality, items).double().cpu().numpy()
        return z_ND

    def map_of(self, modality: Modality, row: int, other_D: np.ndarray) -> np.ndarray:
        """The cosine lost without each region (R, K) of a side."""
        effects_RK: np.ndarray = self.lost(modality, row).regions_RKD @ other_D
        return effects_RK

    def top_shared(self, a: MarkedSide, b: MarkedSide) -> str | None:
        """The concept that adds most, None where there is none that both have."""
        of_each_V = self.vocabulary.compare(a.mixture, b.mixture).of_each_V
        return self.vocabulary.words[int(of_each_V.argmax())] if of_each_V.max() > 0 else None

    def lost_together(
        self, modality: str, side: MarkedSide, other_D: np.ndarray, masks: list[np.ndarray]
    ) -> list[float]:
        """The cosine lost without all regions of a mask at once."""
        z_ND = self._embed(modality, [side.grid.hide(mask)[0] for mask in masks])
        return [float(side.z_D @ other_D - z_D @ other_D) for z_D in z_ND]


def rows_of(toy: ToySource, first_round: int) -> range:
    """The validation samples that are explained: they follow each other in rounds of the combinations."""
    samples = toy.samples("val")
    num_combinations = len({sample.group for sample in samples})
    first = first_round * num_combinations
    return range(first, min(len(samples), first + SAMPLES_OF_COMBINATION * num_combinations))


def shuffle_weights(binder: Binder) -> Binder:
    """A copy with the numbers of each weight, also the anchor's, in random order."""
    generator = torch.Generator().manual_seed(0)
    copied = copy.deepcopy(binder)
    with torch.no_grad():
        for weight in copied.parameters():
            order = torch.randperm(weight.numel(), generator=generator)
            weight.copy_(weight.flatten()[order].reshape(weight.shape))
    return copied


def true_pairs(toy: ToySource, rows: range, num_pairs: int) -> list[tuple[int, int]]:
    """Validation samples of one combination, each two different ones."""
    groups: dict[str | None, list[int]] = {}
    for row in rows:
        groups.setdefault(toy.samples("val")[row].group, []).append(row)
    pairs = [(i, j) for of_group in groups.values() for i in of_group for j in of_group if i != j]
    chosen = np.random.default_rng(0).permutation(len(pairs))[:num_pairs]
    return [pairs[n] for n in chosen]


def mark_concepts(marks: Marks, pairs: list[tuple[int, int]], a: str, b: str) -> tuple[float, float]:
    """How often the top shared concept is of a factor that both carry, and how often it is the true word of it."""
    shared = set(marks.toy.carries[a]) & set(marks.toy.carries[b])
    table = marks.toy.factor_table("val")
    right = []
    for i, j in pairs:
        word = marks.top_shared(marks.sides[a][i], marks.sides[b][j])
        is_of_shared = word is not None and FACTOR_OF_WORD[word] in shared
        right.append((is_of_shared, is_of_shared and word in factor_words(table[i]).values()))
    of_shared, true = np.mean(right, axis=0)
    return float(of_shared), float(true)


def mark_regions(marks: Marks, pairs: list[tuple[int, int]], a: str, b: str) -> float:
    """How often hiding the regions of a that matter most loses more than hiding as many random ones."""
    rng = np.random.default_rng(0)
    wins = []
    for i, j in pairs:
        side, other_D = marks.sides[a][i], marks.sides[b][j].z_D
        effects_RK = marks.map_of(a, i, other_D)
        num_hidden = max(1, round(SHARE_HIDDEN * effects_RK.size))
        masks = []
        for order in (np.argsort(-effects_RK, axis=None, kind="stable"), rng.permutation(effects_RK.size)):
            mask = np.zeros(effects_RK.size, dtype=bool)
            mask[order[:num_hidden]] = True
            masks.append(mask.reshape(effects_RK.shape))
        most, random = marks.lost_together(a, side, other_D, masks)
        wins.append(most > random or np.array_equal(masks[0], masks[1]))
    return float(np.mean(wins))


def of_mass(marks: Marks, modality: str) -> tuple[float, float]:
    """The share of the mixtures' weights on factors that a modality does not carry, and their reconstruction cosine."""
    is_absent_V = np.array([FACTOR_OF_WORD[word] not in marks.toy.carries[modality] for word in WORDS])
    mixtures = [side.mixture for side in marks.sides[modality].values()]
    shares = [m.weights_V[is_absent_V].sum() / max(m.weights_V.sum(), 1e-9) for m in mixtures]
    return float(np.mean(shares)), float(np.mean([m.reconstruction_cosine for m in mixtures]))


def patches_that_change(toy: ToySource, grid: InputGrid, row: int, factor: str, index: int) -> np.ndarray:
    """Which patches (R, K) of a picture change where it is drawn with another word of a factor, at the same chances."""
    factors = toy.factor_table("val")[[row, row]]
    factors[1, list(FACTORS).index(factor)] = index
    seeds = [toy.seed, stable_id(f"{toy.samples('val')[row].key}:image")]
    pictures = render("image", factors, [np.random.default_rng(seeds) for _ in range(2)])
    changes_HW = (np.asarray(pictures[0]) != np.asarray(pictures[1])).any(axis=2)
    return share_of_patches(changes_HW, grid)


def patches_of_depth(toy: ToySource, grid: InputGrid, row: int) -> np.ndarray:
    """The share of each patch (R, K) of a depth map that its object covers: what stands before the wall."""
    u = np.random.default_rng([toy.seed, stable_id(f"{toy.samples('val')[row].key}:depth")]).random(12, np.float32)
    axis = (np.arange(IMAGE_SIZE_PX) + 0.5) * (2 / IMAGE_SIZE_PX) - 1
    wall_HW = 2 + 2 * u[4] + (u[5] - 0.5) * axis[None, :] + (u[6] - 0.5) * axis[:, None]
    depth_HW = toy.fetch("val", [row], ["depth"], None)[0]["depth"][0]
    return share_of_patches(wall_HW - depth_HW > LEAST_HEIGHT_METRES, grid)


def share_of_patches(is_of_HW: np.ndarray, grid: InputGrid) -> np.ndarray:
    """The share of each patch (R, K) where something is."""
    lines = column_of(IMAGE_SIZE_PX, len(grid.row_names))
    shares_RH = np.stack([is_of_HW[lines == r].mean(axis=0) for r in range(len(grid.row_names))])
    return np.stack([shares_RH[:, lines == k].mean(axis=1) for k in range(len(grid.column_names))], axis=1)


def mark_object(marks: Marks, pairs: list[tuple[int, int]], b: Modality) -> tuple[float, float, float, float]:
    """How often the most important patch is the object's, in pictures of things at rest alone, and where a mark of its
    motion counts too; the object's patches.
    """
    table = marks.toy.factor_table("val")
    colour, motion = list(FACTORS).index("colour"), list(FACTORS).index("motion")
    hits, at_rest, shares = [], [], []
    for i, j in pairs:
        grid, other = marks.sides["image"][i].grid, (int(table[i, colour]) + 1) % len(FACTORS["colour"])
        is_object_RK = patches_that_change(marks.toy, grid, i, "colour", other) >= LEAST_OBJECT
        has_marks_RK = patches_that_change(marks.toy, grid, i, "motion", FACTORS["motion"].index("resting")) > 0
        top = int(marks.map_of("image", i, marks.sides[b][j].z_D).argmax())
        hits.append((is_object_RK.flat[top], is_object_RK.flat[top] or has_marks_RK.flat[top]))
        if table[i, motion] == FACTORS["motion"].index("resting"):
            at_rest.append(is_object_RK.flat[top])
        shares.append(is_object_RK.mean())
    on_object, on_either = np.mean(hits, axis=0)
    return float(on_object), float(np.mean(at_rest)), float(on_either), float(np.mean(shares))


def contact_seconds(toy: ToySource, modality: Modality, row: int) -> np.ndarray:
    """When the object touches the ground in a sound or a trace, as its renderer draws it."""
    rng = np.random.default_rng([toy.seed, stable_id(f"{toy.samples('val')[row].key}:{modality}")])
    if modality == "imu":
        u = rng.random(32, dtype=np.float32)
        return np.asarray(0.4 * u[4] + (0.36 + 0.08 * u[2]) * np.arange(5))
    rng.random(32)
    starts, _ = draw_contacts(int(toy.factor_table("val")[row, list(FACTORS).index("motion")]), rng)
    return np.asarray(starts / SAMPLE_RATE_HZ)


def mark_object_of_depth(marks: Marks, pairs: list[tuple[int, int]], b: Modality) -> np.ndarray:
    """How often the most important patch of a depth map is the object's, and how many patches are; the same of patches
    that show any of it, its edge. A row of small and one of large objects, and one of all.
    """
    size = list(FACTORS).index("size")
    sizes, rows = [], []
    for i, j in pairs:
        of_object_RK = patches_of_depth(marks.toy, marks.sides["depth"][i].grid, i)
        top = int(marks.map_of("depth", i, marks.sides[b][j].z_D).argmax())
        row = [of_patches for least in (LEAST_OBJECT, LEAST_EDGE) for of_patches in _hit(of_object_RK >= least, top)]
        rows.append(row)
        sizes.append(marks.toy.factor_table("val")[i, size])
    by_size = [np.mean([row for row, of in zip(rows, sizes, strict=True) if of == n], axis=0) for n in (0, 1)]
    return np.stack([*by_size, np.mean(rows, axis=0)])


def _hit(is_place_RK: np.ndarray, top: int) -> tuple[float, float]:
    return float(is_place_RK.flat[top]), float(is_place_RK.mean())


def mark_contacts(marks: Marks, pairs: list[tuple[int, int]], a: Modality, b: Modality) -> tuple[float, int]:
    """How often times with the onset of a contact lose more than silent ones; of how many pairs that have both."""
    wins = []
    for i, j in pairs:
        side, other_D = marks.sides[a][i], marks.sides[b][j].z_D
        num_columns = len(side.grid.column_names)
        seconds = 1.0 if a == "audio" else 2.0
        has_onset_K = np.zeros(num_columns, dtype=bool)
        onsets = contact_seconds(marks.toy, a, i)
        has_onset_K[(onsets[onsets < seconds] / seconds * num_columns).astype(int)] = True
        energy_K = np.array([float(part.var(dim=-1).mean()) for part in side.item.tensor_split(num_columns, dim=-1)])
        is_quiet_K = ~has_onset_K & (energy_K <= energy_K.max() * 10 ** (-QUIET_DECIBELS / 10))
        if not is_quiet_K.any():
            continue
        times_KD = marks.lost(a, i).times_KD
        assert times_KD is not None
        lost_K = times_KD @ other_D
        wins.append(lost_K[has_onset_K].mean() > lost_K[is_quiet_K].mean())
    return float(np.mean(wins)) if wins else float("nan"), len(wins)


def rank_correlation(models: list[Marks], pairs: list[tuple[int, int]], a: Modality, b: Modality) -> float:
    """Of the maps of both models over the same regions, the mean over pairs (Spearman)."""
    values = []
    for i, j in pairs:
        maps = [model.map_of(a, i, model.sides[b][j].z_D).ravel() for model in models]
        if min(np.ptp(effects) for effects in maps) > 0:
            values.append(spearmanr(*maps).statistic)
    return float(np.mean(values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run of the toy world, such as of `python train.py`")
    parser.add_argument("--pairs", type=int, default=500, help="of each ordered pair of modalities")
    parser.add_argument("--l1", type=float, default=DEFAULT_L1)
    parser.add_argument("--num-samples", type=int, default=300, help="training samples that means are taken of")
    parser.add_argument("--alone", action="store_true", help="words embedded by themselves, not in captions")
    parser.add_argument("--first-round", type=int, default=0, help="of the samples; 5: others, for choosing by")
    parser.add_argument("--maps-of", nargs="*", help="modalities whose maps are marked; default all")
    parser.add_argument("--to", nargs="*", help="the other side of the pairs whose maps are marked; default all")
    options = parser.parse_args()
    run_dir, config = open_run(options.run)
    binder = Binder.load(run_dir).eval()
    modalities = [m for m in binder.modalities if m in CARRIES]
    toy = ToySource(
        seed=config["data"]["sources"]["toy"]["seed"],
        modalities=modalities,
        num_val_queries=options.first_round + SAMPLES_OF_COMBINATION,
    )
    rows = rows_of(toy, options.first_round)
    pairs = true_pairs(toy, rows, options.pairs)
    models = [
        Marks(model, toy, rows, options.num_samples, modalities, l1=options.l1, alone=options.alone)
        for model in (binder, shuffle_weights(binder))
    ]
    print(f"{len(pairs)} pairs; in brackets the same model with its weights in random order")
    print_concepts(models, pairs, modalities)
    for a in modalities if options.maps_of is None else options.maps_of:
        print_maps(models, pairs, a, [m for m in options.to or modalities if m != a])


def print_concepts(models: list[Marks], pairs: list[tuple[int, int]], modalities: Sequence[Modality]) -> None:
    print("| modality | weights on factors that it does not carry | reconstruction cosine |")
    for modality in modalities:
        (mass, cosine), (random_mass, random_cosine) = (of_mass(marks, modality) for marks in models)
        print(f"| {modality} | {mass:.3f} ({random_mass:.3f}) | {cosine:.2f} ({random_cosine:.2f}) |")
    print("| a → b | top concept of a shared factor | and the true one |")
    for a, b in ((a, b) for a in modalities for b in modalities if a != b):
        concepts = zip(*(mark_concepts(marks, pairs, a, b) for marks in models), strict=True)
        cells = [f"{real:.3f} ({random:.3f})" for real, random in concepts]
        print(f"| {a} → {b} | {' | '.join(cells)} |", flush=True)


def print_maps(models: list[Marks], pairs: list[tuple[int, int]], a: Modality, others: Sequence[Modality]) -> None:
    print(f"| map of {a}, to | most important regions over random ones | rank correlation | place |")
    for b in others:
        real, random = (mark_regions(marks, pairs, a, b) for marks in models)
        cells = [f"{real:.3f} ({random:.3f})", f"{rank_correlation(models, pairs, a, b):.2f}", ""]
        if a == "image":
            (hit, still, either, share), (random_hit, random_still, random_either, _) = (
                mark_object(marks, pairs, b) for marks in models
            )
            cells[-1] = (
                f"{hit:.3f} ({random_hit:.3f}) on the object, {share:.2f} of the patches; {still:.3f} "
                f"({random_still:.3f}) of things at rest; {either:.3f} ({random_either:.3f}) on it or the marks of its "
                "motion"
            )
        elif a == "depth":
            real_34, random_34 = (mark_object_of_depth(marks, pairs, b) for marks in models)
            (small, _, small_edge, _), (large, _, large_edge, _), (hit, share, edge, edge_share) = real_34
            cells[-1] = (
                f"{hit:.3f} ({random_34[2, 0]:.3f}) on the object, {share:.2f} of the patches, of small ones "
                f"{small:.3f}, of large {large:.3f}; {edge:.3f} ({random_34[2, 2]:.3f}) where any of it is, "
                f"{edge_share:.2f} of them, {small_edge:.3f} and {large_edge:.3f}"
            )
        elif a in ("audio", "imu"):
            (won, num_pairs), (random_won, _) = (mark_contacts(marks, pairs, a, b) for marks in models)
            cells[-1] = f"{won:.3f} ({random_won:.3f}) contacts over silence, of {num_pairs} pairs that have both"
        print(f"| {b} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
