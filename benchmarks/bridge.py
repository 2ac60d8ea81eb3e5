"""Captions and answers marked in the toy world, which knows what each modality carries: python benchmarks/bridge.py RUN

A bridge to the shipped language model learns of texts about the training combinations alone: captions that leave
factors out (`--abstain true`) or not, and questions with answers about texts. It is marked on samples of held-out
combinations: which words its captions and answers state, of factors that the modality carries and of others, with each
remedy for the gap between modalities. What a modality carries can be said in 1.00 of the cases; what it does not can
only be guessed, and stating it is made up. Each finished cell (run, seed, abstain) is a JSON file in --out, and its
bridge a folder there; neither is computed again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bind.bridge.bridge import Bridge
from bind.bridge.conversations import Conversation
from bind.bridge.dialogues import Dialogue
from bind.bridge.gap import Gap, choose_memory
from bind.bridge.language_model import LanguageModel
from bind.bridge.options import BridgeTraining
from bind.bridge.places import STATE_NAME
from bind.bridge.remedies import REMEDIES
from bind.bridge.texts import hold_out
from bind.bridge.toy_texts import (
    NO,
    QUESTIONS,
    SAME,
    UNKNOWN,
    YES,
    contradict,
    describe,
    draw_question,
    leave_facts_out,
)
from bind.bridge.training import held_out_losses, train_bridge
from bind.commands.bridge import measure_gap
from bind.data.sources.toy.world import CARRIES, FACTORS, ToySource, captions, factor_words
from bind.files.writing import write_text
from bind.metrics.captions import score_captions
from bind.model.binder import Binder
from bind.runs.run_config import open_run
from bind.types import Modality

WORD_FACTORS = {word: factor for factor, words in FACTORS.items() for word in words}
NUM_MEAN_SAMPLES = 300


def make_texts(toy: ToySource, num_texts: int, abstain: bool, seed: int) -> list[str]:
    """Captions of training combinations; with `abstain` half of them leave factors out."""
    rng = np.random.default_rng([seed, 0])
    table = toy.factor_table("train")
    texts = []
    for _ in range(num_texts):
        thing = factor_words(table[rng.integers(len(table))])
        texts.append(describe(leave_facts_out(thing, rng) if abstain and rng.random() < 0.8 else thing, rng))
    return texts


def make_questions(toy: ToySource, num_questions: int, seed: int) -> list[Conversation]:
    """Questions about one text, and a fifth about two: whether they can be the same thing."""
    rng = np.random.default_rng([seed, 1])
    table = toy.factor_table("train")
    conversations = []
    for number in range(num_questions):
        thing = factor_words(table[rng.integers(len(table))])
        facts = leave_facts_out(thing, rng)
        inputs: list[tuple[str, Any]] = [("text", describe(facts, rng))]
        if rng.random() < 0.2:
            is_same = rng.random() < 0.5
            other = leave_facts_out(thing if is_same else factor_words(table[rng.integers(len(table))]), rng)
            inputs.append(("text", describe(other, rng)))
            turn = SAME[rng.integers(len(SAME))], NO if contradict(facts, other) else YES
        else:
            turn = draw_question(facts, rng)
        conversations.append(Conversation(str(number), tuple(inputs), (turn,)))
    return conversations


def train_cell(
    binder: Binder, toy: ToySource, options: argparse.Namespace, abstain: bool, seed: int, out: Path
) -> Bridge:
    """A bridge that learned of texts, and what training samples say of the gap."""
    torch.manual_seed(seed)
    texts = make_texts(toy, options.num_texts, abstain, seed)
    bridge = Bridge(
        binder, LanguageModel.load(options.lm), mapper={"_target_": options.mapper, "num_tokens": options.num_tokens}
    )
    z_ND = binder.embed("text", texts)
    means, shifts = measure_gap(binder, [toy], NUM_MEAN_SAMPLES)
    bridge.gap = Gap("noise", {**means, "text": z_ND.mean(dim=0)}, choose_memory(z_ND), shifts=shifts)
    dialogues = bridge.ready([Dialogue((row,), (("", text),)) for row, text in enumerate(texts)])
    trained_rows, held_out_rows = hold_out(texts, len(texts) // 20, seed)
    held_out, dialogues = [dialogues[row] for row in held_out_rows], [dialogues[row] for row in trained_rows]
    if abstain and options.num_questions:
        z_MD, about = bridge.embed_conversations(make_questions(toy, options.num_questions, seed))
        shifted = [Dialogue(tuple(len(z_ND) + row for row in one.rows), one.turns) for one in about]
        dialogues += bridge.ready(shifted)
        z_ND = torch.cat([z_ND, torch.as_tensor(z_MD)])
    training = BridgeTraining(
        num_steps=options.num_steps, batch_size=options.batch_size, lr=options.lr, noise=options.noise, seed=seed
    )
    state = out / f"{seed}_{abstain}_{STATE_NAME}"
    train_bridge(bridge.lm, bridge.mapper, z_ND, dialogues, training, state_path=state, show=True)
    state.unlink(missing_ok=True)
    losses = held_out_losses(bridge.lm, bridge.mapper, z_ND, held_out)
    bridge.facts = {"held_out_loss": losses[0], "other_vector_loss": losses[1]}
    return bridge


def stated_words(text: str) -> dict[str, str]:
    """Factor → the word of it that a text states."""
    words = text.replace(",", " ").split()
    return {WORD_FACTORS[word]: word for word in words if word in WORD_FACTORS}


def mark(
    stated: Sequence[Mapping[str, str]], truth: Sequence[Mapping[str, str]], carried: Sequence[str]
) -> dict[str, Any]:
    """How often the true word of each carried factor is stated, and how often any word of the others."""
    right = {f: float(np.mean([s.get(f) == t[f] for s, t in zip(stated, truth, strict=True)])) for f in carried}
    made_up = {f: float(np.mean([f in s for s in stated])) for f in FACTORS if f not in carried}
    return {
        "right": right,
        "mean_right": float(np.mean(list(right.values()))),
        "made_up": made_up,
        "made_up_any": float(np.mean([bool(made_up.keys() & s.keys()) for s in stated])) if made_up else None,
    }


def answer_factors(bridge: Bridge, modality: Modality, z_ND: Tensor, gap: str, num_beams: int) -> list[dict[str, str]]:
    """Factor → answer to the question about it, of each vector; `unknown` is no answer."""
    z_ND = bridge.gap.bring_near(modality, z_ND, gap)
    answers: list[dict[str, str]] = [{} for _ in range(len(z_ND))]
    for factor in FACTORS:
        ready = bridge.ready([Dialogue((row,), ((QUESTIONS[factor][0], None),)) for row in range(len(z_ND))])
        for row, answer in enumerate(bridge.write_after(z_ND, ready, num_beams=num_beams)):
            if answer != UNKNOWN:
                answers[row][factor] = answer
    return answers


def retrieval_of_captions(binder: Binder, texts: Sequence[str], z_ND: Tensor, groups: Sequence[Any]) -> float:
    """How often the text finds an item of its group first, among the N items of its own modality."""
    z_text_ND = binder.embed("text", texts)
    nearest = (z_text_ND @ z_ND.T).argmax(dim=1).tolist()
    return float(np.mean([groups[row] == groups[best] for row, best in enumerate(nearest)]))


def mark_cell(bridge: Bridge, toy: ToySource, options: argparse.Namespace, has_questions: bool) -> dict[str, Any]:
    """Figures of each modality and remedy, on the first samples of a split, which go round its combinations."""
    split, num_samples, beams = options.split, options.num_samples, options.beams
    samples = toy.samples(split)[:num_samples]
    truth = [factor_words(row) for row in toy.factor_table(split)[: len(samples)]]
    references = [captions(row) for row in toy.factor_table(split)[: len(samples)]]
    groups = [sample.group for sample in samples]
    num_groups = len(set(groups))
    figures: dict[str, Any] = {}
    for modality in options.modalities or toy.modalities():
        fetched = toy.fetch(split, range(len(samples)), [modality], None)
        z_ND = bridge.binder.embed(modality, [values[modality][0] for values in fetched])
        carried = CARRIES[modality]
        for gap in REMEDIES if modality != "text" else ("noise",):
            texts = bridge.caption_vectors(modality, z_ND, gap=gap, num_beams=beams)
            entry: dict[str, Any] = {
                "captions": mark([stated_words(text) for text in texts], truth, carried),
                "examples": texts[:3],
            }
            scores = score_captions(texts, references)
            entry["scores"] = {"BLEU-4": scores.bleu[3], "ROUGE-L": scores.rouge_l, "CIDEr-D": scores.cider_d}
            pool = slice(0, num_groups)  # one item of each combination
            entry["caption_R@1"] = retrieval_of_captions(bridge.binder, texts[pool], z_ND[pool], groups[pool])
            real = [texts_of_row[0] for texts_of_row in references[pool]]
            entry["real_caption_R@1"] = retrieval_of_captions(bridge.binder, real, z_ND[pool], groups[pool])
            if has_questions:
                entry["answers"] = mark(answer_factors(bridge, modality, z_ND, gap, beams), truth, carried)
            figures.setdefault(modality, {})[gap] = entry
            print_entry(modality, gap, entry)
    return figures


def print_entry(modality: Modality, gap: str, entry: Mapping[str, Any]) -> None:
    for kind in ("captions", "answers"):
        if kind in entry:
            marks = entry[kind]
            right = " ".join(f"{factor} {share:.3f}" for factor, share in marks["right"].items())
            made_up = " ".join(f"{factor} {share:.3f}" for factor, share in marks["made_up"].items())
            mean = f"{marks['mean_right']:.3f}"
            print(f"  {modality:6} {gap:7} {kind:9} {mean}: {right} | made up: {made_up or 'nothing to'}", flush=True)


def open_toy_run(run: str) -> tuple[str, Binder, ToySource]:
    """The name and the binder of a run of the toy world, and its world, of the modalities that the binder embeds."""
    run_dir, config = open_run(run)
    binder = Binder.load(run_dir).eval()
    modalities = [m for m in binder.modalities if m in CARRIES]
    return run_dir.name, binder, ToySource(seed=config["data"]["sources"]["toy"]["seed"], modalities=modalities)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run of the toy world, such as of `python train.py`")
    parser.add_argument("--out", type=Path, default=Path("runs/bridges"), help="a folder for finished cells")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--abstain", nargs="*", default=["true", "false"], choices=["true", "false"])
    parser.add_argument("--split", default="test", choices=["val", "test"])
    parser.add_argument("--num-samples", type=int, default=230, help="of the split, 115 combinations of the test")
    parser.add_argument("--modalities", nargs="*", help="that are marked; all of the run by default")
    parser.add_argument("--beams", type=int, default=1, help="captions that are followed at a time")
    parser.add_argument("--lm", default="toy")
    parser.add_argument("--mapper", default="bind.bridge.mappers.MLPMapper")
    parser.add_argument("--num-tokens", type=int, default=6)
    parser.add_argument("--num-texts", type=int, default=6000)
    parser.add_argument("--num-questions", type=int, default=6000)
    parser.add_argument("--num-steps", type=int, default=1500)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--noise", type=float, default=0.8)
    options = parser.parse_args()
    run_name, binder, toy = open_toy_run(options.run)
    options.out.mkdir(parents=True, exist_ok=True)
    for abstain in (name == "true" for name in options.abstain):
        for seed in options.seeds:
            kind = "abstain" if abstain else "whole"
            beams = f"_{options.beams}beams" if options.beams > 1 else ""
            only = "".join(f"_{m}" for m in options.modalities or ())
            cell = options.out / f"{run_name}_{options.split}_{kind}_{seed}{beams}{only}.json"
            folder = options.out / f"{run_name}_{kind}_{seed}"
            print(cell.stem, flush=True)
            if cell.exists():
                for modality, of_gaps in json.loads(cell.read_text())["figures"].items():
                    for gap, entry in of_gaps.items():
                        print_entry(modality, gap, entry)
                continue
            if not folder.exists():
                train_cell(binder, toy, options, abstain, seed, options.out).save(folder)
            bridge = Bridge.load(folder, binder)
            print(bridge.facts, flush=True)
            figures = mark_cell(bridge, toy, options, abstain and bool(options.num_questions))
            about = {name: str(value) for name, value in vars(options).items()} | bridge.facts
            write_text(cell, json.dumps({"options": about, "figures": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
