"""Captions of one modality learned in three ways: python benchmarks/bridge_tokens.py RUN --modality imu

Texts about training combinations, most of which leave factors out, are learned from their own vectors, with noise
(`texts`: no caption of the modality is needed). Captions of training samples, which say what the modality carries and
no more, are learned from the samples' vectors (`vectors`), or from the tokens of their encoder by learned queries
(`tokens`, mapper=qformer; RUN needs an encoder with tokens, such as encoder/imu=transformer). With `--say all` these
captions name what can be seen as well, as captions of pictures do, and leave as much out as the texts. Marked is how
often a caption of a held-out combination states the true word of a factor that the modality carries, and how often any
word of one that it does not. Each finished cell is a JSON file in --out, and is not computed again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bridge import mark, open_toy_run, stated_words
from torch import Tensor

from bind.bridge.bridge import MLP, Bridge
from bind.bridge.dialogues import Dialogue
from bind.bridge.inputs import MapperInputs, TokensOfValues
from bind.bridge.language_model import LanguageModel
from bind.bridge.options import BridgeTraining
from bind.bridge.places import STATE_NAME
from bind.bridge.toy_texts import describe, leave_facts_out
from bind.bridge.training import train_bridge
from bind.data.sources.toy.world import CARRIES, ToySource, factor_words
from bind.files.writing import write_text
from bind.model.binder import Binder
from bind.types import Modality

ARMS = ("texts", "vectors", "tokens")


def values_of(toy: ToySource, split: str, rows: list[int], modality: Modality) -> list[Any]:
    return [values[modality][0] for values in toy.fetch(split, rows, [modality], None)]


def inputs_of(binder: Binder, toy: ToySource, split: str, num: int, modality: Modality, arm: str) -> MapperInputs:
    """Vectors, or tokens, of the first samples of a split."""
    if arm == "tokens":
        return TokensOfValues(
            binder, modality, lambda rows: values_of(toy, split, rows, modality), [str(row) for row in range(num)]
        )
    parts = [list(range(start, min(start + 500, num))) for start in range(0, num, 500)]
    return torch.cat([binder.embed(modality, values_of(toy, split, rows, modality)) for rows in parts])


def train_arm(binder: Binder, toy: ToySource, options: argparse.Namespace, arm: str, num: int, seed: int) -> Bridge:
    """A bridge that learned captions of the first training samples."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 0])
    texts = []
    for row in toy.factor_table("train")[:num]:
        thing = factor_words(row)
        if arm != "texts" and options.say == "carried":
            facts = {factor: thing[factor] for factor in CARRIES[options.modality]}
        else:
            facts = leave_facts_out(thing, rng) if rng.random() < 0.8 else thing
        texts.append(describe(facts, rng))
    qformer = {"_target_": "bind.bridge.mappers.QFormerMapper", "modality": options.modality, "num_tokens": 6}
    bridge = Bridge(binder, LanguageModel.load("toy"), mapper=qformer if arm == "tokens" else MLP)
    if arm == "texts":
        inputs: MapperInputs = binder.embed("text", texts)
    else:
        inputs = inputs_of(binder, toy, "train", num, options.modality, arm)
    if isinstance(inputs, TokensOfValues):
        inputs.keep(10**9)
    noise, lr = (0.8 if arm == "texts" else 0.0), (options.lr_of_tokens if arm == "tokens" else options.lr)
    training = BridgeTraining(num_steps=options.num_steps, lr=lr, noise=noise, seed=seed)
    ready = bridge.ready([Dialogue((row,), (("", text),)) for row, text in enumerate(texts)])
    state = options.out / f"{arm}_{num}_{seed}_{STATE_NAME}"
    train_bridge(bridge.lm, bridge.mapper, inputs, ready, training, state_path=state, show=True)
    state.unlink(missing_ok=True)
    return bridge


def mark_arm(bridge: Bridge, toy: ToySource, split: str, num: int, modality: Modality, arm: str) -> Mapping[str, Any]:
    inputs = inputs_of(bridge.binder, toy, split, num, modality, arm)
    if isinstance(inputs, Tensor):
        inputs = bridge.near_texts(modality, inputs)
    stated = [stated_words(text) for text in bridge.caption_inputs(inputs)]
    return mark(stated, [factor_words(row) for row in toy.factor_table(split)[:num]], CARRIES[modality])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run of the toy world with an encoder of tokens")
    parser.add_argument("--modality", default="imu")
    parser.add_argument("--out", type=Path, default=Path("runs/bridges_of_tokens"), help="a folder for finished cells")
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=ARMS)
    parser.add_argument("--say", default="carried", choices=["carried", "all"], help="what captions of samples name")
    parser.add_argument("--num-captions", type=int, nargs="*", default=[6000])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--splits", nargs="*", default=["val"], choices=["val", "test"])
    parser.add_argument("--num-samples", type=int, default=230)
    parser.add_argument("--num-steps", type=int, default=1500)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--lr-of-tokens", type=float, default=2e-3)
    options = parser.parse_args()
    run_name, binder, toy = open_toy_run(options.run)
    options.out.mkdir(parents=True, exist_ok=True)
    for num in options.num_captions:
        for arm in options.arms:
            for seed in options.seeds:
                name = f"{run_name}_{options.modality}_{arm}_{num}_{options.num_steps}_{seed}"
                name += "_all" if options.say == "all" and arm != "texts" else ""
                cell = options.out / f"{name}.json"
                figures = json.loads(cell.read_text()) if cell.exists() else {}
                if missing := [split for split in options.splits if split not in figures]:
                    folder = options.out / name
                    if not folder.exists():
                        train_arm(binder, toy, options, arm, num, seed).save(folder)
                    bridge = Bridge.load(folder, binder)
                    for split in missing:
                        figures[split] = mark_arm(bridge, toy, split, options.num_samples, options.modality, arm)
                    write_text(cell, json.dumps(figures, indent=1) + "\n")
                for split in options.splits:
                    marks = figures[split]
                    shares = " ".join(f"{factor} {share:.3f}" for factor, share in marks["right"].items())
                    mean, made_up = f"{marks['mean_right']:.3f}", f"{marks['made_up_any']:.3f}"
                    print(f"{name} {split}: {mean} ({shares}), made up {made_up} {marks['made_up']}", flush=True)


if __name__ == "__main__":
    main()
