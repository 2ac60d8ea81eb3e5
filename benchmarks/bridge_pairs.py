"""Questions about two things, marked in the toy world: python benchmarks/bridge_pairs.py RUN

A bridge learns of texts about the training combinations alone: captions, questions about one text, and questions about
two, whether they can be the same thing and whether they have the same shape, motion, material. It is asked about pairs
of a sound and a picture, a trace of motion and a picture, a sound and a trace, of held-out combinations. Whether they
have the same shape can be said where both carry it; 1.00 is the best possible there, and 0.50 is chance, since half of
the pairs agree in what is asked. Where one does not carry it nobody can know, and yes or no is made up. Each
finished cell is a JSON file in --out, and is not computed again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bridge import NUM_MEAN_SAMPLES, make_questions, make_texts, open_toy_run

from bind.bridge.bridge import MLP, Bridge
from bind.bridge.conversations import Conversation
from bind.bridge.dialogues import Dialogue
from bind.bridge.gap import Gap
from bind.bridge.language_model import LanguageModel
from bind.bridge.options import BridgeTraining
from bind.bridge.places import STATE_NAME
from bind.bridge.toy_texts import (
    COMPARISONS,
    NO,
    SAME,
    UNKNOWN,
    YES,
    compare,
    contradict,
    describe,
    draw_near,
    leave_facts_out,
)
from bind.bridge.training import train_bridge
from bind.commands.bridge import measure_gap
from bind.data.sources.toy.world import CARRIES, FACTORS, ToySource, factor_words
from bind.files.writing import write_text
from bind.model.binder import Binder
from bind.types import Modality

PAIRS: Sequence[tuple[Modality, Modality]] = (("audio", "image"), ("imu", "image"), ("audio", "imu"))
SAME_THING = "same thing"


def make_comparisons(toy: ToySource, num: int, num_turns: int, seed: int) -> list[Conversation]:
    """Two texts, of each some of the questions whether they can be the same thing, and agree in an aspect."""
    rng = np.random.default_rng([seed, 2])
    table = toy.factor_table("train")
    conversations = []
    for number in range(num):
        thing = factor_words(table[rng.integers(len(table))])
        a = leave_facts_out(thing, rng)
        b = leave_facts_out(thing if rng.random() < 0.5 else draw_other(thing, table, rng), rng)
        turns = [(SAME[rng.integers(len(SAME))], NO if contradict(a, b) else YES)]
        for aspect, wordings in COMPARISONS.items():
            turns.append((wordings[rng.integers(len(wordings))], compare(a, b, aspect)))
        chosen = [turns[n] for n in rng.permutation(len(turns))][:num_turns]
        inputs = (("text", describe(a, rng)), ("text", describe(b, rng)))
        conversations.append(Conversation(f"two {number}", inputs, tuple(chosen)))
    return conversations


def draw_other(thing: Mapping[str, str], table: np.ndarray, rng: np.random.Generator) -> dict[str, str]:
    """A thing of the toy world that may differ in a single fact."""
    other = draw_near(thing, table, rng)
    return other if "shape" in other else factor_words(table[rng.integers(len(table))])


def train(binder: Binder, toy: ToySource, options: argparse.Namespace, seed: int) -> Bridge:
    """A bridge that learned of texts, and what training samples say of the gap."""
    torch.manual_seed(seed)
    texts = make_texts(toy, options.num_texts, True, seed)
    mapper = {**MLP, "num_comparison_tokens": options.num_comparison_tokens}
    bridge = Bridge(binder, LanguageModel.load("toy"), mapper=mapper, lora=options.lora or None)
    means, shifts = measure_gap(binder, [toy], NUM_MEAN_SAMPLES)
    bridge.gap = Gap("noise", means, None, {"image": "captions"}, shifts)
    z_ND = binder.embed("text", texts)
    dialogues = bridge.ready([Dialogue((row,), (("", text),)) for row, text in enumerate(texts)])
    questions = make_questions(toy, options.num_questions, seed)
    questions += make_comparisons(toy, options.num_comparisons, options.num_turns, seed)
    z_MD, about = bridge.embed_conversations(questions)
    dialogues += bridge.ready([Dialogue(tuple(len(z_ND) + row for row in one.rows), one.turns) for one in about])
    training = BridgeTraining(
        num_steps=options.num_steps, batch_size=options.batch_size, lr=options.lr, noise=options.noise, seed=seed
    )
    state = options.out / f"{name_of(options, seed)}_{STATE_NAME}"
    inputs = torch.cat([z_ND, torch.as_tensor(z_MD)])
    train_bridge(bridge.lm, bridge.mapper, inputs, dialogues, training, state_path=state, show=True)
    state.unlink(missing_ok=True)
    return bridge


def draw_partners(table: np.ndarray, shared: Sequence[str], aspect: str, rng: np.random.Generator) -> list[int]:
    """For each row another one: half of them agree in what is asked, `SAME_THING` being all shared factors."""
    names = list(FACTORS)
    columns = [names.index(f) for f in (shared if aspect == SAME_THING else [aspect])]
    partners = []
    for row in range(len(table)):
        agrees = (table[:, columns] == table[row, columns]).all(axis=1)
        agrees_in_some = (table[:, columns] == table[row, columns]).any(axis=1)
        rows = np.flatnonzero(agrees if rng.random() < 0.5 else ~agrees & (agrees_in_some | (len(columns) == 1)))
        partners.append(int(rows[rng.integers(len(rows))]))
    return partners


def mark(bridge: Bridge, toy: ToySource, split: str, num: int) -> dict[str, Any]:
    """Figures of each pair of modalities and question."""
    table = toy.factor_table(split)[:num]
    vectors = {}
    for modality in {m for pair in PAIRS for m in pair}:
        fetched = toy.fetch(split, range(num), [modality], None)
        z_ND = bridge.binder.embed(modality, [values[modality][0] for values in fetched])
        vectors[modality] = bridge.near_texts(modality, z_ND)
    figures: dict[str, Any] = {}
    for a, b in PAIRS:
        shared = [f for f in FACTORS if f in CARRIES[a] and f in CARRIES[b]]
        for aspect in (SAME_THING, *FACTORS):
            rng = np.random.default_rng([7, len(figures), [SAME_THING, *FACTORS].index(aspect)])
            partners = draw_partners(table, shared, aspect, rng)
            question = "Are these the same thing?" if aspect == SAME_THING else COMPARISONS[aspect][0]
            inputs = torch.cat([vectors[a], vectors[b][partners]])
            ready = bridge.ready([Dialogue((row, num + row), ((question, None),)) for row in range(num)])
            answers = bridge.write_after(inputs, ready)
            columns = [list(FACTORS).index(f) for f in (shared if aspect == SAME_THING else [aspect])]
            truth = [
                YES if (table[row, columns] == table[other, columns]).all() else NO
                for row, other in enumerate(partners)
            ]
            can_be_known = aspect == SAME_THING or aspect in shared
            right = float(np.mean([x == y for x, y in zip(answers, truth, strict=True)])) if can_be_known else None
            made_up = None if can_be_known else float(np.mean([answer != UNKNOWN for answer in answers]))
            figures.setdefault(f"{a}-{b}", {})[aspect] = {"right": right, "made_up": made_up}
    return figures


def name_of(options: argparse.Namespace, seed: int) -> str:
    """What tells bridges of this benchmark apart."""
    of_lessons = ("num_comparison_tokens", "lora", "num_texts", "num_questions", "num_comparisons", "num_turns")
    of_training = ("num_steps", "batch_size", "lr", "noise")
    return "_".join([*(str(getattr(options, name)) for name in of_lessons + of_training), str(seed)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run of the toy world, such as of `python train.py`")
    parser.add_argument("--out", type=Path, default=Path("runs/bridges_of_pairs"), help="a folder for finished cells")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--splits", nargs="*", default=["val"], choices=["val", "test"])
    parser.add_argument("--num-samples", type=int, default=230)
    parser.add_argument("--num-texts", type=int, default=3000)
    parser.add_argument("--num-questions", type=int, default=3000)
    parser.add_argument("--num-comparisons", type=int, default=12000)
    parser.add_argument("--num-turns", type=int, default=1, help="questions about each two texts, one after the other")
    parser.add_argument("--num-comparison-tokens", type=int, default=4)
    parser.add_argument("--lora", type=int, default=0, help="0: the language model stays as it is")
    parser.add_argument("--num-steps", type=int, default=1200)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--noise", type=float, default=0.8)
    options = parser.parse_args()
    run_name, binder, toy = open_toy_run(options.run)
    options.out.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        name = f"{run_name}_{name_of(options, seed)}"
        cell, folder = options.out / f"{name}.json", options.out / name
        figures = json.loads(cell.read_text()) if cell.exists() else {}
        for split in options.splits:
            if split not in figures:
                if not folder.exists():
                    train(binder, toy, options, seed).save(folder)
                figures[split] = mark(Bridge.load(folder, binder), toy, split, options.num_samples)
                write_text(cell, json.dumps(figures, indent=1) + "\n")
            for pair, of_questions in figures[split].items():
                marks = {
                    q: m["right"] if m["made_up"] is None else f"made up {m['made_up']:.3f}"
                    for q, m in of_questions.items()
                }
                print(f"{name} {split} {pair}: {marks}", flush=True)


if __name__ == "__main__":
    main()
